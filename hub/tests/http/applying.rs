//! Applying documents: everything is checked first, and all of it is stored or none.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Caller, Hub, application, fleet, rollout};

async fn count(caller: &Caller, path: &str) -> usize {
    caller.get(path).await.body["items"]
        .as_array()
        .unwrap()
        .len()
}

fn first_error(body: &Value) -> &Value {
    &body["errors"][0]
}

#[tokio::test]
async fn documents_are_created_changed_and_left_alone() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let documents = [
        fleet("all"),
        application("shop", "web", "all", "web:1"),
        rollout("shop", "web-plan", "web"),
    ]
    .join("---\n");
    let results = |body: &Value| -> Vec<String> {
        let objects = body["objects"].as_array().unwrap().iter();
        objects
            .map(|one| format!("{} {}", one["kind"], one["result"]).replace('"', ""))
            .collect()
    };
    let first = admin.applied(&documents).await;
    assert_eq!(
        results(&first),
        ["Fleet created", "Application created", "Rollout created"]
    );
    let second = admin.applied(&documents).await;
    assert_eq!(
        results(&second),
        [
            "Fleet unchanged",
            "Application unchanged",
            "Rollout unchanged"
        ]
    );
    let third = admin.applied(&documents.replace("web:1", "web:2")).await;
    assert_eq!(
        results(&third),
        [
            "Fleet unchanged",
            "Application configured",
            "Rollout unchanged"
        ]
    );
    assert_eq!(third["objects"][1]["generation"], 2);
    hub.running.stop().await;
}

#[tokio::test]
async fn one_wrong_document_stores_none() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let documents = [fleet("all"), application("shop", "web", "al", "web:1")].join("---\n");
    let answer = admin.apply(&documents).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let error = first_error(&answer.body);
    assert_eq!(error["path"], "spec.destination.fleet");
    assert_eq!(error["pointer"], "/spec/destination/fleet");
    assert_eq!(error["suggestion"], "all");
    assert_eq!((&error["line"], &error["column"]), (&json!(10), &json!(17)));
    assert_eq!(count(&admin, "/api/v1/fleets").await, 0);
    assert_eq!(count(&admin, "/api/v1/applications").await, 0);
    hub.running.stop().await;
}

#[tokio::test]
async fn unknown_fields_are_named_with_position_and_suggestion_all_at_once() {
    let hub = Hub::start().await;
    let text = application("shop", "web", "all", "web:1")
        .replace("waves:", "wavs:")
        .replace("destination:", "destinaton:");
    let answer = hub.admin().apply(&text).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = answer.body["errors"].as_array().unwrap();
    let found: Vec<(&str, &str)> = errors
        .iter()
        .filter_map(|error| Some((error["path"].as_str()?, error["suggestion"].as_str()?)))
        .collect();
    assert!(
        found.contains(&("spec.destinaton", "destination")),
        "{errors:?}"
    );
    assert!(found.contains(&("spec.wavs", "waves")), "{errors:?}");
    assert!(
        errors
            .iter()
            .all(|error| error["line"].as_u64().unwrap() > 0),
        "{errors:?}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn dry_run_checks_everything_and_stores_nothing() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let good = admin.apply_with("?dryRun=All", &fleet("all")).await;
    assert_eq!(
        (good.status, &good.body["dryRun"]),
        (StatusCode::OK, &json!(true))
    );
    assert_eq!(count(&admin, "/api/v1/fleets").await, 0);
    let bad = admin
        .apply_with("?dryRun=All", &application("shop", "web", "none", "web:1"))
        .await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        admin.apply_with("?dryRun=yes", &fleet("all")).await.status,
        StatusCode::BAD_REQUEST
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn overlapping_waves_are_refused_for_registered_clusters_by_name() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let overlapping = application("shop", "web", "all", "web:1").replace(
        "- {name: rest}",
        "- {name: rest, selector: {matchLabels: {region: eu}}}",
    );
    // Nobody is registered: nothing overlaps yet.
    admin
        .applied(&format!("{}---\n{overlapping}", fleet("all")))
        .await;
    hub.announce("both", &json!({"tier": "canary", "region": "eu"}))
        .await;
    let answer = admin.apply(&overlapping.replace("web:1", "web:2")).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let error = first_error(&answer.body);
    assert_eq!(error["path"], "spec.waves");
    let detail = error["detail"].as_str().unwrap();
    for word in ["both", "canary", "rest"] {
        assert!(detail.contains(word), "{detail}");
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn rollouts_must_fit_their_application() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    let unknown = admin.apply(&rollout("shop", "plan", "wbe")).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    let error = first_error(&unknown.body);
    assert_eq!(
        (&error["path"], &error["suggestion"]),
        (&json!("spec.application"), &json!("web"))
    );
    // Checked against what is stored, not only against what is in the same input.
    let wrong = rollout("shop", "plan", "web").replace("name: web}", "name: wbe}");
    let wrong = admin.apply(&wrong).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    assert!(
        first_error(&wrong.body)["path"]
            .as_str()
            .unwrap()
            .starts_with("spec.workload")
    );
    // And the other way: an application may not lose what its stored rollout governs.
    admin.applied(&rollout("shop", "plan", "web")).await;
    let renamed = application("shop", "web", "all", "web:1").replace(
        "metadata: {name: web}\n      spec:\n        selector",
        "metadata: {name: other}\n      spec:\n        selector",
    );
    let answer = admin.apply(&renamed).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    assert!(answer.body.to_string().contains("plan"), "{answer:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn limits_are_named_when_they_are_passed() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let big = format!("# {}\n{}", "x".repeat(10 << 20), fleet("all"));
    let answer = admin.apply(&big).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.detail().contains("4194304"), "{answer:?}");

    // Nine lists of ten aliases each: 10^9 values when all are followed.
    let mut bomb = String::from("a0: &a0 [1, 1]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let start = Instant::now();
    let answer = admin.apply(&bomb).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );

    let twice = fleet("all").replace("kind: Fleet", "kind: Fleet\nkind: Fleet");
    let answer = admin.apply(&twice).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(first_error(&answer.body)["code"], "Duplicate", "{answer:?}");
    for nonsense in ["", "{", "\0", "a: b: c", "kind: Fleet"] {
        let answer = admin.apply(nonsense).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{nonsense:?} {answer:?}"
        );
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn versions_guard_against_overwriting() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let made = admin.applied(&fleet("all")).await;
    let version = made["objects"][0]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let put = |version: String, text: String| {
        let request = admin.request(Method::PUT, "/api/v1/fleets/all");
        admin.send(
            request
                .header("if-match", format!("\"{version}\""))
                .body(text),
        )
    };
    let changed = fleet("all").replace("{selector: {}}", "{clusters: [a]}");
    assert_eq!(
        put(version.clone(), changed.clone()).await.status,
        StatusCode::OK
    );
    let stale = put(version.clone(), fleet("all")).await;
    assert_eq!(stale.status, StatusCode::CONFLICT, "{stale:?}");
    assert!(stale.detail().contains(&version), "{stale:?}");
    // The same by the document's own field.
    let written = fleet("all").replace(
        "{name: all}",
        &format!("{{name: all, resourceVersion: \"{version}\"}}"),
    );
    assert_eq!(admin.apply(&written).await.status, StatusCode::CONFLICT);
    // A document for another address is refused.
    let request = admin
        .request(Method::PUT, "/api/v1/fleets/other")
        .body(fleet("all"));
    assert_eq!(admin.send(request).await.status, StatusCode::BAD_REQUEST);
    hub.running.stop().await;
}

#[tokio::test]
async fn contents_of_secrets_never_come_out_and_are_not_put_back_redacted() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    let one = admin.get("/api/v1/namespaces/shop/applications/web").await;
    for path in [
        "/api/v1/namespaces/shop/applications/web",
        "/api/v1/applications",
    ] {
        let text = admin.get(path).await.body.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("<redacted>"), "{text}");
    }
    let answer = admin.apply(&one.body.to_string()).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    assert_eq!(first_error(&answer.body)["code"], "Redacted");
    let deleted = admin
        .delete("/api/v1/namespaces/shop/applications/web")
        .await;
    assert!(!deleted.body.to_string().contains("hunter2"));
    hub.running.stop().await;
}

#[tokio::test]
async fn clusters_are_labelled_but_only_registered_ones() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let document = |name: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}, labels: {{tier: edge}}}}\nspec: {{}}\n"
        )
    };
    let missing = admin.apply(&document("nowhere")).await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        missing.detail().contains("register cluster nowhere"),
        "{missing:?}"
    );
    hub.announce("here", &json!({"tier": "canary"})).await;
    assert_eq!(
        admin.applied(&document("here")).await["objects"][0]["result"],
        "configured"
    );
    assert_eq!(
        admin.applied(&document("here")).await["objects"][0]["result"],
        "unchanged"
    );
    let request = admin.request(Method::PATCH, "/api/v1/clusters/here/labels");
    let request = request.json(&json!({"labels": {"tier": null, "region": "eu"}}));
    let labelled = admin.send(request).await;
    assert_eq!(
        labelled.body["metadata"]["labels"],
        json!({"region": "eu"}),
        "{labelled:?}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn fleet_in_use_stays_until_its_applications_go() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    let refused = admin.delete("/api/v1/fleets/all").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.detail().contains("shop/web"), "{refused:?}");
    let application = "/api/v1/namespaces/shop/applications/web";
    assert_eq!(admin.delete(application).await.status, StatusCode::OK);
    assert_eq!(
        admin.delete(application).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        admin.delete("/api/v1/fleets/all").await.status,
        StatusCode::OK
    );
    hub.running.stop().await;
}
