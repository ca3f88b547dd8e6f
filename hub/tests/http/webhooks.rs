//! Push webhooks: who is believed, and what comes of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_store::pins;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::Sha256;

use crate::harness::{Answer, Caller, Hub, eventually, fleet};

const SECRET: &str = "hunter2-correct-horse";
const PUSH: &str = r#"{"url": "https://127.0.0.1/web", "branch": "main"}"#;

fn hmac(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn generic(body: &str, time_s: i64) -> String {
    format!("t={time_s},v1={}", hmac(&format!("{time_s}.{body}")))
}

fn now_s() -> i64 {
    bellwether_hub::clock::wall().as_second()
}

async fn send(caller: &Caller, sender: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let path = format!("/api/v1/webhooks/{sender}");
    let mut request = caller.request(Method::POST, &path).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    caller.send(request).await
}

async fn with_secret() -> Hub {
    let hub = Hub::start_with(&["--webhook-secret", "ops/push"]).await;
    let admin = hub.admin();
    let request = admin.request(Method::PUT, "/api/v1/namespaces/ops/secrets/push");
    // The old value is believed too, while senders are moved to the new one.
    let entries = json!({"entries": {"new": STANDARD.encode(SECRET), "old": STANDARD.encode("x")}});
    let answer = admin.send(request.json(&entries)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    hub
}

#[tokio::test]
async fn only_who_knows_the_secret_is_believed_and_nobody_else_is_told_why() {
    let hub = with_secret().await;
    let nobody = hub.caller(None);
    let (old, fresh) = (generic(PUSH, now_s() - 600), generic(PUSH, now_s()));
    let github =
        r#"{"ref": "refs/heads/main", "repository": {"clone_url": "https://git.example/web.git"}}"#;
    let github_signature = format!("sha256={}", hmac(github));
    let gitlab =
        r#"{"ref": "refs/heads/main", "project": {"git_http_url": "https://git.example/web.git"}}"#;
    for (sender, headers, body) in [
        ("generic", vec![], PUSH),
        (
            "generic",
            vec![("bellwether-signature", old.as_str())],
            PUSH,
        ),
        (
            "generic",
            vec![("bellwether-signature", fresh.as_str())],
            github,
        ),
        ("github", vec![("x-hub-signature-256", "sha256=00")], github),
        (
            "gitlab",
            vec![("x-gitlab-token", "wrong"), ("x-gitlab-event", "Push Hook")],
            gitlab,
        ),
    ] {
        let answer = send(&nobody, sender, &headers, body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert_eq!(answer.detail(), "", "nobody is told why");
    }
    for (sender, headers, body) in [
        (
            "generic",
            vec![("bellwether-signature", fresh.as_str())],
            PUSH,
        ),
        (
            "github",
            vec![
                ("x-hub-signature-256", github_signature.as_str()),
                ("x-github-event", "push"),
            ],
            github,
        ),
        (
            "github",
            vec![
                ("x-hub-signature-256", github_signature.as_str()),
                ("x-github-event", "ping"),
            ],
            github,
        ),
        (
            "gitlab",
            vec![("x-gitlab-token", SECRET), ("x-gitlab-event", "Push Hook")],
            gitlab,
        ),
    ] {
        let answer = send(&nobody, sender, &headers, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{sender}: {answer:?}");
    }
    assert_eq!(
        send(&nobody, "gitea", &[], PUSH).await.status,
        StatusCode::NOT_FOUND
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn a_flood_is_turned_away_and_a_large_body_is_not_read() {
    let hub = with_secret().await;
    let nobody = hub.caller(None);
    let large = "x".repeat((4 << 20) + 1);
    let answer = send(&nobody, "gitlab", &[("x-gitlab-token", SECRET)], &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let floods = (0..200).map(|_| send(&nobody, "gitlab", &[("x-gitlab-token", "wrong")], "{}"));
    let answers = futures::future::join_all(floods).await;
    let count = |status| answers.iter().filter(|one| one.status == status).count();
    let turned_away = count(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(turned_away + count(StatusCode::UNAUTHORIZED), 200);
    assert!(turned_away > 0, "20 a second are looked at");
    hub.running.stop().await;
}

#[tokio::test]
async fn without_a_secret_there_are_no_webhooks() {
    let hub = Hub::start().await;
    let signature = generic(PUSH, now_s());
    let headers = [("bellwether-signature", signature.as_str())];
    let answer = send(&hub.caller(None), "generic", &headers, PUSH).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.detail().contains("--webhook-secret"), "{answer:?}");
    hub.running.stop().await;
    // One that is named and not there proves nothing.
    let hub = Hub::start_with(&["--webhook-secret", "ops/push"]).await;
    let answer = send(&hub.caller(None), "generic", &headers, PUSH).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    hub.running.stop().await;
}

#[tokio::test]
async fn a_push_has_the_sources_it_concerns_looked_at_at_once() {
    let hub = with_secret().await;
    let component = |name: &str, repository: &str| {
        format!(
            "  - name: {name}\n    git: {{url: 'https://127.0.0.1/{repository}', branch: main}}\n"
        )
    };
    // Nobody looks at them by himself: the interval is a day.
    let application = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
         metadata: {{name: web, namespace: shop}}\nspec:\n  destination: {{fleet: all}}\n  \
         sync: {{interval: 24h}}\n  components:\n{}{}",
        component("web", "web"),
        component("other", "other")
    );
    hub.admin()
        .applied(&format!("{}---\n{application}", fleet("all")))
        .await;
    hub.announce("one", &json!({})).await;
    let name = bellwether_api::reference::NamespacedName {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    let store = &hub.running.app.store;
    // There is no such server: the first look fails, and says when it was.
    let first = eventually("a first look", async || {
        pins::list(store, &name).await.unwrap().remove("web")
    })
    .await;
    assert_eq!(first.pushed_at, None);
    let signature = generic(PUSH, now_s());
    let headers = [("bellwether-signature", signature.as_str())];
    let answer = send(&hub.caller(None), "generic", &headers, PUSH).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let looked = eventually("another look", async || {
        let pins = pins::list(store, &name).await.unwrap();
        let pin = pins.get("web")?.clone();
        let other = pins.get("other").and_then(|other| other.pushed_at);
        assert_eq!(other, None, "the push does not concern it");
        (pin.checked_at > first.checked_at).then_some(pin)
    })
    .await;
    assert!(looked.pushed_at.is_some_and(|at| at <= looked.checked_at));
    hub.running.stop().await;
}
