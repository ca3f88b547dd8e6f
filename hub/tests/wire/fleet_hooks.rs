//! Hooks of fleets, told by a hub with its loops: signed, at least once, in order, holding nobody up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use bellwether_api::reference::NamespacedName;
use bellwether_sources::{Secret, verify_generic};
use bellwether_store::{
    blobs::Secrecy,
    records::{self, NewRecord, RecordKey, RecordKind},
    secrets::{self, SecretValue},
};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    agent::{enrol, joined},
    harness::{Hub, Site, eventually},
};

const SECRET: &str = "hunter2-correct-horse";

/// One try, as the receiver saw it.
#[derive(Clone, Debug)]
struct Try {
    id: String,
    body: Value,
    is_proven: bool,
}

/// What a receiver was told; it fails as often as it is told to.
#[derive(Default)]
struct Receiver {
    tries: Mutex<Vec<Try>>,
    failures: Mutex<u32>,
}

async fn hear(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let now_s = Timestamp::now().as_second();
    let signature = text("bellwether-signature");
    let is_proven = verify_generic(&Secret::new(SECRET), &signature, body.as_bytes(), now_s);
    receiver.tries.lock().unwrap().push(Try {
        id: text("idempotency-key"),
        body: serde_json::from_str(&body).unwrap(),
        is_proven: is_proven.is_ok(),
    });
    let mut failures = receiver.failures.lock().unwrap();
    match *failures {
        0 => StatusCode::ACCEPTED,
        _ => {
            *failures -= 1;
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl Receiver {
    /// A receiver that fails so often first, and its address.
    async fn start(failures: u32) -> (Arc<Self>, String) {
        let receiver = Arc::new(Self {
            failures: Mutex::new(failures),
            ..Self::default()
        });
        let app = Router::new()
            .route("/clusters", post(hear))
            .with_state(Arc::clone(&receiver));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, format!("http://{address}/clusters"))
    }

    async fn told(&self, count: usize) -> Vec<Try> {
        eventually(&format!("{count} tries"), async || {
            let tries = self.tries.lock().unwrap().clone();
            (tries.len() >= count).then_some(tries)
        })
        .await
    }
}

/// Writes a fleet of everything with one hook, and the hook's secret. The record is written below the
/// API, which refuses addresses of the hub itself.
async fn fleet_with_hook(hub: &Hub, url: &str) {
    let store = &hub.app().store;
    let mut tx = store.begin().await.unwrap();
    let new = NewRecord {
        key: RecordKey {
            kind: RecordKind::Fleet,
            namespace: String::new(),
            name: "all".to_owned(),
        },
        uid: Uuid::now_v7(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: json!({"selector": {}, "hooks": [{"name": "inventory", "url": url,
            "hmacSecretRef": {"name": "cmdb", "key": "hmac"}}]}),
        secrecy: Secrecy::Plain,
        by: "tests".to_owned(),
        reason: String::new(),
    };
    let now = Timestamp::now();
    records::apply(&mut tx, &new, None, now).await.unwrap();
    let name = NamespacedName {
        namespace: "default".to_owned(),
        name: "cmdb".to_owned(),
    };
    let value = SecretValue::new(format!("{SECRET}\n").into_bytes());
    let entries = [("hmac".to_owned(), value)].into();
    secrets::set(&mut tx, &name, &entries, "tests", now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn hooks_delivered(item: &Value) -> Option<Value> {
    let conditions = item["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|one| one["type"] == "HooksDelivered");
    found.cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_told_who_came_and_went_signed_until_it_has_heard() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let (receiver, url) = Receiver::start(1).await;
    fleet_with_hook(&hub, &url).await;
    bellwether_hub::loops::spawn(Arc::clone(hub.app()));

    // The cluster is in, whatever its hook answers, and shows that the hook was not told.
    let cluster = joined(&hub, "eu-1").await.cluster;
    receiver.told(1).await;
    for path in ["clusters/eu-1", "fleets/all"] {
        let told = eventually("a condition", async || {
            hooks_delivered(&hub.get(path).await)
        })
        .await;
        assert_eq!(
            (&told["status"], &told["reason"]),
            (&json!("False"), &json!("Retrying"))
        );
        let message = told["message"].as_str().unwrap();
        assert!(message.contains("it answered 500"), "{message}");
        assert!(!message.contains(&url), "{message}");
    }
    let tries = receiver.told(2).await;
    assert!(tries.iter().all(|one| one.is_proven), "{tries:?}");
    assert_eq!(tries[0].id, tries[1].id, "it is the same call");
    assert_eq!(tries[0].body, tries[1].body);
    let body = &tries[1].body;
    assert_eq!(body["event"], "ClusterRegistered");
    assert_eq!(
        (&body["fleet"], &body["id"]),
        (&json!("all"), &json!(tries[1].id))
    );
    assert_eq!(
        body["cluster"],
        json!({"id": cluster, "name": "eu-1", "labels": {}})
    );
    assert_eq!(body.get("again"), None);
    eventually("no condition", async || {
        hooks_delivered(&hub.get("clusters/eu-1").await)
            .is_none()
            .then_some(())
    })
    .await;

    // Detached, then attached again with the same name.
    let reason = json!({"reason": "moved"});
    hub.ask(Method::POST, "clusters/eu-1/revoke", reason).await;
    let gone = receiver.told(3).await.remove(2);
    assert_eq!(
        (&gone.body["event"], &gone.body["reason"]),
        (&json!("ClusterDetached"), &json!("moved"))
    );
    let material = hub.token("eu-1").await;
    enrol(&hub, &material.token).await.unwrap();
    let back = receiver.told(4).await.remove(3);
    assert_eq!(
        (&back.body["event"], &back.body["again"]),
        (&json!("ClusterRegistered"), &json!(true))
    );
    hub.ask(Method::DELETE, "clusters/eu-1", Value::Null).await;
    let deleted = receiver.told(5).await.remove(4);
    assert_eq!(deleted.body["event"], "ClusterDetached");

    let reasons = eventually("the events", async || {
        let events = hub.get("events").await;
        let items = events["items"].as_array().unwrap();
        (items.len() == 5).then(|| {
            items
                .iter()
                .map(|one| one["reason"].clone())
                .collect::<Vec<_>>()
        })
    })
    .await;
    let delivered = json!("HookDelivered");
    let mut expected = vec![json!("HookFailed")];
    expected.extend([&delivered; 4].map(Clone::clone));
    assert_eq!(reasons, expected);
    hub.stop().await;
}
