//! What is read of a workload with a copy beside it, whatever its kind.

use bellwether_agent_core::{
    machine::CanaryView,
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use bellwether_api::{bundle::Bundle, reference::ObjectRef};
use serde_json::Value;

use super::{
    adapted, per_node,
    scene::{Live, Scene, find},
    views,
};

impl Scene {
    /// Tells whether the user's own Service selects by the label that an adapter names: it could not be kept to
    /// a version and given back as it was.
    pub(super) fn is_told_apart_by(&self, bundle: &Bundle, service: &ObjectRef) -> bool {
        let written = find(bundle, service).filter(|_| self.copy_adapter.is_some());
        written.is_some_and(|service| {
            views::string_map(service, "/spec/selector").contains_key(self.pin_label())
        })
    }

    /// The kind of what the workload's versions are; absent = its pods alone tell them apart.
    #[must_use]
    pub fn version_kind(&self) -> Option<&'static str> {
        if self.copy_adapter.is_some() {
            None
        } else if self.is_per_node() {
            Some("ControllerRevision")
        } else {
            Some("ReplicaSet")
        }
    }

    /// Tells whether the workload's own pods are looked at.
    pub(super) fn counts_pods(&self) -> bool {
        self.copy_adapter.is_some() || self.is_per_node()
    }

    /// The counts of the workload; `template` says which version it carries.
    pub(super) fn beside_copy(
        &self,
        object: &Value,
        live: &Live,
        template: TemplateVersion,
    ) -> DeploymentView {
        match &self.copy_adapter {
            Some(adapter) => adapted::workload(object, adapter, &live.own_pods, template),
            None if self.is_per_node() => per_node::workload(object, &live.replica_sets, template),
            None => views::deployment(object, template),
        }
    }

    /// The versions of whatever has the workload's labels; `stable` is the one that the run began with.
    pub(super) fn versions(&self, live: &Live, stable: Option<&str>) -> Vec<ReplicaSetView> {
        if let Some(adapter) = &self.copy_adapter {
            let workload = live.workload.as_ref();
            return workload.map_or_else(Vec::new, |object| {
                adapted::versions(object, adapter, &live.own_pods, stable)
            });
        }
        let version = |object: &Value| {
            if self.is_per_node() {
                per_node::version(object, &live.own_pods)
            } else {
                views::replica_set(object)
            }
        };
        live.replica_sets.iter().map(version).collect()
    }

    /// Pods of a copy that was deleted with its pods, which still run.
    pub(super) fn copy_pods_left(&self, live: &Live) -> u32 {
        if self.copy_adapter.is_some() && live.canary.is_none() {
            adapted::left(&live.canary_pods)
        } else {
            0
        }
    }

    /// The copy of the workload; `pods` are the copy's.
    pub(super) fn copy(&self, object: &Value, pods: &[Value]) -> CanaryView {
        match &self.copy_adapter {
            Some(adapter) => adapted::copy(object, adapter, pods),
            None if self.is_per_node() => per_node::copy(object, pods),
            None => views::canary(object, pods),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn scene(adapter: &Value, strategy: &Value) -> Scene {
        let bundle = bundle(adapter, strategy);
        Scene::of(&bundle, &bundle.rollouts[0])
    }

    fn bundle(adapter: &Value, strategy: &Value) -> Bundle {
        serde_json::from_value(json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
            "components": [{"name": "web", "objects": [{
                "apiVersion": "example.dev/v1", "kind": "DaemonSet",
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"template": {"metadata": {"labels": {"app": "web"}}}},
            }, {
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop"}, "spec": {},
            }]}],
            "rollouts": [{"name": "shop-web", "spec": {
                "workload": {"apiVersion": "example.dev/v1", "kind": "DaemonSet", "name": "web",
                    "adapter": adapter},
                "service": {"name": "web", "port": 80}, "strategy": strategy,
            }}],
            "sync": {}, "metrics": null,
        }))
        .unwrap()
    }

    #[test]
    fn a_copy_by_an_adapter_is_of_the_workloads_own_kind_and_pinned_by_its_label() {
        let adapter = json!({"paused": "/spec/paused", "revisionLabel": "version"});
        let scene = scene(&adapter, &json!({"canary": {"stepWeight": 50}}));
        assert_eq!(scene.canary.to_string(), "DaemonSet/shop/web-canary");
        assert_eq!(scene.canary.api_version, "example.dev/v1");
        assert!(scene.adapter.is_none(), "it is not updated in place");
        assert!(!scene.is_per_node(), "of another group");
        assert_eq!(scene.version_kind(), None);
        assert_eq!(scene.pin_label(), "version");
        let service = |selector: Value| json!({"spec": {"selector": selector}});
        assert!(scene.selects_canary(&service(json!({"app": "web", "version": "old"}))));
        assert!(!scene.selects_canary(&service(json!({"app": "web", "tier": "x"}))));
    }

    #[test]
    fn a_service_that_selects_by_the_adapters_label_itself_is_told() {
        let adapter = json!({"paused": "/spec/paused", "revisionLabel": "version"});
        let mut bundle = bundle(&adapter, &json!({"canary": {"stepWeight": 50}}));
        let mut told = |selector: Value| {
            bundle.components[0].objects[1]["spec"]["selector"] = selector;
            let scene = Scene::of(&bundle, &bundle.rollouts[0]);
            scene.is_told_apart_by(&bundle, scene.service.as_ref().unwrap())
        };
        assert!(told(json!({"app": "web", "version": "x"})));
        assert!(!told(json!({"app": "web"})));
    }

    #[test]
    fn pods_of_a_copy_that_was_deleted_are_counted_until_they_stop() {
        let adapter = json!({"paused": "/spec/paused", "revisionLabel": "version"});
        let scene = scene(&adapter, &json!({"canary": {"stepWeight": 50}}));
        let pod = |stops: Value| json!({"metadata": {"deletionTimestamp": stops}});
        let mut live = Live {
            canary_pods: vec![pod(Value::Null), pod(json!("2026-01-01T00:00:00Z"))],
            ..Live::default()
        };
        assert_eq!(scene.copy_pods_left(&live), 1);
        live.canary = Some(json!({}));
        assert_eq!(scene.copy_pods_left(&live), 0, "it counts them itself");
    }

    #[test]
    fn an_adapter_with_a_partition_has_no_copy() {
        let adapter = json!({"partition": "/spec/held"});
        let scene = scene(&adapter, &json!({"batch": {"steps": [{"replicas": 1}]}}));
        assert!(scene.copy_adapter.is_none() && scene.adapter.is_some());
    }
}
