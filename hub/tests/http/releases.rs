//! Drafts, differences between releases, and which override set what.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, Hub, application, eventually, fleet};

/// The application under a version, with an override for `tier: canary`.
fn published(image: &str, version: &str, replicas: u32) -> String {
    let mut text = application("shop", "web", "all", image);
    text.push_str(&format!(
        "  publishVersion: {version}
  overrides:
  - name: small
    selector: {{matchLabels: {{tier: canary}}}}
    replicas: [{{target: {{kind: Deployment}}, count: {replicas}}}]
"
    ));
    text
}

async fn revision(caller: &Caller, wanted: u64) {
    eventually("the release", async || {
        let history = caller.get("/api/v1/rollouts/shop/web/history").await;
        let run = &history.body["items"][0];
        let digest = run["release"].as_str().unwrap_or_default();
        (run["revision"] == wanted && digest.len() == 64).then_some(())
    })
    .await;
}

async fn diff(caller: &Caller, query: &str, documents: &str) -> Answer {
    let path = format!("/api/v1/rollouts/shop/web/diff{query}");
    let request = caller.request(Method::POST, &path);
    caller.send(request.body(documents.to_owned())).await
}

fn clusters(body: &Value) -> Vec<Value> {
    let groups = body["groups"].as_array().unwrap();
    groups.iter().map(|one| one["clusters"].clone()).collect()
}

/// A hub with three clusters and revision 1.
async fn first() -> (Hub, Caller) {
    let hub = Hub::start().await;
    for (name, tier) in [("c1", "canary"), ("c2", "rest"), ("c3", "rest")] {
        hub.announce(name, &json!({"tier": tier})).await;
    }
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            published("web:1", "v1", 2)
        ))
        .await;
    revision(&admin, 1).await;
    (hub, admin)
}

async fn draft(caller: &Caller) -> Option<Value> {
    condition(caller, "Draft").await
}

async fn condition(caller: &Caller, kind: &str) -> Option<Value> {
    let item = caller
        .get("/api/v1/namespaces/shop/applications/web")
        .await
        .body;
    let conditions = item["status"]["conditions"].as_array().unwrap().clone();
    conditions.into_iter().find(|one| one["type"] == kind)
}

#[tokio::test]
async fn a_draft_is_shown_until_it_is_published() {
    let (hub, admin) = first().await;
    assert_eq!(draft(&admin).await, None);
    let applied = admin.applied(&published("web:2", "v1", 2)).await;
    let warning = applied["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("publishVersion is still \"v1\""),
        "{applied}"
    );
    let found = draft(&admin).await.unwrap();
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("differs from revision 1"), "{message}");
    let why = admin.get("/api/v1/rollouts/shop/web/why").await.body;
    assert!(why.to_string().contains("\"Draft\""), "{why}");
    let status = admin.get("/api/v1/rollouts/shop/web/status").await.body;
    assert_eq!(
        status["revision"], 1,
        "no release is about to be made of it"
    );
    // Whoever writes again what runs has no draft any more.
    admin.applied(&published("web:1", "v1", 2)).await;
    assert_eq!(draft(&admin).await, None);
    let applied = admin.applied(&published("web:2", "v2", 2)).await;
    assert_eq!(applied["warnings"], json!([]));
    revision(&admin, 2).await;
    assert_eq!(draft(&admin).await, None);
    hub.running.stop().await;
}

#[tokio::test]
async fn a_suspended_application_says_so_and_what_waits() {
    let (hub, admin) = first().await;
    let suspended = |image: &str, version: &str| {
        let text = published(image, version, 2);
        format!("{text}  sync: {{suspend: true}}\n")
    };
    for (image, version, waits) in [
        ("web:1", "v1", "nothing else is stored"),
        ("web:2", "v2", "what is stored differs from revision 1"),
    ] {
        let applied = admin.applied(&suspended(image, version)).await;
        let warning = applied["warnings"][0].as_str().unwrap_or_default();
        assert!(
            warning.contains("sync.suspend is true") && warning.contains(waits),
            "{applied}"
        );
        let found = condition(&admin, "SyncSuspended").await.unwrap();
        assert!(
            found["message"].as_str().unwrap().contains(waits),
            "{found}"
        );
    }
    assert_eq!(draft(&admin).await, None);
    let why = admin.get("/api/v1/rollouts/shop/web/why").await.body;
    assert!(why.to_string().contains("SyncSuspended"), "{why}");
    let status = admin.get("/api/v1/rollouts/shop/web/status").await.body;
    assert_eq!(
        status["revision"], 1,
        "no release is about to be made of it"
    );
    admin.applied(&published("web:2", "v2", 2)).await;
    revision(&admin, 2).await;
    assert_eq!(condition(&admin, "SyncSuspended").await, None);
    // One that was never released says why in the place of a run.
    let other = application("shop", "other", "all", "web:1");
    admin
        .applied(&format!("{other}  sync: {{suspend: true}}\n"))
        .await;
    let status = admin.get("/api/v1/rollouts/shop/other/status").await.body;
    assert_eq!(
        status["waitingOn"][0]["reason"], "SyncSuspended",
        "{status}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn sides_are_compared_by_cluster_and_grouped() {
    let (hub, admin) = first().await;
    let same = diff(&admin, "?from=1&to=stored", "").await;
    assert_eq!(same.status, StatusCode::OK, "{same:?}");
    assert_eq!(same.body["groups"], json!([]));
    assert_eq!(same.body["same"], json!(["c1", "c2", "c3"]));
    // A draft: what it would change, before it rolls.
    admin.applied(&published("web:2", "v1", 3)).await;
    let found = diff(&admin, "?from=1", "").await.body;
    assert_eq!(
        clusters(&found),
        [json!(["c2", "c3"]), json!(["c1"])],
        "{found}"
    );
    assert_eq!(
        (&found["from"], &found["to"]),
        (&json!("revision 1"), &json!("what is stored"))
    );
    let object = &found["groups"][0]["objects"][0];
    assert_eq!(object["object"], "Deployment/default/web");
    let text = object["text"].as_str().unwrap();
    assert!(
        text.contains("- image: web:1\n+") && text.contains("- image: web:2\n"),
        "{text}"
    );
    let own = found["groups"][1]["objects"][0]["text"].as_str().unwrap();
    assert!(own.contains("-  replicas: 2\n+  replicas: 3\n"), "{own}");
    let only = diff(&admin, "?from=1&clusters=c1", "").await.body;
    assert_eq!(clusters(&only), [json!(["c1"])]);
    // Nobody runs it yet: all of it would be new.
    let running = diff(&admin, "", "").await.body;
    assert_eq!(running["from"], "what runs");
    assert_eq!(
        running["groups"][0]["objects"][0]["change"], "Added",
        "{running}"
    );
    // Between revisions, both ways.
    admin.applied(&published("web:2", "v2", 3)).await;
    revision(&admin, 2).await;
    let there = diff(&admin, "?from=1&to=2", "").await.body;
    let back = diff(&admin, "?from=2&to=1", "").await.body;
    assert_eq!(clusters(&there), clusters(&back));
    assert!(back.to_string().contains("+      - image: web:1"), "{back}");
    hub.running.stop().await;
}

#[tokio::test]
async fn documents_are_compared_and_not_stored_and_secrets_never_shown() {
    let (hub, admin) = first().await;
    let changed = published("web:1", "v1", 2).replace("hunter2", "hunter3");
    let found = diff(&admin, "?from=stored", &changed).await;
    assert_eq!(found.status, StatusCode::OK, "{found:?}");
    assert_eq!(clusters(&found.body), [json!(["c1", "c2", "c3"])]);
    assert_eq!(
        found.body["groups"][0]["objects"][0]["object"],
        "Secret/default/db"
    );
    let text = found.body.to_string();
    assert!(
        text.contains("<digest ") && !text.contains("hunter"),
        "{text}"
    );
    // Clusters that the documents leave out lose what they have there.
    let fewer = published("web:1", "v1", 2).replace("{fleet: all}", "{clusters: [c1]}");
    let found = diff(&admin, "?from=1", &fewer).await.body;
    assert_eq!(found["same"], json!(["c1"]), "{found}");
    // A rollout alone.
    let rollout = crate::harness::rollout("shop", "web-rollout", "web");
    let found = diff(&admin, "?from=stored", &rollout).await.body;
    let object = &found["groups"][0]["objects"][0];
    assert_eq!(object["object"], "Rollout/web-rollout", "{found}");
    // What is not stored at all.
    let path = "/api/v1/rollouts/shop/new/diff";
    let new = application("shop", "new", "all", "new:1");
    let found = admin
        .send(admin.request(Method::POST, path).body(new))
        .await;
    assert_eq!(
        found.body["groups"][0]["objects"][0]["change"], "Added",
        "{found:?}"
    );
    let stored = admin.get("/api/v1/namespaces/shop/applications/new").await;
    assert_eq!(stored.status, StatusCode::NOT_FOUND);
    hub.running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_by_name() {
    let (hub, admin) = first().await;
    for (query, body, status, part) in [
        (
            "?from=9",
            "",
            StatusCode::NOT_FOUND,
            "there is no revision 9; kept are 1",
        ),
        (
            "?from=old",
            "",
            StatusCode::BAD_REQUEST,
            "a side is a revision",
        ),
        (
            "?to=1",
            "kind: Fleet",
            StatusCode::BAD_REQUEST,
            "leave out `to`",
        ),
        (
            "?clusters=c9",
            "",
            StatusCode::NOT_FOUND,
            "there are c1, c2, c3",
        ),
        (
            "",
            &fleet("all"),
            StatusCode::UNPROCESSABLE_ENTITY,
            "neither application shop/web",
        ),
        (
            "",
            &published("web:1", "v1", 2).replace("waves:", "wavs:"),
            StatusCode::UNPROCESSABLE_ENTITY,
            "spec.wavs",
        ),
        (
            "",
            &published("web:1", "v1", 2).replace("hunter2", "<redacted>"),
            StatusCode::UNPROCESSABLE_ENTITY,
            "redacted",
        ),
    ] {
        let answer = diff(&admin, query, body).await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert!(answer.detail().contains(part), "{query}: {answer:?}");
    }
    let eve = hub.someone("eve", "viewer", &["other"]).await;
    assert_eq!(diff(&eve, "", "").await.status, StatusCode::FORBIDDEN);
    hub.running.stop().await;
}

#[tokio::test]
async fn every_field_names_the_override_that_set_it() {
    let (hub, admin) = first().await;
    let explain = async |query: &str| {
        let path = format!("/api/v1/rollouts/shop/web/explain{query}");
        admin.get(&path).await
    };
    let found = explain("?cluster=c1").await;
    assert_eq!(found.status, StatusCode::OK, "{found:?}");
    assert_eq!(
        found.body["overrides"],
        json!([{"name": "small", "holds": true, "changed": 1}])
    );
    assert_eq!(
        found.body["fields"],
        json!([{"object": "Deployment/default/web", "path": "/spec/replicas",
                "set": [{"by": "small", "to": "2"}]}])
    );
    let found = explain("?cluster=c2&of=1").await.body;
    assert_eq!(found["overrides"][0]["holds"], false);
    assert_eq!(
        (&found["fields"], &found["of"]),
        (&json!([]), &json!("revision 1"))
    );
    for (query, status) in [
        ("?cluster=c9", StatusCode::NOT_FOUND),
        ("?cluster=c1&of=running", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(explain(query).await.status, status, "{query}");
    }
    hub.running.stop().await;
}
