//! What is written and taken away of a canary, against an API server that has whatever was applied.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bellwether_agent_core::{config_stamp::AsFound, settled::TemplateVersion};
use bellwether_api::bundle::Bundle;
use http::{Method, StatusCode};

use super::*;
use crate::sync::cluster::double::{Log, client, refusal};

/// A Ring, of which an adapter tells, and its Service.
fn bundle() -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
        "components": [{"name": "web", "objects": [{
            "apiVersion": "example.dev/v1", "kind": "Ring",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}},
            },
        }, {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }]}],
        "rollouts": [{"name": "shop-web", "spec": plan()}],
        "sync": {}, "metrics": null,
    }))
    .unwrap()
}

fn plan() -> Value {
    json!({
        "workload": {"apiVersion": "example.dev/v1", "kind": "Ring", "name": "web", "namespace": "shop",
            "adapter": {"paused": "/spec/paused", "revisionLabel": "version"}},
        "service": {"name": "web", "port": 80},
        "strategy": {"canary": {"stepWeight": 50}},
    })
}

fn track() -> RolloutTrack {
    serde_json::from_value(json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "RolloutTrack",
        "metadata": {"name": "shop-web", "namespace": "shop", "uid": "t"},
        "spec": {
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "generation": 1, "mode": "Rollout",
            "workload": {"apiVersion": "example.dev/v1", "kind": "Ring", "name": "web"},
            "plan": plan(),
        },
    }))
    .unwrap()
}

fn server() -> (Cluster, Log) {
    let live = Arc::new(Mutex::new(BTreeMap::<String, Value>::new()));
    let (client, log) = client(move |asked| {
        let mut live = live.lock().unwrap();
        let path = asked.path.split('?').next().unwrap_or_default().to_owned();
        if asked.method == Method::PATCH {
            let mut object = asked.body.clone();
            object["metadata"]["uid"] = json!(path);
            live.insert(path.clone(), object);
        }
        let found = if asked.method == Method::DELETE {
            live.remove(&path)
        } else {
            live.get(&path).cloned()
        };
        found.map_or_else(
            || refusal(StatusCode::NOT_FOUND, "not found"),
            |object| (StatusCode::OK, object),
        )
    });
    (Cluster::new(client), log)
}

/// What was written since it was asked last: `METHOD kind`, or `METHOD kind, size` of one that has a size.
fn written(log: &Log) -> Vec<String> {
    let asked = std::mem::take(&mut *log.lock().unwrap());
    let writes = asked.iter().filter(|one| one.method != Method::GET);
    let said = writes.map(|one| {
        let kind = one.path.rsplit('/').nth(1).unwrap_or_default();
        match one.body.pointer("/spec/replicas") {
            Some(size) => format!("{} {kind}, {size}", one.method),
            None => format!("{} {kind}", one.method),
        }
    });
    said.collect()
}

#[tokio::test]
async fn a_copy_by_an_adapter_of_which_no_pods_are_wanted_is_deleted_and_its_service_stays() {
    let bundle = Arc::new(bundle());
    let scene = Scene::of(&bundle, &bundle.rollouts[0]);
    let versions = Versions {
        new: Arc::clone(&bundle),
        old: bundle,
        found: AsFound::default(),
    };
    let (cluster, log) = server();
    let mut canary = Canary::default();
    let everything = Dirty {
        all: true,
        ..Dirty::default()
    };
    for (replicas, expected) in [
        (2, ["PATCH services", "PATCH rings, 2"].as_slice()),
        (0, &["DELETE rings"]),
        (0, &[]),
        (1, &["PATCH rings, 1"]),
    ] {
        let mut overlay = Overlay::none(TemplateVersion::Old);
        overlay.canary = Some(CanaryWant { replicas });
        canary
            .hold(&cluster, &scene, &track(), &versions, &overlay, &everything)
            .await
            .unwrap();
        assert!(canary.is_held());
        assert_eq!(written(&log), expected, "{replicas}");
    }
}
