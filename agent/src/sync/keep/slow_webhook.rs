//! Against an API server whose admission webhooks take their time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use kube::{Client, client::Body};
use tokio::time::Instant;

use super::*;

/// Names of the objects that were written, oldest first.
type Written = Arc<std::sync::Mutex<Vec<String>>>;

/// A client of a server that takes writes of ConfigMap `slow` only after `delay`, and any other at once.
fn delayed(delay: Duration) -> (Client, Written) {
    let written = Written::default();
    let log = Arc::clone(&written);
    let service = tower::service_fn(move |request: Request<Body>| {
        let log = Arc::clone(&log);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let path = parts.uri.path().to_owned();
            let answer = if path == "/api/v1" {
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                    {"name": "configmaps", "singularName": "", "namespaced": true,
                        "kind": "ConfigMap", "verbs": ["get", "list", "watch", "patch"]}]})
            } else {
                if path.ends_with("/slow") {
                    tokio::time::sleep(delay).await;
                }
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                log.lock().expect("no test panics here").push(name);
                serde_json::from_slice(&body).unwrap_or_default()
            };
            let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
            *response.status_mut() = StatusCode::OK;
            Ok::<_, kube::Error>(response)
        }
    });
    (Client::new(service, "default"), written)
}

fn wanted(care: Care) -> Vec<Wanted> {
    ["before", "slow", "after"]
        .into_iter()
        .filter_map(|name| {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}});
            Some(Wanted {
                care,
                ..Wanted::new(object)?
            })
        })
        .collect()
}

/// How one pass over the objects of a run ended, how long it took, and what was written.
async fn pass(delay: Duration) -> (Result<Kept, Box<Unkept>>, Duration, Vec<String>) {
    let (client, written) = delayed(delay);
    let cluster = Cluster::new(client);
    let mut keeper = Keeper::new("bellwether-sync");
    let began = Instant::now();
    let mut kept = Ok(Kept::default());
    // What was taken costs nothing in the passes that follow.
    for _ in 0..3 {
        kept = keeper
            .keep(
                &cluster,
                &wanted(Care::Run),
                &Dirty::default(),
                DriftPolicy::Correct,
                FirstLook::Apply,
            )
            .await;
        if kept.is_err() {
            break;
        }
    }
    let took = began.elapsed();
    let names = written.lock().expect("no test panics here").clone();
    (kept, took, names)
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_takes_its_time_is_waited_for_and_nothing_is_written_twice() {
    let (kept, took, written) = pass(Duration::from_secs(12)).await;
    assert!(kept.is_ok(), "{kept:?}");
    assert_eq!(written, ["before", "slow", "after"]);
    assert_eq!(took.as_secs(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_never_answers_keeps_no_other_object_of_a_run_back() {
    let (kept, took, written) = pass(Duration::from_secs(3_600)).await;
    let error = kept.expect_err("nobody knows whether it was taken").error;
    assert!(matches!(error, ClusterError::Timeout { .. }), "{error:?}");
    assert!(error.answer().contains("slow"), "{}", error.answer());
    assert_eq!(written, ["before", "after"]);
    assert_eq!(took.as_secs(), 30);
}
