use bellwether_api::reference::ObjectRef;
use uuid::Uuid;

use super::*;

fn event() -> RunEvent {
    RunEvent {
        notify: vec!["team".into()],
        seq: 7,
        at: "2026-03-01T12:00:00Z".into(),
        run: Uuid::nil(),
        attempt: 1,
        severity: Severity::Warn,
        reason: "WaitsForHuman".into(),
        object: Some(ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        }),
        message: "step 1 waits <for> an approval".into(),
    }
}

fn posted(kind: AlertProviderKind) -> Value {
    let notice = Notice {
        id: 42,
        cluster: "eu-1",
        unit: "application/shop/web",
        event: &event(),
    };
    body(kind, &notice)
}

#[test]
fn every_kind_posts_its_own_shape() {
    let line = "[Warning] application/shop/web in eu-1: WaitsForHuman (Deployment/web): step 1 waits \
                <for> an approval";
    let slack = posted(AlertProviderKind::Slack);
    let escaped = line.replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(slack, json!({"text": escaped}));
    let teams = posted(AlertProviderKind::MsTeams);
    assert_eq!(teams["attachments"][0]["content"]["body"][0]["text"], line);
    let ding = posted(AlertProviderKind::DingTalk);
    assert_eq!(ding, json!({"msgtype": "text", "text": {"content": line}}));
    let feishu = posted(AlertProviderKind::Feishu);
    assert_eq!(
        feishu,
        json!({"msg_type": "text", "content": {"text": line}})
    );
    let plain = posted(AlertProviderKind::Webhook);
    for (field, value) in [
        ("id", json!(42)),
        ("severity", json!("Warn")),
        ("cluster", json!("eu-1")),
        ("namespace", json!("shop")),
        ("name", json!("web")),
    ] {
        assert_eq!(plain[field], value, "{field}");
    }
}

#[test]
fn long_texts_are_cut() {
    let mut event = event();
    event.message = "x".repeat(10_000);
    let notice = Notice {
        id: 1,
        cluster: "",
        unit: "application/shop/web",
        event: &event,
    };
    let text = body(AlertProviderKind::Slack, &notice);
    assert_eq!(text["text"].as_str().map(str::len), Some(MAX_TEXT));
}

#[test]
fn only_what_did_not_arrive_is_tried_again() {
    use AlertProviderKind::{DingTalk, Feishu, Slack, Webhook};
    let sent = |kind, status, answer: &str| judge(kind, status, answer.as_bytes());
    assert_eq!(sent(Webhook, 204, ""), Delivery::Sent);
    assert_eq!(sent(Slack, 200, "ok"), Delivery::Sent);
    assert!(matches!(sent(Slack, 503, ""), Delivery::Again { .. }));
    assert!(matches!(sent(Slack, 429, ""), Delivery::Again { .. }));
    assert!(matches!(sent(Slack, 404, ""), Delivery::Refused { .. }));
    assert!(matches!(sent(Slack, 302, ""), Delivery::Refused { .. }));
    assert_eq!(sent(DingTalk, 200, r#"{"errcode": 0}"#), Delivery::Sent);
    let refused = sent(
        DingTalk,
        200,
        r#"{"errcode": 310000, "errmsg": "keywords"}"#,
    );
    assert!(matches!(refused, Delivery::Refused { why } if why.contains("310000")));
    assert_eq!(sent(Feishu, 200, r#"{"code": 0}"#), Delivery::Sent);
    assert!(matches!(
        sent(Feishu, 200, "<html>"),
        Delivery::Unknown { .. }
    ));
}

#[test]
fn attempts_are_bounded() {
    let pauses: Vec<_> = (0..8).map(pause_after).collect();
    assert_eq!(pauses.iter().flatten().count(), PAUSES_S.len());
    assert_eq!((pauses[0], pauses[5]), (None, None));
    assert_eq!(pauses[1], Some(SignedDuration::from_secs(5)));
}
