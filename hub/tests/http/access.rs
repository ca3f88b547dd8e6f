//! Who may do what.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Hub, application, fleet};

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let hub = Hub::start().await;
    for token in [None, Some("bwt_wrong"), Some("")] {
        let answer = hub.caller(token).get("/api/v1/clusters").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.body["code"], "Unauthenticated");
        assert_eq!(
            answer.body["instance"],
            answer.headers["x-request-id"].to_str().unwrap()
        );
    }
    let request = hub
        .caller(None)
        .request(reqwest::Method::GET, "/api/v1/clusters");
    let answer = hub
        .caller(None)
        .send(request.header("authorization", "Basic YTpi"))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    hub.running.stop().await;
}

#[tokio::test]
async fn local_administrator_comes_in_by_socket_and_by_token_file() {
    let hub = Hub::start().await;
    let answer = hub.local().get("/api/v1/version").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(
        answer.body["principal"]
            .as_str()
            .unwrap()
            .starts_with("local:"),
        "{answer:?}"
    );
    assert_eq!(
        hub.admin().get("/api/v1/tokens").await.status,
        StatusCode::OK
    );
    for file in ["token", "hub.sock"] {
        let mode = std::fs::metadata(hub.data_dir.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // A wrong token is refused over the socket as well: it says who somebody wants to be.
    let wrong = hub
        .local()
        .request(reqwest::Method::GET, "/api/v1/version")
        .bearer_auth("bwt_x");
    assert_eq!(
        hub.local().send(wrong).await.status,
        StatusCode::UNAUTHORIZED
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn roles_and_namespaces_bound_every_kind_of_call() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "a:1")
        ))
        .await;
    let viewer = hub.someone("vera", "viewer", &["shop"]).await;
    let editor = hub.someone("ed", "editor", &["shop"]).await;

    for path in [
        "/api/v1/namespaces/shop/applications/web",
        "/api/v1/fleets",
        "/api/v1/clusters",
    ] {
        assert_eq!(viewer.get(path).await.status, StatusCode::OK, "{path}");
    }
    // Whoever is bound to one namespace sees that one where it asks for all.
    let all = viewer.get("/api/v1/applications").await;
    assert_eq!(all.body["items"].as_array().unwrap().len(), 1, "{all:?}");

    let denied = viewer
        .apply(&application("shop", "web", "all", "a:2"))
        .await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert_eq!(
        denied.detail(),
        "vera is Viewer and may not apply applications"
    );
    let other = viewer.get("/api/v1/namespaces/bank/applications").await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    for path in [
        "/api/v1/rollouts/bank/web/status",
        "/api/v1/rollouts/bank/web/watch",
        "/api/v1/rollouts/bank/web/clusters",
        "/api/v1/rollouts/bank/web/why",
        "/api/v1/rollouts/bank/web/history",
        "/api/v1/rollouts/bank/web/events",
        "/api/v1/events",
        "/api/v1/tokens",
        "/api/v1/watch?kinds=Application&namespace=bank",
        "/api/v1/watch?kinds=Application",
    ] {
        assert_eq!(
            viewer.get(path).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let act = json!({"type": "abort"});
    let path = "/api/v1/rollouts/shop/web/actions";
    assert_eq!(viewer.post(path, &act).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        viewer
            .delete("/api/v1/namespaces/shop/applications/web")
            .await
            .status,
        StatusCode::FORBIDDEN
    );

    assert_eq!(
        editor
            .apply(&application("shop", "web", "all", "a:2"))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        editor
            .apply(&application("bank", "web", "all", "a:2"))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        editor.apply(&fleet("mine")).await.status,
        StatusCode::FORBIDDEN
    );
    let join = json!({"cluster": "c"});
    assert_eq!(
        editor.post("/api/v1/join-tokens", &join).await.status,
        StatusCode::FORBIDDEN
    );
    let patch = editor.request(reqwest::Method::PATCH, "/api/v1/clusters/c/labels");
    let patched = editor.send(patch.json(&json!({"labels": {}}))).await;
    assert_eq!(patched.status, StatusCode::FORBIDDEN);
    hub.running.stop().await;
}

#[tokio::test]
async fn revoked_token_is_refused_and_no_secret_is_listed() {
    let hub = Hub::start().await;
    let bot = hub.someone("bot", "viewer", &[]).await;
    assert_eq!(bot.get("/api/v1/applications").await.status, StatusCode::OK);
    let listed = hub.admin().get("/api/v1/tokens").await;
    assert!(!listed.body.to_string().contains("bwt_"), "{listed:?}");
    assert!(listed.body.to_string().contains("\"bot\""), "{listed:?}");
    let again = json!({"name": "bot", "role": "viewer"});
    assert_eq!(
        hub.admin().post("/api/v1/tokens", &again).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(
        hub.admin().delete("/api/v1/tokens/bot").await.status,
        StatusCode::OK
    );
    assert_eq!(
        bot.get("/api/v1/applications").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        hub.admin().delete("/api/v1/tokens/bot").await.status,
        StatusCode::NOT_FOUND
    );
    hub.running.stop().await;
}
