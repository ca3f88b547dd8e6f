//! Whom Rollouts name is told of events: one message each, by what each takes, and no address is said.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::Uri};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_api::status::{RunEvent, Severity};
use bellwether_store::events;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Caller, Hub, application, eventually, fleet, rollout};

const KEY: &str = "application/shop/web";
/// What stands in every address, and nowhere else.
const SESAME: &str = "open-sesame";

/// A server that takes messages, by their path.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<BTreeMap<String, Vec<Value>>>>);

impl Inbox {
    async fn open() -> (Self, String) {
        let inbox = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(take).with_state(inbox.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (inbox, address)
    }

    fn of(&self, path: &str) -> Vec<Value> {
        let taken = self.0.lock().unwrap();
        taken.get(path).cloned().unwrap_or_default()
    }
}

/// Robots answer in the body; what is `broken` answers 503 the first time.
async fn take(State(inbox): State<Inbox>, uri: Uri, body: Bytes) -> (StatusCode, &'static str) {
    let path = uri.path().split('/').nth(1).unwrap_or_default().to_owned();
    let mut taken = inbox.0.lock().unwrap();
    let messages = taken.entry(path.clone()).or_default();
    messages.push(serde_json::from_slice(&body).unwrap());
    match path.as_str() {
        "dingtalk" => (StatusCode::OK, r#"{"errcode":0,"errmsg":"ok"}"#),
        "feishu" => (StatusCode::OK, r#"{"code":0}"#),
        "gone" => (StatusCode::NOT_FOUND, SESAME),
        _ => (StatusCode::OK, "ok"),
    }
}

fn provider(name: &str, kind: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: AlertProvider
metadata: {{name: {name}, namespace: shop}}
spec: {{type: {kind}, addressRef: {{name: chat, key: {name}}}}}
"
    )
}

async fn secret(admin: &Caller, server: &str, keys: &[&str]) {
    let entries: serde_json::Map<String, Value> = keys
        .iter()
        .map(|key| {
            let address = format!("{server}/{key}/{SESAME}\n");
            ((*key).to_owned(), STANDARD.encode(address).into())
        })
        .collect();
    let request = admin.request(Method::PUT, "/api/v1/namespaces/shop/secrets/chat");
    let answer = admin.send(request.json(&json!({"entries": entries}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

fn event(seq: u64, severity: Severity, reason: &str, to: &[&str]) -> RunEvent {
    RunEvent {
        notify: to.iter().map(|name| (*name).to_owned()).collect(),
        seq,
        at: "2026-01-01T00:00:00Z".into(),
        run: Uuid::nil(),
        attempt: 1,
        severity,
        reason: reason.into(),
        object: None,
        message: "step 1 waits for an approval".into(),
    }
}

async fn tell(hub: &Hub, events: &[RunEvent]) {
    let app = &hub.running.app;
    let mut tx = app.store.begin().await.unwrap();
    let cluster = Uuid::from_u128(7);
    events::insert(&mut tx, cluster, KEY, events, app.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn status(admin: &Caller, name: &str) -> Value {
    let path = format!("/api/v1/namespaces/shop/alertproviders/{name}");
    admin.get(&path).await.body["status"].clone()
}

#[tokio::test]
async fn everybody_who_is_named_gets_one_message_however_often_an_event_is_told() {
    let (inbox, server) = Inbox::open().await;
    let hub = Hub::start_with(&["--source-networks", "127.0.0.0/8"]).await;
    let admin = hub.admin();
    let kinds = [
        ("plain", "Webhook"),
        ("slack", "Slack"),
        ("teams", "MsTeams"),
        ("dingtalk", "DingTalk"),
        ("feishu", "Feishu"),
    ];
    let names = kinds.map(|(name, _)| name);
    secret(&admin, &server, &names).await;
    let documents = kinds.map(|(name, kind)| provider(name, kind)).join("---\n");
    let applied = admin.applied(&documents).await;
    assert_eq!(applied["objects"][0]["kind"], "AlertProvider");
    let waits = event(1, Severity::Warn, "WaitsForHuman", &names);
    let quiet = event(2, Severity::Info, "WeightInForce", &[]);
    for _ in 0..3 {
        tell(&hub, &[waits.clone(), quiet.clone()]).await;
    }
    for name in names {
        eventually(name, async || {
            (status(&admin, name).await["sent"] == 1).then_some(())
        })
        .await;
    }
    tell(
        &hub,
        &[waits, event(3, Severity::Error, "Failed", &["slack"])],
    )
    .await;
    eventually("the second message", async || {
        (status(&admin, "slack").await["sent"] == 2).then_some(())
    })
    .await;
    for name in names {
        let expected = if name == "slack" { 2 } else { 1 };
        assert_eq!(
            inbox.of(name).len(),
            expected,
            "{name}: {:?}",
            inbox.of(name)
        );
    }
    let line = "[Warning] application/shop/web: WaitsForHuman: step 1 waits for an approval";
    assert_eq!(inbox.of("slack")[0], json!({"text": line}));
    assert_eq!(inbox.of("plain")[0]["reason"], "WaitsForHuman");
    assert_eq!(inbox.of("dingtalk")[0]["text"]["content"], line);
    assert_eq!(inbox.of("feishu")[0]["content"]["text"], line);
}

#[tokio::test]
async fn a_failure_is_counted_and_says_nothing_of_the_address() {
    let (inbox, server) = Inbox::open().await;
    let hub = Hub::start_with(&["--source-networks", "127.0.0.0/8"]).await;
    let admin = hub.admin();
    secret(&admin, &server, &["gone"]).await;
    let documents = [provider("gone", "Webhook"), provider("lost", "Webhook")];
    admin.applied(&documents.join("---\n")).await;
    tell(
        &hub,
        &[event(
            1,
            Severity::Error,
            "Failed",
            &["gone", "lost", "nobody"],
        )],
    )
    .await;
    let gone = eventually("the refusal", async || {
        let status = status(&admin, "gone").await;
        (status["failed"] == 1).then_some(status)
    })
    .await;
    assert_eq!(gone["lastError"], "it answered 404");
    assert_eq!(
        inbox.of("gone").len(),
        1,
        "what was refused is not tried again"
    );
    let lost = eventually("the missing entry", async || {
        let status = status(&admin, "lost").await;
        (status["lastError"] != "").then_some(status)
    })
    .await;
    assert_eq!(lost["waiting"], 1, "its entry may still be set: {lost}");
    let list = admin.get("/api/v1/alertproviders").await;
    assert!(!list.body.to_string().contains(SESAME), "{list:?}");
    let used = admin.delete("/api/v1/namespaces/shop/secrets/chat").await;
    assert_eq!(used.status, StatusCode::CONFLICT, "{used:?}");
    assert!(used.detail().contains("alertprovider/gone"), "{used:?}");
}

#[tokio::test]
async fn the_hubs_own_machine_is_told_nothing_unless_it_is_allowed() {
    let (inbox, server) = Inbox::open().await;
    let hub = Hub::start().await;
    let admin = hub.admin();
    secret(&admin, &server, &["plain"]).await;
    admin.applied(&provider("plain", "Webhook")).await;
    tell(&hub, &[event(1, Severity::Error, "Failed", &["plain"])]).await;
    let refused = eventually("the refusal", async || {
        let status = status(&admin, "plain").await;
        (status["failed"] == 1).then_some(status)
    })
    .await;
    assert_eq!(
        refused["lastError"],
        "its address is one of the hub's own machine"
    );
    assert_eq!(inbox.of("plain"), [Value::Null; 0]);
}

#[tokio::test]
async fn a_rollout_names_only_providers_that_there_are() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let steps = "  alerts: [{provider: {name: taem}}]\n";
    let documents = [
        fleet("all"),
        application("shop", "web", "all", "web:1"),
        provider("team", "Slack"),
        format!("{}{steps}", rollout("shop", "web-plan", "web")),
    ];
    let answer = admin.apply(&documents.join("---\n")).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let error = &answer.body["errors"][0];
    assert_eq!(error["path"], "spec.alerts[0].provider.name", "{answer:?}");
    let message = error["detail"].as_str().unwrap_or_default();
    assert!(
        message.contains("there is no alert provider \"taem\""),
        "{answer:?}"
    );
    let fixed = documents.join("---\n").replace("taem", "team");
    let answer = admin.apply(&fixed).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let told = answer.body.to_string();
    assert!(
        told.contains("alertprovider/team waits for a secret"),
        "{told}"
    );
}

#[tokio::test]
async fn a_fleets_alerts_say_where_they_reach_nobody() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("c1", &json!({"tier": "canary"})).await;
    let told = |name: &str| {
        let spec = format!(
            "spec: {{selector: {{}}, defaults: {{alerts: [{{provider: {{name: {name}}}}}]}}}}"
        );
        fleet("all").replace("spec: {selector: {}}", &spec)
    };
    let plan = rollout("shop", "web-plan", "web");
    let named = format!("{plan}  alerts: [{{provider: {{name: team}}}}]\n");
    let warnings = async |documents: &[String]| -> Vec<String> {
        let answer = admin.apply(&documents.join("---\n")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let warnings = answer.body["warnings"].as_array().cloned();
        let warnings = warnings.unwrap_or_default().into_iter();
        warnings
            .filter_map(|one| one.as_str().map(str::to_owned))
            .filter(|one| one.contains("nobody is told"))
            .collect()
    };
    let web = application("shop", "web", "all", "web:1");
    let team = provider("team", "Slack");
    let found = warnings(&[told("taem"), web, team, plan.clone()]).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "fleet/all: no namespace has an alert provider \"taem\": nobody is told; did you mean \"team\"?"
    );
    for (found, who) in found[1..]
        .iter()
        .zip(["application/web", "rollout/web-plan"])
    {
        assert!(
            found.starts_with(&format!("{who} leaves alerts to fleet \"all\""))
                && found.contains("namespace \"shop\" has none"),
            "{found}"
        );
    }
    // One that says itself whom to tell leaves nothing to the fleet.
    assert_eq!(warnings(&[named]).await, Vec::<String>::new());
    assert_eq!(warnings(&[told("team"), plan]).await, Vec::<String>::new());

    let path = "/api/v1/rollouts/shop/web/explain?cluster=c1";
    let explained = admin.get(path).await;
    let defaults = &explained.body["defaults"];
    assert_eq!(defaults[0]["field"], "alerts", "{explained:?}");
    assert_eq!(defaults[0]["from"], "fleet all", "{explained:?}");

    let twice = told("team").replace("]}", ", {provider: {name: team}}]}");
    let answer = admin.apply(&twice).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let error = &answer.body["errors"][0];
    assert_eq!(error["path"], "spec.defaults.alerts[1].provider.name");
}

/// Whom an application names is told of what the hub says of its waves, from that severity on.
#[tokio::test]
async fn whom_an_application_names_is_told_of_its_waves() {
    let (inbox, server) = Inbox::open().await;
    let hub = Hub::start_with(&["--source-networks", "127.0.0.0/8"]).await;
    let admin = hub.admin();
    hub.announce("c1", &json!({"tier": "canary"})).await;
    secret(&admin, &server, &["team", "pager", "ops"]).await;
    let mut web = application("shop", "web", "all", "web:1");
    web.push_str(
        "  alerts: [{provider: {name: team}, severity: Warn}, {provider: {name: pagr}}]\n",
    );
    let ops = "spec: {selector: {}, defaults: {alerts: [{provider: {name: ops}, severity: Info}]}}";
    let documents = [
        fleet("all").replace("spec: {selector: {}}", ops),
        provider("team", "Webhook"),
        provider("pager", "Webhook"),
        provider("ops", "Webhook"),
        web,
    ];
    let answer = admin.apply(&documents.join("---\n")).await;
    let error = &answer.body["errors"][0];
    assert_eq!(error["path"], "spec.alerts[1].provider.name", "{answer:?}");
    let fixed = documents.join("---\n").replace("pagr", "pager");
    admin.applied(&fixed).await;
    eventually("the first release", async || {
        let history = admin.get("/api/v1/rollouts/shop/web/history").await;
        (history.body["items"][0]["revision"] == 1).then_some(())
    })
    .await;
    let abort = json!({"type": "abort", "reason": "it is a test"});
    let answer = admin
        .post("/api/v1/rollouts/shop/web/actions", &abort)
        .await;
    assert!(answer.status.is_success(), "{answer:?}");
    let told = eventually("the message", async || {
        let mut told = inbox.of("team").into_iter();
        told.find(|one| one["reason"] == "Aborted")
    })
    .await;
    assert_eq!(
        (&told["severity"], &told["cluster"]),
        (&json!("Warn"), &json!("")),
        "{told}"
    );
    let names = [&told["kind"], &told["namespace"], &told["name"]];
    assert_eq!(names, ["application", "shop", "web"]);
    let told = inbox.of("team");
    assert!(told.iter().all(|one| one["severity"] != "Info"), "{told:?}");
    let pager = inbox.of("pager");
    assert!(
        pager.iter().all(|one| one["severity"] == "Error"),
        "{pager:?}"
    );
    let ops = inbox.of("ops");
    assert!(
        ops.is_empty(),
        "the application goes before its fleet: {ops:?}"
    );
    hub.running.stop().await;
}
