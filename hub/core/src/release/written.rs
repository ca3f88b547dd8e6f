use std::collections::BTreeMap;

use bellwether_api::application::{ApplicationSpec, Component, SyncPolicy};
use serde::{Deserialize, Serialize};

use super::is_secret;

/// What an Application says of its objects, without what only steers how they change: neither
/// destination and waves nor Rollouts. A restored release stays while this stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    target_namespace: Option<String>,
    create_namespace: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_account: Option<String>,
    components: Vec<Component>,
    sync: SyncPolicy,
    /// What the sources of components were fetched as, by component: one that moved says something
    /// new.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    artifacts: BTreeMap<String, String>,
    /// The version as which it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish_version: Option<String>,
}

impl Written {
    /// Reads it off an Application.
    #[must_use]
    pub fn of(spec: &ApplicationSpec) -> Self {
        let components = spec.components.iter().map(|component| Component {
            rollout: None,
            ..component.clone()
        });
        Self {
            target_namespace: spec.target_namespace.clone(),
            create_namespace: spec.create_namespace,
            service_account: spec.service_account.clone(),
            components: components.collect(),
            // Whoever takes back what was released and holds the next one back has said nothing new.
            sync: SyncPolicy {
                suspend: false,
                ..spec.sync.clone()
            },
            artifacts: BTreeMap::new(),
            publish_version: spec.publish_version.clone(),
        }
    }

    /// The version as which it is published; absent = every change is.
    #[must_use]
    pub fn publish_version(&self) -> Option<&str> {
        self.publish_version.as_deref()
    }

    /// Notes what the sources were fetched as: digests of artifacts, by component.
    #[must_use]
    pub fn with_artifacts(self, artifacts: BTreeMap<String, String>) -> Self {
        Self { artifacts, ..self }
    }

    /// Tells whether an object is a Secret; it is then sealed at rest.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.components
            .iter()
            .flat_map(|component| component.manifests.iter().flatten())
            .any(is_secret)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(change: impl FnOnce(&mut Value)) -> Written {
        let mut spec = json!({
            "destination": {"fleet": "all"},
            "components": [{"name": "web", "manifests": [{"kind": "ConfigMap", "data": {"a": "1"}}]}],
        });
        change(&mut spec);
        Written::of(&serde_json::from_value(spec).expect("a spec"))
    }

    #[test]
    fn only_what_objects_are_made_of_counts() {
        let before = written(|_| {});
        let rollout = json!({
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "strategy": {"canary": {"weights": [20]}},
        });
        assert_eq!(
            before,
            written(|spec| spec["destination"] = json!({"clusters": ["c1"]}))
        );
        assert_eq!(
            before,
            written(|spec| spec["waves"] = json!([{"name": "all"}]))
        );
        assert_eq!(
            before,
            written(|spec| spec["components"][0]["rollout"] = rollout)
        );
        assert_eq!(
            before,
            written(|spec| spec["sync"] = json!({"suspend": true}))
        );
        for (pointer, value) in [
            ("/components/0/manifests/0/data/a", json!("2")),
            ("/components/0/name", json!("shop")),
        ] {
            let changed = written(|spec| *spec.pointer_mut(pointer).expect("a field") = value);
            assert_ne!(before, changed, "{pointer}");
        }
        assert_ne!(
            before,
            written(|spec| spec["targetNamespace"] = json!("shop"))
        );
        assert_ne!(
            before,
            written(|spec| spec["serviceAccount"] = json!("deployer"))
        );
        assert_ne!(
            before,
            written(|spec| spec["sync"] = json!({"prune": false}))
        );
    }

    #[test]
    fn it_is_sealed_where_it_holds_a_secret() {
        assert!(!written(|_| {}).has_secret());
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}});
        let sealed = written(|spec| spec["components"][0]["manifests"][0] = secret);
        assert!(sealed.has_secret());
    }
}
