//! Secrets are stored and delivered, and never shown.

use bellwether_hub_core::release::is_secret;
use serde_json::Value;

/// What stands where a Secret's content was.
pub const REDACTED: &str = "<redacted>";

/// Replaces the content of every Secret in a value, however deep it lies.
pub fn redact(value: &mut Value) {
    if is_secret(value) {
        for field in ["data", "stringData"] {
            match value.get_mut(field) {
                None | Some(Value::Null) => {}
                Some(Value::Object(entries)) => entries
                    .values_mut()
                    .for_each(|entry| *entry = Value::from(REDACTED)),
                // No cluster takes it, and it is a secret all the same.
                Some(malformed) => *malformed = Value::from(REDACTED),
            }
        }
        // kubectl keeps a copy of the whole object there.
        if let Some(Value::Object(notes)) = value.pointer_mut("/metadata/annotations")
            && let Some(copy) = notes.get_mut("kubectl.kubernetes.io/last-applied-configuration")
        {
            *copy = Value::from(REDACTED);
        }
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(redact),
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Tells whether a Secret in the value has no content but what [`redact`] put there.
pub fn is_redacted(value: &Value) -> bool {
    if is_secret(value) {
        return ["data", "stringData"].iter().any(|field| {
            value[*field] == REDACTED
                || value[*field]
                    .as_object()
                    .is_some_and(|entries| entries.values().any(|entry| entry == REDACTED))
        });
    }
    match value {
        Value::Object(fields) => fields.values().any(is_redacted),
        Value::Array(items) => items.iter().any(is_redacted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{REDACTED, is_redacted, redact};

    #[test]
    fn no_content_of_a_secret_is_left() {
        let mut value = json!({"components": [{"manifests": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{hunter2}", "team": "a"}},
             "data": {"password": "aHVudGVyMg=="}, "stringData": {"user": "hunter2"}},
            {"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "hunter2"}}]},
            {"apiVersion": "v1", "kind": "Secret", "data": "hunter2", "stringData": ["hunter2"]},
            {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "kept"}},
        ]}]});
        assert!(!is_redacted(&value));
        redact(&mut value);
        let text = value.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
        assert!(
            text.contains("kept") && text.contains("\"team\":\"a\""),
            "{text}"
        );
        assert!(is_redacted(&value));
        assert!(is_redacted(
            &json!({"apiVersion": "v1", "kind": "Secret", "data": REDACTED})
        ));
    }
}
