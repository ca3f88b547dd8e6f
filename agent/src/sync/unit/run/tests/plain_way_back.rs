//! A plain release of a StatefulSet that failed, without a run.

use std::sync::Arc;

use bellwether_api::{
    bundle::{Bundle, UnitKey},
    duration::Dur,
    sync_record::SyncUnit,
};
use serde_json::{Value, json};

use super::server::Server;
use crate::{
    clock::Clock,
    desired::Desired,
    metrics::{KubeSecrets, Meter},
    report::Reports,
    sync::{Shell, unit::Unit, watch::Poke},
    telemetry::Figures,
};

fn stateful_set(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"replicas": 2, "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "main", "image": image}]}}},
    })
}

fn pod(ordinal: u32, revision: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("db-{ordinal}"), "namespace": "shop",
            "labels": {"app": "db", "controller-revision-hash": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db",
                "uid": "uid-statefulsets/db", "controller": true}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn bundle(image: &str) -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": image, "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Plain", "targetNamespace": "shop", "createNamespace": false,
        "components": [{"name": "db", "objects": [stateful_set(image)]}],
        "rollouts": [], "sync": {}, "metrics": null,
    }))
    .expect("a bundle")
}

async fn unit(server: &Server) -> Unit {
    // Fails only where another test was here before: the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = server.client();
    let clock = Clock::begin(None);
    let desired = Desired::load(client.clone(), "bellwether-system")
        .await
        .expect("nothing is held");
    let secrets = Arc::new(KubeSecrets(client.clone()));
    let meter = Meter::new(secrets, "bellwether-system", clock).expect("a meter");
    let shell = Shell::new(
        client,
        desired,
        Reports::default(),
        meter,
        clock,
        Figures::default(),
        Dur::from_secs(0),
    );
    let key: UnitKey = "application/default/shop".parse().expect("a key");
    let mut unit = Unit::new(shell, key, Arc::<Poke>::default());
    for (digest, image) in [("new", "v2"), ("old", "v1")] {
        unit.bundles
            .insert(digest.to_owned(), Arc::new(bundle(image)));
    }
    unit
}

#[tokio::test]
async fn a_failed_plain_release_of_a_stateful_set_leaves_no_broken_pod() {
    let server = Server::default();
    let mut live = stateful_set("v2");
    live["metadata"]["generation"] = json!(2);
    live["status"] = json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 1,
        "currentRevision": "db-old", "updateRevision": "db-old"});
    server.put("statefulsets", live);
    server.put("pods", pod(0, "db-old", "True"));
    server.put("pods", pod(1, "db-bad", "False"));
    let record: SyncUnit = serde_json::from_value(json!({
        "key": "application/default/shop", "generation": 1, "digest": "new",
        "appliedDigest": "old", "outcome": "RollingBack", "reason": "DeadlineExceeded: it is broken",
    }))
    .expect("a unit");
    let mut unit = unit(&server).await;
    unit.go_back(&record, "old").await.expect("a pass");
    let asked = server.take_asked();
    let at = |what: &str| asked.iter().position(|one| one == what);
    let written = at("PATCH statefulsets/db").expect("the old template comes back");
    let deleted = at("DELETE pods/db-1").expect("the broken pod goes");
    assert!(written < deleted, "{asked:?}");
    assert_eq!(server.get("pods", "db-1"), Value::Null);
    assert_ne!(server.get("pods", "db-0"), Value::Null);

    // What its controller makes in its place comes up by itself.
    server.put("pods", pod(1, "db-old", "False"));
    unit.go_back(&record, "old").await.expect("a pass");
    assert_ne!(server.get("pods", "db-1"), Value::Null);
}
