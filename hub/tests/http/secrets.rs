//! Secrets that the hub keeps: written, listed, deleted, never shown.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_store::testing::TestDatabase;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, Hub, application, eventually, fleet};

const PATH: &str = "/api/v1/namespaces/shop/secrets/git";
const VALUE: &str = "hunter2-correct-horse";

async fn put(caller: &Caller, path: &str, entries: &[(&str, &str)]) -> Answer {
    let entries: serde_json::Map<String, Value> = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into()))
        .collect();
    let request = caller.request(Method::PUT, path);
    caller
        .send(request.json(&json!({"entries": entries})))
        .await
}

fn private(namespace: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: web, namespace: {namespace}}}
spec:
  destination: {{fleet: all}}
  components:
  - name: web
    git: {{url: 'https://git.example/web', branch: main, credentialsRef: {{name: git}}}}
"
    )
}

#[tokio::test]
async fn a_secret_is_written_and_listed_and_no_answer_holds_a_value() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let made = put(&admin, PATH, &[("username", "git"), ("password", VALUE)]).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    assert_eq!(made.body["result"], "created");
    let again = put(&admin, PATH, &[("username", "git"), ("password", VALUE)]).await;
    assert_eq!(again.body["result"], "unchanged");
    let changed = put(&admin, PATH, &[("bearerToken", VALUE)]).await;
    assert_eq!(changed.body["result"], "configured");
    let one = admin.get("/api/v1/namespaces/shop/secrets").await;
    let all = admin.get("/api/v1/secrets").await;
    assert_eq!(one.body, all.body);
    let item = &one.body["items"][0];
    assert_eq!(
        item["keys"],
        json!(["bearerToken"]),
        "exactly what was written last"
    );
    assert!(item["changedBy"].is_string() && item["changedAt"].is_string());
    let encoded = STANDARD.encode(VALUE);
    for answer in [made, again, changed, one, all] {
        let shown = format!("{answer:?}");
        assert!(
            !shown.contains(VALUE) && !shown.contains(&encoded),
            "{shown}"
        );
    }
    assert_eq!(admin.get(PATH).await.status, StatusCode::METHOD_NOT_ALLOWED);
    hub.running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_without_a_word_of_it() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let encoded = STANDARD.encode(VALUE);
    for (body, said) in [
        (json!({"entries": {"password": VALUE}}), "is no base64"),
        (json!({"entries": {"a/b": encoded}}), "is no key"),
        (json!({"entries": {}}), "at least one entry"),
        (json!({"entries": VALUE}), "VALUE IN BASE64"),
        (json!({"password": VALUE}), "VALUE IN BASE64"),
    ] {
        let request = admin.request(Method::PUT, PATH);
        let answer = admin.send(request.json(&body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        assert!(answer.detail().contains(said), "{answer:?}");
        assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
    }
    let large = "x".repeat((1 << 20) + 1);
    let answer = put(&admin, PATH, &[("large", &large)]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let answer = put(&admin, "/api/v1/namespaces/shop/secrets/Git", &[("a", "b")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    let listed = admin.get("/api/v1/secrets").await;
    assert_eq!(listed.body["items"], json!([]), "nothing was kept");
    hub.running.stop().await;
}

#[tokio::test]
async fn roles_and_namespaces_bound_who_writes_secrets() {
    let hub = Hub::start().await;
    let editor = hub.someone("ed", "editor", &["shop"]).await;
    let viewer = hub.someone("vera", "viewer", &["shop"]).await;
    let entries = [("password", VALUE), ("username", "git")];
    assert_eq!(put(&editor, PATH, &entries).await.status, StatusCode::OK);
    let other = "/api/v1/namespaces/bank/secrets/git";
    assert_eq!(
        put(&editor, other, &entries).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        put(&viewer, PATH, &entries).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        put(&hub.admin(), other, &entries).await.status,
        StatusCode::OK
    );
    let seen = viewer.get("/api/v1/secrets").await;
    assert_eq!(seen.body["items"].as_array().unwrap().len(), 1, "{seen:?}");
    assert_eq!(seen.body["items"][0]["changedBy"], "ed");
    for path in ["/api/v1/namespaces/bank/secrets", other] {
        let denied = viewer.request(Method::DELETE, path);
        let denied = match path {
            "/api/v1/namespaces/bank/secrets" => viewer.get(path).await,
            _ => viewer.send(denied).await,
        };
        assert_eq!(denied.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(viewer.delete(PATH).await.status, StatusCode::FORBIDDEN);
    hub.running.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_named_is_deleted_by_force_alone() {
    let hub = Hub::start_with(&["--webhook-secret", "bank/git"]).await;
    let admin = hub.admin();
    let documents = format!("{}---\n{}", fleet("all"), private("shop"));
    let applied = admin.applied(&documents).await;
    let said = "application/web waits for a secret: run: bellwether secret set git -n shop";
    assert!(applied["warnings"].to_string().contains(said), "{applied}");
    let entries = [("bearerToken", VALUE)];
    let bank = "/api/v1/namespaces/bank/secrets/git";
    let spare = "/api/v1/namespaces/shop/secrets/spare";
    for path in [PATH, bank, spare] {
        assert_eq!(put(&admin, path, &entries).await.status, StatusCode::OK);
    }
    let applied = admin.applied(&documents).await;
    assert!(
        !applied.to_string().contains("waits for a secret"),
        "{applied}"
    );
    let refused = admin.delete(PATH).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.detail().contains("application/web"), "{refused:?}");
    let refused = admin.delete(bank).await;
    assert!(refused.detail().contains("--webhook-secret"), "{refused:?}");
    assert_eq!(admin.delete(spare).await.status, StatusCode::OK);
    assert_eq!(admin.delete(spare).await.status, StatusCode::NOT_FOUND);
    let forced = admin.delete(&format!("{PATH}?force=true")).await;
    assert_eq!(forced.status, StatusCode::OK, "{forced:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn an_application_says_which_secret_it_lacks_and_that_another_key_sealed_it() {
    let database = TestDatabase::create().await;
    let hub = Hub::on(&database, &[]).await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}---\n{}",
            fleet("all"),
            private("shop"),
            application("shop", "plain", "all", "a:1")
        ))
        .await;
    hub.announce("one", &json!({"tier": "canary"})).await;
    let stalled = async |caller: &Caller, reason: &str| {
        let path = "/api/v1/namespaces/shop/applications/web";
        eventually(reason, async || {
            let shown = caller.get(path).await.body.to_string();
            shown.contains(reason).then_some(shown)
        })
        .await
    };
    let shown = stalled(&admin, "SecretNotFound").await;
    assert!(
        shown.contains("bellwether secret set git -n shop"),
        "{shown}"
    );
    assert_eq!(
        put(&admin, PATH, &[("token", VALUE)]).await.status,
        StatusCode::OK
    );
    let shown = stalled(&admin, "SecretInvalid").await;
    assert!(
        shown.contains("bearerToken") && !shown.contains("hunter2"),
        "{shown}"
    );
    hub.running.stop().await;

    // Another key: names are there, values are not, and the hub goes on.
    let hub = Hub::on(&database, &[]).await;
    let admin = hub.admin();
    let listed = admin.get("/api/v1/secrets").await;
    assert_eq!(listed.body["items"][0]["name"], "git");
    let again = private("shop").replace("main", "other");
    admin.applied(&again).await;
    let shown = stalled(&admin, "SecretUnreadable").await;
    assert!(shown.contains("--secret-key-file"), "{shown}");
    hub.running.stop().await;
}

#[tokio::test]
async fn the_key_lies_where_it_is_said() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.key");
    let hub = Hub::start_with(&["--secret-key-file", file.to_str().unwrap()]).await;
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(
        (metadata.len(), metadata.permissions().mode() & 0o777),
        (32, 0o600)
    );
    assert!(!hub.data_dir.join("pki/blob.key").exists());
    hub.running.stop().await;
}

#[tokio::test]
async fn the_secret_of_a_fleets_hook_is_missed_and_kept() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let fleet = |url: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: prod}}\nspec:\n  \
             selector: {{}}\n  hooks:\n  - name: inventory\n    url: {url}\n    \
             hmacSecretRef: {{name: cmdb, key: hmac, namespace: platform}}\n"
        )
    };
    let refused = admin.apply(&fleet("http://127.0.0.1:9/")).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    let shown = refused.body.to_string();
    assert!(shown.contains("spec.hooks[0].url"), "{shown}");
    let applied = admin.applied(&fleet("https://cmdb.example/")).await;
    let said = "fleet/prod waits for a secret: run: bellwether secret set cmdb -n platform";
    assert!(applied.to_string().contains(said), "{applied}");

    let path = "/api/v1/namespaces/platform/secrets/cmdb";
    put(&admin, path, &[("hmac", VALUE)]).await;
    let again = admin.applied(&fleet("https://cmdb.example/")).await;
    assert!(!again.to_string().contains("waits for a secret"), "{again}");
    let kept = admin.delete(path).await;
    assert_eq!(kept.status, StatusCode::CONFLICT, "{kept:?}");
    assert!(kept.detail().contains("fleet/prod"), "{kept:?}");
}
