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
    /// The id of the last event.
    last: String,
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
            last: String::new(),
        }
    }

    /// The next event's name with that of its object.
    async fn next_name(&mut self) -> String {
        let (event, item) = self.next().await.unwrap();
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        format!("{event} {name}")
    }

    /// The next event's name and data, bookmarks passed over: they tell of no object, and come by a clock of their
    /// own; `None` when the stream has ended.
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
                    field("id:").expect("an id").clone_into(&mut self.last);
                    if event == "bookmark" {
                        continue;
                    }
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

const FLEETS: &str = "/api/v1/watch?kinds=Fleet";

#[tokio::test]
async fn whoever_comes_back_gets_what_it_missed() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!("{}---\n{}", fleet("a"), fleet("b")))
        .await;
    let mut stream = Stream::open(&admin, FLEETS, None).await;
    assert_eq!(stream.next_name().await, "added a");
    let early = stream.last.clone();
    assert_eq!(stream.next_name().await, "added b");
    assert_eq!(stream.next_name().await, "synced ");
    let last = stream.last.clone();
    drop(stream);
    admin.applied(&fleet("c")).await;
    admin.delete("/api/v1/fleets/b").await;
    // Somebody else sees when the hub has looked.
    let mut other = Stream::open(&admin, "/api/v1/watch?kinds=Cluster,Fleet", None).await;
    while other.next_name().await != "synced " {}

    let mut resumed = Stream::open(&admin, FLEETS, Some(&last)).await;
    let mut missed = [resumed.next_name().await, resumed.next_name().await];
    missed.sort();
    assert_eq!(missed, ["added c", "deleted b"], "and nothing else");
    let last = resumed.last.clone();
    drop(resumed);
    admin.applied(&fleet("d")).await;
    let mut resumed = Stream::open(&admin, FLEETS, Some(&last)).await;
    assert_eq!(resumed.next_name().await, "added d");

    // An id from the middle of the start, of another question or of another hub resumes nothing.
    let foreign = format!("x.{last}");
    let more = "/api/v1/watch?kinds=Fleet&labelSelector=tier";
    for (path, id) in [(FLEETS, &early), (more, &last), (FLEETS, &foreign)] {
        let mut again = Stream::open(&admin, path, Some(id)).await;
        assert_eq!(again.next_name().await, "reset ", "{id}");
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn what_no_longer_matches_is_deleted_for_its_reader() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let labelled = |tier: &str| {
        let name = format!("{{name: a, labels: {{tier: {tier}}}}}");
        fleet("a").replace("{name: a}", &name)
    };
    admin.applied(&labelled("prod")).await;
    let path = format!("{FLEETS}&labelSelector=tier%3Dprod");
    let mut of_prod = Stream::open(&admin, &path, None).await;
    let mut of_all = Stream::open(&admin, FLEETS, None).await;
    for stream in [&mut of_prod, &mut of_all] {
        assert_eq!(stream.next_name().await, "added a");
        assert_eq!(stream.next_name().await, "synced ");
    }
    admin.applied(&labelled("test")).await;
    assert_eq!(of_prod.next_name().await, "deleted a");
    assert_eq!(of_all.next_name().await, "modified a");
    admin.applied(&labelled("prod")).await;
    assert_eq!(of_prod.next_name().await, "added a");
    hub.running.stop().await;
}

#[tokio::test]
async fn runs_of_a_watched_application_are_told_of() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("c1", &json!({})).await;
    let path = "/api/v1/watch?kinds=Application,Rollout";
    let mut stream = Stream::open(&admin, path, None).await;
    assert_eq!(stream.next_name().await, "synced ");
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    let (event, mut item) = stream.next().await.unwrap();
    assert_eq!(event, "added");
    for _ in 0..20 {
        if item["status"]["revision"] == 1 {
            break;
        }
        item = stream.next().await.unwrap().1;
    }
    assert_eq!(item["status"]["revision"], 1, "{item}");
    assert_eq!(item["metadata"]["name"], "web");
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
