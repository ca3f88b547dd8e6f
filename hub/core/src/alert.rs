//! Messages about events: what they look like, and what an answer to one means.

use bellwether_api::{
    alert_provider::AlertProviderKind,
    status::{RunEvent, Severity},
};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Pauses before a message is tried again, one after each attempt; it is not tried more often.
const PAUSES_S: [i64; 4] = [5, 30, 120, 600];
/// The longest text of a message, in characters.
const MAX_TEXT: usize = 2_000;

/// What a message is about.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Names the event; the same in every attempt.
    pub id: u64,
    /// The cluster; empty = the hub itself.
    pub cluster: &'a str,
    /// The unit: `application/NAMESPACE/NAME` or `rollout/NAMESPACE/NAME`.
    pub unit: &'a str,
    /// What happened.
    pub event: &'a RunEvent,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrived.
    Sent,
    /// It did not arrive, and may later.
    Again {
        /// Why it did not.
        why: String,
    },
    /// It did not arrive, and will not.
    Refused {
        /// Why.
        why: String,
    },
    /// Nobody knows whether it arrived.
    Unknown {
        /// Why nobody does.
        why: String,
    },
}

/// What is posted.
#[must_use]
pub fn body(kind: AlertProviderKind, notice: &Notice<'_>) -> Value {
    let text = || text(notice);
    match kind {
        AlertProviderKind::Webhook => fields(notice),
        AlertProviderKind::Slack => json!({"text": escaped(&text())}),
        AlertProviderKind::MsTeams => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    "body": [{"type": "TextBlock", "text": text(), "wrap": true}],
                },
            }],
        }),
        AlertProviderKind::DingTalk => json!({"msgtype": "text", "text": {"content": text()}}),
        AlertProviderKind::Feishu => json!({"msg_type": "text", "content": {"text": text()}}),
    }
}

fn fields(notice: &Notice<'_>) -> Value {
    let event = notice.event;
    let mut parts = notice.unit.split('/');
    let (kind, namespace, name) = (parts.next(), parts.next(), parts.next());
    json!({
        "id": notice.id,
        "severity": event.severity,
        "reason": event.reason,
        "message": event.message,
        "cluster": notice.cluster,
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "run": event.run,
        "attempt": event.attempt,
        "at": event.at,
        "object": event.object,
    })
}

/// One line for people: severity, unit, cluster, reason, sentence.
fn text(notice: &Notice<'_>) -> String {
    let event = notice.event;
    let severity = match event.severity {
        Severity::Info => "Info",
        Severity::Warn => "Warning",
        Severity::Error => "Error",
    };
    let cluster = if notice.cluster.is_empty() {
        String::new()
    } else {
        format!(" in {}", notice.cluster)
    };
    let object = event.object.as_ref();
    let object = object.map_or_else(String::new, |object| {
        format!(" ({}/{})", object.kind, object.name)
    });
    let (unit, reason, message) = (notice.unit, &event.reason, &event.message);
    let text = format!("[{severity}] {unit}{cluster}: {reason}{object}: {message}");
    text.chars().take(MAX_TEXT).collect()
}

/// Slack reads three characters as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What an answer means. Robots say in the body what others say by the status.
#[must_use]
pub fn judge(kind: AlertProviderKind, status: u16, answer: &[u8]) -> Delivery {
    let why = format!("it answered {status}");
    match status {
        200..=299 => {}
        408 | 425 | 429 | 500..=599 => return Delivery::Again { why },
        _ => return Delivery::Refused { why },
    }
    let code = match kind {
        AlertProviderKind::DingTalk => "errcode",
        AlertProviderKind::Feishu => "code",
        _ => return Delivery::Sent,
    };
    let said: Option<Value> = serde_json::from_slice(answer).ok();
    match said.as_ref().and_then(|said| said.get(code)?.as_i64()) {
        Some(0) => Delivery::Sent,
        Some(code) => Delivery::Refused {
            why: format!("it answered {status} with the code {code}"),
        },
        None => Delivery::Unknown {
            why: format!("it answered {status} and says nothing of the message"),
        },
    }
}

/// How long after the attempt of this number, from 1, the next one is made; `None` = there is none.
#[must_use]
pub fn pause_after(attempt: u32) -> Option<SignedDuration> {
    let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
    PAUSES_S.get(index).copied().map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests;
