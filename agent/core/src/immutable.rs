//! Fields that the API server does not let anybody change.

use bellwether_api::sync_policy::{PROTECT, is_precious};
use serde_json::Value;

/// How API servers say that a field of an object cannot be changed.
const SAYINGS: [&str; 9] = [
    "is immutable",
    "field is immutable",
    "may not be changed",
    "may not change once set",
    "can not be changed",
    "cannot be changed",
    "cannot change roleRef",
    "are forbidden",
    "updates to statefulset spec for fields other than",
];

/// What a refusal says of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause<'a> {
    /// The field, such as `spec.selector`; empty = the object.
    pub field: &'a str,
    /// What is wrong with it.
    pub message: &'a str,
}

/// Finds the first field that was refused because it cannot be changed; `None` = the refusal says
/// nothing of the kind. `code` is the HTTP status.
#[must_use]
pub fn immutable_field(code: u16, causes: &[Cause<'_>]) -> Option<String> {
    if code != 422 {
        return None;
    }
    let refused = causes
        .iter()
        .find(|cause| SAYINGS.iter().any(|saying| cause.message.contains(saying)))?;
    let field = refused.field;
    Some(if field.is_empty() { "spec" } else { field }.to_owned())
}

/// Why an object is not deleted and made anew although `sync.force` is set; `None` = it is.
#[must_use]
pub fn keeps_from_recreating(live: &Value) -> Option<&'static str> {
    let text = |field: &str| live.get(field).and_then(Value::as_str).unwrap_or_default();
    if is_precious(text("apiVersion"), text("kind")) {
        return Some("objects of its kind hold data or others with them, and are never made anew");
    }
    is_protected(live).then_some("it bears the annotation bellwether.dev/protect")
}

/// Tells whether a live object is never to be deleted.
#[must_use]
pub fn is_protected(live: &Value) -> bool {
    live.pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(PROTECT))
        .and_then(Value::as_str)
        == Some("true")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_of_real_api_servers() {
        let cases = [
            (
                422,
                "spec.selector",
                "Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable",
                Some("spec.selector"),
            ),
            (
                422,
                "spec",
                "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                 'template' are forbidden",
                Some("spec"),
            ),
            (
                422,
                "roleRef",
                "Invalid value: cannot change roleRef",
                Some("roleRef"),
            ),
            (
                422,
                "data",
                "Forbidden: field is immutable when `immutable` is set",
                Some("data"),
            ),
            (
                422,
                "value",
                "Forbidden: may not be changed in an update.",
                Some("value"),
            ),
            (
                422,
                "spec.replicas",
                "Invalid value: -1: must be greater than or equal to 0",
                None,
            ),
            (403, "", "denied the request: labels are forbidden", None),
        ];
        for (code, field, message, expected) in cases {
            let found = immutable_field(code, &[Cause { field, message }]);
            assert_eq!(found.as_deref(), expected, "{message}");
        }
    }

    #[test]
    fn what_is_never_made_anew() {
        let object = |api_version: &str, kind: &str, protect: &str| {
            json!({"apiVersion": api_version, "kind": kind,
                "metadata": {"annotations": {PROTECT: protect}}})
        };
        for (live, keeps) in [
            (object("apps/v1", "Deployment", "false"), false),
            (object("apps/v1", "Deployment", "true"), true),
            (object("v1", "PersistentVolumeClaim", "false"), true),
            (object("v1", "Namespace", "false"), true),
            (
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {}}),
                false,
            ),
        ] {
            assert_eq!(keeps_from_recreating(&live).is_some(), keeps, "{live}");
        }
    }
}
