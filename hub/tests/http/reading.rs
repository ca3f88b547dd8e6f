//! Lists, pages, and what the hub says of fleets and applications.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Hub, application, eventually, fleet, rollout};

#[tokio::test]
async fn pages_give_every_object_once() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let documents: Vec<String> = (0..7).map(|index| fleet(&format!("f{index}"))).collect();
    admin.applied(&documents.join("---\n")).await;
    let mut names = Vec::new();
    let mut next = String::new();
    loop {
        let page = admin.get(&format!("/api/v1/fleets?limit=3{next}")).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        for item in page.body["items"].as_array().unwrap() {
            names.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        match page.body["metadata"]["continue"].as_str() {
            Some(cursor) => next = format!("&continue={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["f0", "f1", "f2", "f3", "f4", "f5", "f6"]);
    assert_eq!(
        admin.get("/api/v1/fleets?continue=x").await.status,
        StatusCode::GONE
    );
    let typo = admin.get("/api/v1/fleets?limt=3").await;
    assert_eq!(
        (typo.status, &typo.body["code"]),
        (StatusCode::BAD_REQUEST, &json!("BadRequest"))
    );
    assert!(typo.detail().contains("limt"), "{typo:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn labels_select() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for (name, tier) in [("a", "canary"), ("b", "rest"), ("c", "rest")] {
        hub.announce(name, &json!({"tier": tier})).await;
    }
    for (selector, wanted) in [
        ("tier%3Drest", 2),
        ("tier!%3Drest", 1),
        ("tier+in+(canary,rest)", 3),
        ("!tier", 0),
    ] {
        let list = admin
            .get(&format!("/api/v1/clusters?labelSelector={selector}"))
            .await;
        assert_eq!(
            list.body["items"].as_array().unwrap().len(),
            wanted,
            "{selector} {list:?}"
        );
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn fleet_counts_what_it_knows_and_a_silent_cluster_is_not_green() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin.applied(&fleet("all")).await;
    hub.announce("quiet", &json!({})).await;
    let shown = admin.get("/api/v1/fleets/all").await;
    let status = &shown.body["status"];
    assert_eq!(status["clusters"], 1);
    assert_eq!(
        (&status["ready"], &status["unknown"]),
        (&json!(0), &json!(1))
    );
    let cluster = admin.get("/api/v1/clusters/quiet").await;
    assert_eq!(cluster.body["status"]["condition"], "Pending");
    assert_eq!(cluster.body["status"]["lastSeen"], Value::Null);
    let revoked = admin
        .post("/api/v1/clusters/quiet/revoke", &json!({}))
        .await;
    assert_eq!(
        revoked.body["status"]["condition"], "Revoked",
        "{revoked:?}"
    );
    assert_eq!(
        admin.delete("/api/v1/clusters/quiet").await.status,
        StatusCode::OK
    );
    assert_eq!(
        admin.get("/api/v1/clusters/quiet").await.status,
        StatusCode::NOT_FOUND
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn application_without_clusters_says_so_and_runs_once_there_is_one() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let applied = admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    assert!(
        applied["warnings"]
            .to_string()
            .contains("no registered cluster"),
        "{applied}"
    );
    let shown = admin.get("/api/v1/namespaces/shop/applications/web").await;
    assert_eq!(
        shown.body["status"]["conditions"][0]["type"], "NoClusters",
        "{shown:?}"
    );
    let status = admin.get("/api/v1/rollouts/shop/web/status").await;
    assert_eq!(status.body["state"], "Pending");
    assert_eq!(status.body["waitingOn"][0]["reason"], "NoClusters");
    let why = admin.get("/api/v1/rollouts/shop/web/why").await;
    assert_eq!(why.body["because"][0]["reason"], "NoClusters");

    hub.announce("first", &json!({})).await;
    let view = eventually("a run", async || {
        let answer = admin.get("/api/v1/rollouts/shop/web/status").await;
        (answer.body["total"] == 1).then_some(answer.body)
    })
    .await;
    assert_eq!(view["version"], "1");
    assert!(!view["waitingOn"].as_array().unwrap().is_empty(), "{view}");
    hub.running.stop().await;
}

#[tokio::test]
async fn run_is_found_by_the_rollouts_name_and_a_wrong_name_helps() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(
            &[
                fleet("all"),
                application("shop", "web", "all", "web:1"),
                rollout("shop", "web-plan", "web"),
            ]
            .join("---\n"),
        )
        .await;
    for name in ["web", "web-plan"] {
        let view = admin
            .get(&format!("/api/v1/rollouts/shop/{name}/status"))
            .await;
        assert_eq!(view.body["application"]["name"], "web", "{view:?}");
    }
    let missing = admin.get("/api/v1/rollouts/shop/nope/status").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.detail().contains("there are: web"), "{missing:?}");
    let history = admin.get("/api/v1/rollouts/shop/web/history").await;
    assert_eq!(history.body["items"], json!([]));
    hub.running.stop().await;
}
