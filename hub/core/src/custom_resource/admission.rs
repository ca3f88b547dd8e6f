//! Which writes the API server asks the hub about.

use bellwether_api::{GROUP, VERSION, custom_resource::KINDS};
use serde_json::{Value, json};

/// The webhook's name within its configuration.
const WEBHOOK: &str = "records.bellwether.dev";
/// Tells, in the API server's own evaluation, whether anything of what a user writes changes, as
/// [`super::is_written_by_user`] does: the finalizer comes and goes without a hub that answers.
const IS_WRITTEN_BY_USER: &str = "oldObject == null || \
    object.exists(field, !(field in ['metadata', 'status']) && \
        !(field in oldObject && oldObject[field] == object[field])) || \
    oldObject.exists(field, !(field in ['metadata', 'status']) && !(field in object)) || \
    ['labels', 'annotations'].exists(field, \
        (field in object.metadata) != (field in oldObject.metadata) || \
        (field in object.metadata && object.metadata[field] != oldObject.metadata[field]))";
/// What is being deleted is not written any more.
const STAYS: &str = "!has(object.metadata.deletionTimestamp)";
/// How long the API server waits for an answer, in seconds.
const TIMEOUT_S: u32 = 5;

/// Whom the API server asks, and how.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Where it reaches the hub, as the configuration names it (`url` or `service`).
    pub client: Value,
    /// The certificates that it trusts, PEM in base64.
    pub ca_bundle: &'a str,
    /// `Ignore` lets through what it cannot ask about, `Fail` refuses it.
    pub failure_policy: &'a str,
}

/// Makes the configuration's list of webhooks, with every field that the API server would fill in; absent =
/// it asks about nothing.
#[must_use]
pub fn webhooks(asked: Option<&Asked<'_>>) -> Value {
    let Some(asked) = asked else {
        return json!([]);
    };
    let mut client = asked.client.clone();
    client["caBundle"] = Value::from(asked.ca_bundle);
    let resources: Vec<&str> = KINDS.iter().map(|kind| kind.plural()).collect();
    json!([{
        "name": WEBHOOK,
        "admissionReviewVersions": ["v1"],
        "clientConfig": client,
        // Their status is another resource, and what is deleted is held by its finalizer.
        "rules": [{
            "apiGroups": [GROUP], "apiVersions": [VERSION], "operations": ["CREATE", "UPDATE"],
            "resources": resources, "scope": "*",
        }],
        "namespaceSelector": {},
        "objectSelector": {},
        "matchConditions": [
            {"name": "is-written-by-a-user", "expression": IS_WRITTEN_BY_USER},
            {"name": "stays", "expression": STAYS},
        ],
        "matchPolicy": "Equivalent",
        "failurePolicy": asked.failure_policy,
        "timeoutSeconds": TIMEOUT_S,
        // Nothing is stored by it: a dry run gets the same answer.
        "sideEffects": "None",
    }])
}

#[cfg(test)]
mod tests {
    use cel::{Context, Program};

    use super::*;
    use crate::custom_resource::is_written_by_user;

    fn asked() -> Value {
        webhooks(Some(&Asked {
            client: json!({"url": "https://hub:7702/admit"}),
            ca_bundle: "Q0E=",
            failure_policy: "Fail",
        }))
    }

    /// Whether the API server would ask about a write, by the conditions as it evaluates them.
    fn asks(old: &Value, new: &Value) -> bool {
        let made = asked();
        let conditions = made[0]["matchConditions"].as_array().expect("a list");
        conditions.iter().all(|condition| {
            let expression = condition["expression"].as_str().expect("an expression");
            let program = Program::compile(expression).expect(expression);
            let mut context = Context::default();
            for (name, value) in [("object", new), ("oldObject", old)] {
                context.add_variable(name, value).expect("a variable");
            }
            program.execute(&context).expect(expression) == cel::Value::Bool(true)
        })
    }

    #[test]
    fn nobody_is_asked_about_a_finalizer_a_status_or_what_leaves() {
        let base = json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet",
            "metadata": {"name": "all", "labels": {"a": "1"}, "resourceVersion": "1"},
            "spec": {"selector": {}},
        });
        let with = |pointer: &str, name: &str, value: Value| {
            let mut object = base.clone();
            let at = object.pointer_mut(pointer).expect("it is there");
            at[name] = value;
            object
        };
        assert!(asks(&Value::Null, &base), "a new one");
        for (what, new, expected) in [
            ("nothing", base.clone(), false),
            (
                "a finalizer",
                with("/metadata", "finalizers", json!(["bellwether.dev/record"])),
                false,
            ),
            (
                "its version",
                with("/metadata", "resourceVersion", json!("2")),
                false,
            ),
            (
                "its status",
                with("", "status", json!({"clusters": 1})),
                false,
            ),
            (
                "its spec",
                with("/spec", "selector", json!({"matchLabels": {"a": "b"}})),
                true,
            ),
            ("an unknown field", with("", "speck", json!({})), true),
            (
                "a label",
                with("/metadata", "labels", json!({"a": "2"})),
                true,
            ),
            (
                "an annotation",
                with("/metadata", "annotations", json!({"a": "2"})),
                true,
            ),
        ] {
            assert_eq!(asks(&base, &new), expected, "{what} comes");
            assert_eq!(is_written_by_user(&base, &new), expected, "{what} comes");
            assert_eq!(asks(&new, &base), expected, "{what} goes");
            let mut leaving = new;
            leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            assert!(!asks(&base, &leaving), "{what}, of what leaves");
        }
    }

    #[test]
    fn the_hub_is_asked_about_records_alone() {
        assert_eq!(webhooks(None), json!([]));
        let made = webhooks(Some(&Asked {
            client: json!({"url": "https://hub:7702/admit"}),
            ca_bundle: "Q0E=",
            failure_policy: "Ignore",
        }));
        let hook = &made[0];
        assert_eq!(
            hook["clientConfig"],
            json!({"url": "https://hub:7702/admit", "caBundle": "Q0E="})
        );
        assert_eq!(hook["rules"][0]["apiGroups"], json!(["bellwether.dev"]));
        let resources = hook["rules"][0]["resources"].to_string();
        assert!(
            resources.contains("applications") && !resources.contains("clusters"),
            "{resources}"
        );
        assert!(
            !resources.contains("status") && !resources.contains("rollouttracks"),
            "{resources}"
        );
    }
}
