//! What a hook is told.

use std::collections::BTreeMap;

use bellwether_api::{
    hooks::{Hook, HookKind},
    status::{Phase, Severity},
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Serialize;
use sha2::Sha256;

/// Where a run stands when a hook is called.
#[derive(Clone, Debug, PartialEq)]
pub struct HookScene {
    /// The Rollout's name.
    pub name: String,
    /// The workload's namespace.
    pub namespace: String,
    /// Where the run stands.
    pub phase: Phase,
    /// Digest of the governed template.
    pub checksum: String,
    /// The member cluster.
    pub cluster: String,
    /// The application, `namespace/name`.
    pub application: String,
    /// The release's number, from 1.
    pub revision: u64,
}

/// What an Event hook is called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEvent {
    /// How bad it is.
    pub severity: Severity,
    /// A sentence for people.
    pub message: String,
    /// When it happened.
    pub at: Timestamp,
}

/// Why a hook has no body.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PayloadError {
    /// `rawBody` posts `metadata.data`.
    #[error(
        "failed to make the body of hook {hook}: rawBody posts metadata.data, which is not set"
    )]
    NoData {
        /// The hook.
        hook: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    name: &'a str,
    namespace: &'a str,
    phase: Phase,
    checksum: &'a str,
    metadata: BTreeMap<&'a str, String>,
    cluster: &'a str,
    application: &'a str,
    revision: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    event: Option<EventFields<'a>>,
}

#[derive(Serialize)]
struct EventFields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: i64,
}

/// Makes the body of one call: the envelope, or `metadata.data` verbatim with `rawBody`. `event` is
/// what an Event hook is called for.
///
/// # Errors
/// There is no `metadata.data` to post verbatim.
pub fn body(
    hook: &Hook,
    scene: &HookScene,
    event: Option<&HookEvent>,
) -> Result<Vec<u8>, PayloadError> {
    if hook.raw_body {
        return hook
            .metadata
            .get("data")
            .map(|data| data.clone().into_bytes())
            .ok_or_else(|| PayloadError::NoData {
                hook: hook.name.clone(),
            });
    }
    let mut metadata: BTreeMap<&str, String> = hook
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let event = event.filter(|_| hook.kind == HookKind::Event);
    if let Some(event) = event {
        metadata.insert("eventMessage", event.message.clone());
        metadata.insert("eventType", kind_of(event.severity).to_owned());
        metadata.insert("timestamp", event.at.as_millisecond().to_string());
    }
    let envelope = Envelope {
        name: &scene.name,
        namespace: &scene.namespace,
        phase: scene.phase,
        checksum: &scene.checksum,
        metadata,
        cluster: &scene.cluster,
        application: &scene.application,
        revision: scene.revision,
        event: event.map(|event| EventFields {
            message: &event.message,
            kind: kind_of(event.severity),
            timestamp: event.at.as_millisecond(),
        }),
    };
    Ok(serde_json::to_vec(&envelope).expect("texts and numbers are JSON"))
}

/// The two types that Kubernetes events have.
const fn kind_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Normal",
        Severity::Warn | Severity::Error => "Warning",
    }
}

/// Returns the value of the signature header: `t=<seconds>,v1=<hex HMAC-SHA256 over "t.body">`. The
/// time is signed too, so that a receiver can refuse an old call.
#[must_use]
pub fn signature(key: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!(
        "t={seconds},v1={}",
        hex::encode(mac.finalize().into_bytes())
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hook(fields: Value) -> Hook {
        let mut all = json!({"name": "h", "url": "http://tester"});
        for (key, value) in fields.as_object().expect("fields") {
            all[key] = value.clone();
        }
        serde_json::from_value(all).expect("a hook")
    }

    fn scene() -> HookScene {
        HookScene {
            name: "web".into(),
            namespace: "shop".into(),
            phase: Phase::Progressing,
            checksum: "abc".into(),
            cluster: "eu-1".into(),
            application: "default/shop".into(),
            revision: 7,
        }
    }

    fn told(hook: &Hook, event: Option<&HookEvent>) -> Value {
        let body = body(hook, &scene(), event).expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn the_envelope_says_where_the_run_stands() {
        assert_eq!(
            told(
                &hook(json!({"metadata": {"type": "bash", "cmd": "true"}})),
                None
            ),
            json!({
                "name": "web", "namespace": "shop", "phase": "Progressing", "checksum": "abc",
                "metadata": {"type": "bash", "cmd": "true"},
                "cluster": "eu-1", "application": "default/shop", "revision": 7,
            })
        );
    }

    #[test]
    fn an_event_is_told_in_both_forms() {
        let event = HookEvent {
            severity: Severity::Warn,
            message: "failed check 1 of 3".into(),
            at: Timestamp::from_millisecond(1_700_000_000_123).expect("a time"),
        };
        let told = told(
            &hook(json!({"type": "Event", "metadata": {"a": "b"}})),
            Some(&event),
        );
        assert_eq!(told["message"], "failed check 1 of 3");
        assert_eq!(told["type"], "Warning");
        assert_eq!(told["timestamp"], 1_700_000_000_123_i64);
        assert_eq!(
            told["metadata"],
            json!({"a": "b", "eventMessage": "failed check 1 of 3", "eventType": "Warning",
                   "timestamp": "1700000000123"})
        );
    }

    #[test]
    fn other_hooks_are_told_of_no_event() {
        let event = HookEvent {
            severity: Severity::Info,
            message: "m".into(),
            at: Timestamp::UNIX_EPOCH,
        };
        assert!(
            told(&hook(json!({})), Some(&event))
                .get("message")
                .is_none()
        );
    }

    #[test]
    fn a_raw_body_is_posted_as_it_stands() {
        let text = "{\"msgtype\": \"text\",\n \"text\": {\"content\": \"done\"}}";
        let raw = hook(json!({"rawBody": true, "metadata": {"data": text}}));
        assert_eq!(body(&raw, &scene(), None), Ok(text.as_bytes().to_vec()));
        let empty = hook(json!({"rawBody": true}));
        assert_eq!(
            body(&empty, &scene(), None),
            Err(PayloadError::NoData { hook: "h".into() })
        );
        let plain = hook(json!({"metadata": {"data": text}}));
        assert_eq!(
            told(&plain, None)["metadata"]["data"],
            text,
            "off unless set"
        );
    }

    /// Against what `printf '%s' "$t.$body" | openssl dgst -sha256 -hmac "$key"` says.
    #[test]
    fn the_signature_is_the_one_that_others_make() {
        for (key, body, signed) in [
            (
                "key",
                "{}",
                "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae",
            ),
            (
                "s3cret-key",
                "{\"name\":\"web\",\"phase\":\"Progressing\"}",
                "t=1700000000,v1=87ab946e6a0f45dd1d84b547aa6b6b65d7fc45d371e7680bfa6e71f76afbc7a1",
            ),
        ] {
            let at = Timestamp::from_second(1_700_000_000).expect("a time");
            assert_eq!(signature(key.as_bytes(), at, body.as_bytes()), signed);
        }
    }

    #[test]
    fn the_signature_covers_time_and_body() {
        let at = Timestamp::from_second(1_700_000_000).expect("a time");
        let signed = signature(b"key", at, b"{}");
        assert!(signed.starts_with("t=1700000000,v1="), "{signed}");
        assert_eq!(signed.len(), "t=1700000000,v1=".len() + 64);
        assert_eq!(signed, signature(b"key", at, b"{}"));
        let later = Timestamp::from_second(1_700_000_001).expect("a time");
        for other in [
            signature(b"kei", at, b"{}"),
            signature(b"key", later, b"{}"),
            signature(b"key", at, b"{ }"),
        ] {
            assert_ne!(signed, other);
        }
    }
}
