//! Which writes the API server asks the hub about.

use bellwether_api::{GROUP, VERSION, custom_resource::KINDS};
use serde_json::{Value, json};

/// The webhook's name within its configuration.
const WEBHOOK: &str = "records.bellwether.dev";
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
        "matchPolicy": "Equivalent",
        "failurePolicy": asked.failure_policy,
        "timeoutSeconds": TIMEOUT_S,
        // Nothing is stored by it: a dry run gets the same answer.
        "sideEffects": "None",
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

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
