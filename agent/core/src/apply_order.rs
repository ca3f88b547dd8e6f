//! The order in which objects are applied, so that each finds what it needs.

use serde_json::Value;

/// A group of kinds that may be applied at once. Groups are applied in order, and removed in the
/// reverse order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApplyStage {
    /// Namespaces.
    Namespace,
    /// CustomResourceDefinitions and other cluster-wide definitions.
    Definition,
    /// Identities and rights.
    Access,
    /// Quotas and policies that admission reads.
    Policy,
    /// Configuration and storage that pods mount.
    Configuration,
    /// Services, so that pods find their addresses in the environment.
    Service,
    /// Everything that runs pods.
    Workload,
    /// Kinds that are not known here.
    Other,
    /// What brings traffic or load to workloads.
    Routing,
}

/// Tells the stage of a kind.
#[must_use]
pub fn apply_stage(kind: &str) -> ApplyStage {
    match kind {
        "Namespace" => ApplyStage::Namespace,
        "CustomResourceDefinition"
        | "PriorityClass"
        | "StorageClass"
        | "RuntimeClass"
        | "IngressClass"
        | "GatewayClass" => ApplyStage::Definition,
        "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => {
            ApplyStage::Access
        }
        "ResourceQuota" | "LimitRange" | "NetworkPolicy" | "PodDisruptionBudget" => {
            ApplyStage::Policy
        }
        "ConfigMap" | "Secret" | "PersistentVolume" | "PersistentVolumeClaim" => {
            ApplyStage::Configuration
        }
        "Service" | "Endpoints" | "EndpointSlice" => ApplyStage::Service,
        "Pod"
        | "ReplicaSet"
        | "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "Job"
        | "CronJob"
        | "ReplicationController" => ApplyStage::Workload,
        "Gateway"
        | "HTTPRoute"
        | "GRPCRoute"
        | "TCPRoute"
        | "TLSRoute"
        | "ReferenceGrant"
        | "Ingress"
        | "HorizontalPodAutoscaler"
        | "ScaledObject"
        | "APIService"
        | "MutatingWebhookConfiguration"
        | "ValidatingWebhookConfiguration" => ApplyStage::Routing,
        _ => ApplyStage::Other,
    }
}

/// Sorts what stands for objects for applying; those of one stage keep their order.
pub fn sort_for_apply<T>(list: &mut [T], object: impl Fn(&T) -> &Value) {
    list.sort_by_key(|one| {
        let kind = object(one).get("kind").and_then(Value::as_str);
        apply_stage(kind.unwrap_or(""))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let kinds = [
            "HTTPRoute",
            "Deployment",
            "Widget",
            "Service",
            "Secret",
            "LimitRange",
            "Role",
            "CustomResourceDefinition",
            "Namespace",
        ];
        let mut objects: Vec<_> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
        sort_for_apply(&mut objects, |object| object);
        let sorted: Vec<_> = objects
            .iter()
            .filter_map(|object| object["kind"].as_str())
            .collect();
        assert_eq!(
            sorted,
            [
                "Namespace",
                "CustomResourceDefinition",
                "Role",
                "LimitRange",
                "Secret",
                "Service",
                "Deployment",
                "Widget",
                "HTTPRoute",
            ]
        );
    }

    #[test]
    fn objects_of_one_stage_keep_their_order() {
        let mut objects = vec![
            json!({"kind": "Job", "n": 1}),
            json!({"kind": "Pod", "n": 2}),
        ];
        let before = objects.clone();
        sort_for_apply(&mut objects, |object| object);
        assert_eq!(objects, before);
    }
}
