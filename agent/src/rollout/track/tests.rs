//! Against an API server on which somebody else writes tracks too.

use bellwether_api::status::TrackSummary;
use http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::sync::cluster::double::{client, refusal};

fn track() -> RolloutTrack {
    serde_json::from_value(json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "RolloutTrack",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "41"},
        "spec": {
            "application": {"namespace": "default", "name": "shop"},
            "release": "r2", "revision": 2, "run": uuid::Uuid::nil(), "attempt": 1,
            "generation": 1, "mode": "Rollout",
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "plan": {"workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "strategy": {"canary": {"stepWeight": 10}}},
        },
    }))
    .expect("a track")
}

fn status() -> RolloutTrackStatus {
    let summary: TrackSummary = serde_json::from_value(json!({
        "name": "web", "phase": "Progressing", "steps": 1, "weight": 0, "observedWeight": 0,
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "stable": {"ready": 1, "desired": 1}, "canary": {"ready": 0, "desired": 0},
        "failedChecks": 0, "failureThreshold": 1, "checks": [], "waitingOn": [],
    }))
    .expect("a summary");
    RolloutTrackStatus {
        state: json!({}),
        summary,
        events: Vec::new(),
        executed: Vec::new(),
    }
}

/// Two agents that both hold a run, or a human who edits its track: a decision that was made on
/// what is not there any more is made again, never written over what is.
#[tokio::test]
async fn a_decision_on_an_old_track_is_not_saved() {
    for (code, outdated) in [
        (StatusCode::CONFLICT, true),
        (StatusCode::NOT_FOUND, true),
        (StatusCode::INTERNAL_SERVER_ERROR, false),
        (StatusCode::TOO_MANY_REQUESTS, false),
    ] {
        let (client, log) = client(move |_| refusal(code, "no"));
        let tracks = Tracks::new(client, "shop");
        let saved = tracks.save(&track(), status()).await;
        let commanded = tracks.command(&track(), &Command::default()).await;
        for answer in [saved, commanded] {
            match answer {
                Ok(Saved::Outdated) => assert!(outdated, "{code}"),
                Ok(Saved::Done(_)) => panic!("{code} is taken for saved"),
                Err(error) => assert!(!outdated && error.code() == Some(code.as_u16()), "{error}"),
            }
        }
        let asked = log.lock().expect("no test panics here").clone();
        assert_eq!(asked.len(), 2, "{asked:?}");
        for one in asked {
            assert_eq!(one.method, Method::PUT);
            assert_eq!(
                one.body["metadata"]["resourceVersion"], "41",
                "it says on what it was decided"
            );
        }
    }
}
