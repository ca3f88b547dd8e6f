//! What Bellwether itself consists of in a cluster. No application brings, takes over or takes away any of it:
//! the cluster that hosts the hub may be a member as any other.

use serde_json::Value;

use crate::{GROUP, custom_resource::WEBHOOK_CONFIGURATION};

/// The agent's namespace in every member cluster.
pub const AGENT_NAMESPACE: &str = "bellwether-system";
/// The agent's Deployment, ServiceAccount, roles and webhook configuration.
pub const AGENT: &str = "bellwether-agent";
/// The ClusterRole of a hub that mirrors custom resources, and its binding.
pub const HUB_ROLE: &str = "bellwether-hub-custom-resources";
/// The label of what the hub consists of, its namespace among it.
pub const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// The label of what the agent consists of.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// The value of both.
pub const PART_OF: &str = "bellwether";

/// Tells whether an object of this name is Bellwether's own, whatever it looks like.
#[must_use]
pub fn is_own_name(api_version: &str, kind: &str, namespace: &str, name: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => name
            .strip_suffix(GROUP)
            .is_some_and(|plural| plural.ends_with('.')),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            name == WEBHOOK_CONFIGURATION
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => name == AGENT,
        ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding") => {
            [AGENT, HUB_ROLE].contains(&name)
        }
        ("", "Namespace") => name == AGENT_NAMESPACE,
        _ => namespace == AGENT_NAMESPACE && name.starts_with(AGENT),
    }
}

/// Tells whether an object that a cluster has is Bellwether's own, by its name or by its labels.
#[must_use]
pub fn is_own(live: &Value) -> bool {
    let text = |pointer: &str| {
        let found = live.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default()
    };
    let labels = live.pointer("/metadata/labels");
    let labelled = |label: &str| labels.is_some_and(|all| all[label] == PART_OF);
    labelled(PART_OF_LABEL)
        || labelled(NAME_LABEL)
        || is_own_name(
            text("/apiVersion"),
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        )
}

/// Says that an object is Bellwether's own, and what to do.
#[must_use]
pub fn said(kind: &str, name: &str) -> String {
    format!(
        "{kind} {name} is part of Bellwether's own installation, which no application brings or takes over; \
         leave it out: `bellwether register cluster`, `bellwether install crds` and the hub's chart make it"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_bellwether_consists_of_is_known_by_its_name() {
        const DEFINITIONS: &str = "apiextensions.k8s.io/v1";
        const HOOKS: &str = "admissionregistration.k8s.io/v1";
        const RIGHTS: &str = "rbac.authorization.k8s.io/v1";
        let definition = "CustomResourceDefinition";
        for (api_version, kind, namespace, name, expected) in [
            (DEFINITIONS, definition, "", "rollouts.bellwether.dev", true),
            (DEFINITIONS, definition, "", "rolloutsbellwether.dev", false),
            (DEFINITIONS, definition, "", "rollouts.argoproj.io", false),
            (
                HOOKS,
                "ValidatingWebhookConfiguration",
                "",
                "bellwether-records",
                true,
            ),
            (
                HOOKS,
                "ValidatingWebhookConfiguration",
                "",
                "kyverno",
                false,
            ),
            (
                HOOKS,
                "MutatingWebhookConfiguration",
                "",
                "bellwether-agent",
                true,
            ),
            (RIGHTS, "ClusterRole", "", "bellwether-agent", true),
            (RIGHTS, "ClusterRoleBinding", "", HUB_ROLE, true),
            (RIGHTS, "ClusterRole", "", "view", false),
            ("v1", "Namespace", "", "bellwether-system", true),
            ("v1", "Namespace", "", "shop", false),
            (
                "v1",
                "Secret",
                "bellwether-system",
                "bellwether-agent-identity",
                true,
            ),
            ("v1", "Secret", "shop", "bellwether-agent-identity", false),
            ("v1", "ConfigMap", "bellwether-system", "settings", false),
        ] {
            assert_eq!(
                is_own_name(api_version, kind, namespace, name),
                expected,
                "{kind} {namespace}/{name}"
            );
        }
    }

    #[test]
    fn what_is_live_is_known_by_its_labels_too() {
        let namespace = |labels: Value| {
            json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "control", "labels": labels}})
        };
        assert!(is_own(&namespace(
            json!({"app.kubernetes.io/part-of": "bellwether"})
        )));
        assert!(is_own(&namespace(
            json!({"app.kubernetes.io/name": "bellwether"})
        )));
        for other in [
            json!({"app.kubernetes.io/part-of": "shop"}),
            json!({}),
            Value::Null,
        ] {
            assert!(!is_own(&namespace(other)));
        }
    }
}
