#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn node(name: &str, ready: &str, zone: &str, closed: bool) -> Value {
    json!({
        "metadata": {"name": name, "labels": {REGION: "eu", ZONE: zone}},
        "spec": {"unschedulable": closed},
        "status": {
            "conditions": [{"type": "MemoryPressure", "status": "True"},
                           {"type": "Ready", "status": ready}],
            "allocatable": {"cpu": "1900m", "memory": "2Gi", "pods": "110"}},
    })
}

fn refused(status: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "",
        "message": "no", "code": status})
}

/// Two pages of nodes.
fn nodes(query: &str) -> Value {
    let (next, items) = if query.contains("continue=more") {
        (
            "",
            json!([
                node("c", "False", "eu-b", false),
                node("d", "True", "eu-a", true)
            ]),
        )
    } else {
        (
            "more",
            json!([
                node("a", "True", "eu-a", false),
                node("b", "True", "eu-a", false)
            ]),
        )
    };
    json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {"continue": next}, "items": items})
}

/// Two pages of pods.
fn pods(query: &str) -> Value {
    assert!(query.contains("fieldSelector=status.phase"), "{query}");
    let pod = |cpu: &str| {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]}})
    };
    let (next, items) = if query.contains("continue=more") {
        ("", json!([pod("250m")]))
    } else {
        ("more", json!([pod("1"), pod("500m")]))
    };
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": next}, "items": items})
}

/// An API server that serves one group and answers for nodes with that status.
fn server(nodes_status: Arc<AtomicU16>) -> kube::Client {
    serving(nodes_status, Arc::new(AtomicU16::new(200)))
}

/// One that answers for pods with a status as well.
fn serving(nodes_status: Arc<AtomicU16>, pods_status: Arc<AtomicU16>) -> kube::Client {
    let answer = move |request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let status = nodes_status.load(Ordering::Relaxed);
        let (status, body) = match request.uri().path() {
            "/version" => (
                200,
                json!({"major": "1", "minor": "33", "gitVersion": "v1.33.2",
                "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "",
                "compiler": "", "platform": ""}),
            ),
            "/api/v1/nodes" if status == 200 => (200, nodes(&query)),
            "/api/v1/nodes" => (status, refused(status)),
            "/api/v1/pods" => match pods_status.load(Ordering::Relaxed) {
                200 => (200, pods(&query)),
                status => (status, refused(status)),
            },
            // Groups, and every kind by aggregated discovery.
            _ => (
                200,
                json!({"kind": "APIGroupList", "apiVersion": "v1", "metadata": {},
                "groups": [], "items": []}),
            ),
        };
        let response = Response::builder()
            .status(status)
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap();
        futures::future::ready(Ok::<_, std::convert::Infallible>(response))
    };
    kube::Client::new(tower::service_fn(answer), "default")
}

#[tokio::test]
async fn nodes_are_added_up_over_all_pages() {
    let client = server(Arc::new(AtomicU16::new(200)));
    let facts = try_read(&client, &Facts::default(), &mut PodCount::default())
        .await
        .unwrap();
    assert_eq!(facts.kubernetes_version, "v1.33.2");
    let nodes = facts.nodes.clone().unwrap();
    assert_eq!(nodes.ready, 2, "one is not ready, one takes no pods");
    assert_eq!(nodes.allocatable_cpu_milli, 3_800);
    assert_eq!(nodes.allocatable_memory_bytes, 4 << 30);
    assert_eq!(nodes.zones, ["eu-a", "eu-b"]);
    let told = facts.report().nodes.unwrap();
    assert_eq!((told.ready, told.regions), (2, vec!["eu".to_owned()]));
}

#[tokio::test]
async fn what_may_not_be_read_is_not_known_and_what_fails_stays() {
    let status = Arc::new(AtomicU16::new(200));
    let client = server(Arc::clone(&status));
    let known = try_read(&client, &Facts::default(), &mut PodCount::default())
        .await
        .unwrap();
    status.store(500, Ordering::Relaxed);
    let failing = try_read(&client, &known, &mut PodCount::default())
        .await
        .unwrap();
    assert_eq!(failing, known);
    status.store(403, Ordering::Relaxed);
    let forbidden = try_read(&client, &known, &mut PodCount::default())
        .await
        .unwrap();
    assert_eq!(forbidden.nodes, None);
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_told_again() {
    let status = Arc::new(AtomicU16::new(200));
    let client = server(Arc::clone(&status));
    let facts = watch::Sender::new(
        try_read(&client, &Facts::default(), &mut PodCount::default())
            .await
            .unwrap(),
    );
    let mut told = facts.subscribe();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(keep(client, facts, Places::default, stop.clone()));
    tokio::time::sleep(EVERY * 3).await;
    assert!(!told.has_changed().unwrap(), "nothing changed");
    status.store(403, Ordering::Relaxed);
    told.changed().await.unwrap();
    assert_eq!(told.borrow_and_update().nodes, None);
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pods_are_added_up_over_all_pages_and_seldom() {
    let status = Arc::new(AtomicU16::new(200));
    let client = serving(Arc::new(AtomicU16::new(200)), Arc::clone(&status));
    let mut count = PodCount::default();
    let known = try_read(&client, &Facts::default(), &mut count)
        .await
        .unwrap();
    let requested = known.nodes.clone().unwrap().requested.unwrap();
    assert_eq!(
        (requested.cpu_milli, requested.memory_bytes),
        (1_750, 3 << 30)
    );
    let told = known.report().nodes.unwrap().requested.unwrap();
    assert_eq!(told.cpu_milli, 1_750);
    status.store(403, Ordering::Relaxed);
    tokio::time::advance(EVERY * 4).await;
    let early = try_read(&client, &known, &mut count).await.unwrap();
    assert_eq!(early, known, "it is not time to count");
    tokio::time::advance(EVERY).await;
    let forbidden = try_read(&client, &known, &mut count).await.unwrap();
    assert_eq!(forbidden.nodes.unwrap().requested, None);
    status.store(500, Ordering::Relaxed);
    let failing = try_read(&client, &known, &mut PodCount::default()).await;
    assert_eq!(failing.unwrap(), known, "what fails stays");
}
