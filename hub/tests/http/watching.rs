//! Streams of changes.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Caller, Hub, application, eventually, fleet};

/// A stream of server-sent events.
struct Stream {
    chunks: futures::stream::BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    buffer: String,
}

impl Stream {
    async fn open(caller: &Caller, path: &str, last: Option<&str>) -> Self {
        let mut request = caller.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            chunks: response.bytes_stream().boxed(),
            buffer: String::new(),
        }
    }

    /// The next event's name and data; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name).map(str::trim))
                };
                if let (Some(event), Some(data)) = (field("event:"), field("data:")) {
                    assert!(field("id:").is_some(), "{block}");
                    return Some((event.to_owned(), serde_json::from_str(data).unwrap()));
                }
                continue;
            }
            let next = tokio::time::timeout(Duration::from_secs(20), self.chunks.next());
            let chunk = next
                .await
                .expect("the stream says something")
                .transpose()
                .ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn list_watch_gives_what_is_there_and_then_every_change() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!("{}---\n{}", fleet("a"), fleet("b")))
        .await;
    let mut stream = Stream::open(&admin, "/api/v1/watch?kinds=Fleet", None).await;
    let name = |event: Option<(String, Value)>| {
        let (event, item) = event.unwrap();
        format!(
            "{event} {}",
            item["metadata"]["name"].as_str().unwrap_or_default()
        )
    };
    assert_eq!(name(stream.next().await), "added a");
    assert_eq!(name(stream.next().await), "added b");
    assert_eq!(name(stream.next().await), "synced ");
    admin.applied(&fleet("c")).await;
    assert_eq!(name(stream.next().await), "added c");
    admin
        .applied(&fleet("a").replace("{selector: {}}", "{clusters: [x]}"))
        .await;
    assert_eq!(name(stream.next().await), "modified a");
    admin.delete("/api/v1/fleets/b").await;
    assert_eq!(name(stream.next().await), "deleted b");

    // Whoever comes back is told to start over: there is no silent gap.
    let mut resumed = Stream::open(&admin, "/api/v1/watch?kinds=Fleet", Some("x.9")).await;
    assert_eq!(name(resumed.next().await), "reset ");
    assert_eq!(name(resumed.next().await), "added a");
    let unknown = admin.get("/api/v1/watch?kinds=Pod").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    hub.running.stop().await;
}

#[tokio::test]
async fn watched_secrets_are_redacted() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    let path = "/api/v1/watch?kinds=Application&namespace=shop";
    let mut stream = Stream::open(&admin, path, None).await;
    let (event, item) = stream.next().await.unwrap();
    assert_eq!(event, "added");
    assert!(item.to_string().contains("<redacted>"));
    assert!(!item.to_string().contains("hunter2"));
    hub.running.stop().await;
}

#[tokio::test]
async fn run_watch_right_after_apply_never_shows_the_run_before() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("c1", &json!({})).await;
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    let status = "/api/v1/rollouts/shop/web/status";
    eventually("a run", async || {
        (admin.get(status).await.body["total"] == 1).then_some(())
    })
    .await;
    admin
        .post(
            "/api/v1/rollouts/shop/web/actions",
            &json!({"type": "abort"}),
        )
        .await;
    eventually("its end", async || {
        (admin.get(status).await.body["state"] == "Aborted").then_some(())
    })
    .await;
    for image in ["web:2", "web:3", "web:4"] {
        admin
            .applied(&application("shop", "web", "all", image))
            .await;
        let mut stream = Stream::open(&admin, "/api/v1/rollouts/shop/web/watch", None).await;
        let (event, view) = stream.next().await.unwrap();
        assert_eq!(event, "status");
        assert_eq!(view["version"], image.trim_start_matches("web:"), "{view}");
        assert_ne!(view["state"], "Aborted", "{view}");
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn streams_end_with_the_hub() {
    let hub = Hub::start().await;
    let mut stream = Stream::open(&hub.admin(), "/api/v1/watch?kinds=Fleet", None).await;
    assert_eq!(stream.next().await.unwrap().0, "synced");
    let stop = tokio::time::timeout(Duration::from_secs(8), hub.running.stop());
    stop.await.expect("an open stream does not hold the hub up");
    assert!(stream.next().await.is_none());
}
