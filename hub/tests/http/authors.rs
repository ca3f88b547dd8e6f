//! Who did what, and why: releases and revocations say so.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Caller, Hub, application, eventually, fleet, rollout};

/// The newest run of the history, once it is of `revision`.
async fn newest(caller: &Caller, revision: u64) -> Value {
    eventually("the release", async || {
        let history = caller.get("/api/v1/rollouts/shop/web/history").await;
        let run = history.body["items"][0].clone();
        (run["revision"] == revision).then_some(run)
    })
    .await
}

#[tokio::test]
async fn a_release_is_of_whoever_changed_what_it_is_made_of() {
    let hub = Hub::start().await;
    hub.announce("c1", &json!({"tier": "canary"})).await;
    let admin = hub.admin();
    let documents = |image: &str| {
        let application = application("shop", "web", "all", image);
        format!("{}---\n{application}", fleet("all"))
    };
    let first = admin
        .apply_with("?reason=first%20version", &documents("web:1"))
        .await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let run = newest(&admin, 1).await;
    assert_eq!(run["reason"], "first version", "{run}");

    let ana = hub.someone("ana", "editor", &["shop"]).await;
    let application = application("shop", "web", "all", "web:2");
    let second = ana.apply_with("?reason=fixes%20%2342", &application).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    let run = newest(&admin, 2).await;
    assert_eq!(
        (&run["by"], &run["reason"]),
        (&json!("ana"), &json!("fixes #42"))
    );

    // Applying the same again changes nothing, and is nobody's.
    admin.applied(&documents("web:2")).await;
    let eve = hub.someone("eve", "editor", &["shop"]).await;
    let third = eve.apply(&rollout("shop", "web-rollout", "web")).await;
    assert_eq!(third.status, StatusCode::OK, "{third:?}");
    let run = newest(&admin, 3).await;
    assert_eq!(
        (&run["by"], &run["reason"]),
        (&json!("eve"), &json!("")),
        "the Rollout is part of it"
    );
    let status = admin.get("/api/v1/rollouts/shop/web/status").await;
    assert_eq!(status.body["by"], "eve", "{status:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn a_reason_has_its_limits() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let long = format!("?reason={}", "x".repeat(4_097));
    for query in [long.as_str(), "?reason=a%00b"] {
        let refused = admin.apply_with(query, &fleet("all")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    }
    let fleets = admin.get("/api/v1/fleets").await;
    assert_eq!(fleets.body["items"], json!([]), "nothing was stored");
    hub.running.stop().await;
}

#[tokio::test]
async fn a_revocation_says_who_and_why() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for (name, body) in [
        ("c1", json!({"reason": "the laptop was stolen"})),
        ("c2", json!({})),
    ] {
        hub.announce(name, &json!({})).await;
        let path = format!("/api/v1/clusters/{name}/revoke");
        let revoked = admin.post(&path, &body).await;
        assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
        assert_eq!(revoked.body["status"]["condition"], "Revoked");
        let message = revoked.body["status"]["message"].as_str().unwrap();
        assert_eq!(message.contains("(the laptop was stolen)"), name == "c1");
        assert!(message.contains("taken away by "), "{message}");
        assert!(message.contains("register it again"), "{message}");
    }
    let viewer = hub.someone("vic", "viewer", &[]).await;
    let denied = viewer.post("/api/v1/clusters/c1/revoke", &json!({})).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    let typo = admin
        .post("/api/v1/clusters/c1/revoke", &json!({"raeson": "x"}))
        .await;
    assert_eq!(typo.status, StatusCode::BAD_REQUEST);
    hub.running.stop().await;
}
