//! What a process makes of a track that it did not save.

use std::sync::{Arc, Mutex};

use bellwether_agent_core::machine::RunState;
use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::sync::{
    cluster::double::client,
    watch::{Change, Dirty, WatchKey},
};

fn bundle() -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": "r2", "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
        "components": [],
        "rollouts": [{"name": "web", "spec": {
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"},
            "strategy": {"canary": {"stepWeight": 10}},
        }}],
        "sync": {}, "metrics": null,
    }))
    .expect("a bundle")
}

/// A track as the API server has it, with a state or none.
fn track(version: u64, state: Option<&Value>) -> Value {
    let mut spec = super::super::track::spec_of(&bundle(), &bundle().rollouts[0], 1);
    spec.command.attempt = 1;
    let mut track = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "RolloutTrack",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": version.to_string()},
        "spec": spec,
    });
    if let Some(state) = state {
        track["status"] = json!({"state": state, "summary": {
            "name": "web", "phase": "Progressing", "steps": 1, "weight": 0, "observedWeight": 0,
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "stable": {"ready": 1, "desired": 1}, "canary": {"ready": 0, "desired": 0},
            "failedChecks": 0, "failureThreshold": 1, "checks": [], "waitingOn": [],
        }});
    }
    track
}

/// What a watch tells of the track.
fn told(run: &Run, version: u64) -> Dirty {
    let change = Change {
        version: Some(version.to_string()),
        of: None,
    };
    Dirty {
        objects: [run.track_ref()].into(),
        changes: [(run.track_ref(), change)].into(),
        ..Dirty::default()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn state(stage: Stage) -> RunState {
    let bundle = bundle();
    let spec = super::super::track::spec_of(&bundle, &bundle.rollouts[0], 1);
    RunState {
        stage,
        ..RunState::new(&spec, at("2026-01-01T00:00:00Z"))
    }
}

/// What a watch tells of an object, and to what it belongs.
fn changed(api_version: &str, kind: &str, name: &str, of: Option<&str>) -> Dirty {
    let target = ObjectRef {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    };
    let change = Change {
        version: Some("7".to_owned()),
        of: of.map(str::to_owned),
    };
    Dirty {
        objects: [target.clone()].into(),
        changes: [(target, change)].into(),
        ..Dirty::default()
    }
}

#[tokio::test]
async fn a_run_in_place_is_woken_by_what_splits_its_requests() {
    let mut bundle = bundle();
    bundle.rollouts[0].spec = serde_json::from_value(json!({
        "workload": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "namespace": "shop"},
        "service": {"name": "db", "port": 80},
        "traffic": [{"gatewayApi": {"httpRoutes": ["db"]}}],
        "strategy": {"batch": {"steps": [{"replicas": 1, "weight": 20}]}},
    }))
    .expect("a plan");
    let (client, _) = client(|_| (StatusCode::OK, track(1, None)));
    let now = at("2026-01-01T00:00:10Z");
    let mut run = Run::open(client, &bundle, &bundle.rollouts[0], 1, now)
        .await
        .expect("a run");
    let slices = "discovery.k8s.io/v1";
    let route = &run.scene.routes[0].target.clone();
    for (dirty, wakes) in [
        (changed("apps/v1", "StatefulSet", "db", None), true),
        (changed("v1", "Service", "db", None), true),
        (changed("v1", "Service", "db-canary", None), true),
        (changed(slices, "EndpointSlice", "db-1", Some("db")), true),
        (
            changed(slices, "EndpointSlice", "x", Some("db-canary")),
            true,
        ),
        (changed(&route.api_version, &route.kind, "db", None), true),
        (
            changed(slices, "EndpointSlice", "other-1", Some("other")),
            false,
        ),
        (changed("apps/v1", "StatefulSet", "other", None), false),
        (changed("apps/v1", "ReplicaSet", "db-1", Some("db")), false),
    ] {
        run.due = false;
        run.note(&dirty, None);
        assert_eq!(run.due, wakes, "{dirty:?}");
        let target = dirty.objects.first().expect("one");
        if wakes {
            assert!(run.interests().contains_key(&WatchKey::of(target)));
        }
    }
}

/// A second agent, or a save whose answer was lost: a process that went on from what it remembers
/// would write over what is saved, since it names the version that it has just read.
#[tokio::test]
async fn what_another_process_saved_is_taken_up() {
    let server = Arc::new(Mutex::new(track(1, None)));
    let shown = Arc::clone(&server);
    let (client, _) = client(move |_| {
        let track = shown.lock().expect("no test panics here").clone();
        (StatusCode::OK, track)
    });
    let (bundle, now) = (bundle(), at("2026-01-01T00:00:10Z"));
    let mut run = Run::open(client, &bundle, &bundle.rollouts[0], 1, now)
        .await
        .expect("a run");
    assert_eq!(run.state.stage, Stage::Initializing);

    let saved = state(Stage::Pinning).to_value();
    *server.lock().expect("no test panics here") = track(2, Some(&saved));
    run.note(&told(&run, 2), None);
    run.refresh(&bundle, None, None).await.expect("a track");
    assert_eq!(run.state.stage, Stage::Pinning, "what is saved is what is");
    assert!(run.was_taken_up(), "another state wants something else");
    assert!(run.is_due(&[], now));

    // Somebody who writes anything else of the track changes nothing of the run.
    run.state = state(Stage::Pausing);
    *server.lock().expect("no test panics here") = track(3, Some(&saved));
    run.note(&told(&run, 3), None);
    run.refresh(&bundle, None, None).await.expect("a track");
    assert_eq!(run.state.stage, Stage::Pausing);
    assert_eq!(run.track.metadata.resource_version.as_deref(), Some("3"));
    assert!(!run.was_taken_up());
}
