//! Reads what a decision needs out of live objects; pure.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::{
    autoscaling::AutoscalerView,
    machine::{CanaryView, Endpoints},
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use bellwether_api::{number::IntOrPercent, reference::ObjectRef};
use serde_json::Value;

const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) fn text(object: &Value, path: &str) -> String {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn count(object: &Value, path: &str) -> u32 {
    object
        .pointer(path)
        .and_then(Value::as_u64)
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

/// How many pods there are.
pub(super) fn counted(pods: usize) -> u32 {
    u32::try_from(pods).unwrap_or(u32::MAX)
}

pub(super) fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

fn annotation(object: &Value, name: &str) -> String {
    object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// `metadata.uid`; empty = none.
pub fn uid(object: &Value) -> String {
    text(object, "/metadata/uid")
}

/// `metadata.name`.
pub fn name(object: &Value) -> String {
    text(object, "/metadata/name")
}

/// Whether the object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null())
}

/// One string map of an object, such as labels; empty when it is absent.
pub fn string_map(object: &Value, path: &str) -> BTreeMap<String, String> {
    object
        .pointer(path)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A Deployment; `template` says which version it carries.
pub fn deployment(object: &Value, template: TemplateVersion) -> DeploymentView {
    let replicas = object
        .pointer("/spec/replicas")
        .map_or(1, |_| count(object, "/spec/replicas"));
    DeploymentView {
        uid: uid(object),
        generation: number(object, "/metadata/generation"),
        observed_generation: number(object, "/status/observedGeneration"),
        replicas,
        total: count(object, "/status/replicas"),
        updated: count(object, "/status/updatedReplicas"),
        ready: count(object, "/status/readyReplicas"),
        available: count(object, "/status/availableReplicas"),
        paused: object
            .pointer("/spec/paused")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        revision: annotation(object, REVISION),
        template,
        update_takes: update_takes(object, replicas),
        unread: String::new(),
    }
}

/// Pods that a Deployment of so many stops at once when its template changes.
fn update_takes(object: &Value, replicas: u32) -> u32 {
    if text(object, "/spec/strategy/type") == "Recreate" {
        return replicas;
    }
    let budget = |field: &str| sized(object, &format!("/spec/strategy/rollingUpdate/{field}"));
    let quarter = IntOrPercent::Percent(25);
    let takes = budget("maxUnavailable")
        .unwrap_or(quarter)
        .floor_of(replicas, 0);
    let surges = budget("maxSurge").unwrap_or(quarter).ceil_of(replicas);
    // Where neither leaves any room, Kubernetes stops one after the other.
    takes.max(u32::from(surges == 0)).min(replicas)
}

/// A count or share; `None` = the object has none there.
pub(super) fn sized(object: &Value, pointer: &str) -> Option<IntOrPercent> {
    serde_json::from_value(object.pointer(pointer)?.clone()).ok()
}

/// A ReplicaSet.
pub fn replica_set(object: &Value) -> ReplicaSetView {
    ReplicaSetView {
        name: name(object),
        hash: string_map(object, "/metadata/labels")
            .remove("pod-template-hash")
            .unwrap_or_default(),
        owner_uid: controller_uid(object),
        revision: annotation(object, REVISION),
        replicas: count(object, "/spec/replicas").max(count(object, "/status/replicas")),
        ready: count(object, "/status/readyReplicas"),
    }
}

pub(super) fn controller_uid(object: &Value) -> String {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|owner| {
            owner
                .get("controller")
                .and_then(Value::as_bool)
                .unwrap_or(false)
        })
        .map(|owner| text(owner, "/uid"))
        .unwrap_or_default()
}

/// The canary Deployment; `pods` are those of its run.
pub fn canary(object: &Value, pods: &[Value]) -> CanaryView {
    CanaryView {
        replicas: count(object, "/spec/replicas"),
        generation: number(object, "/metadata/generation"),
        observed_generation: number(object, "/status/observedGeneration"),
        updated: count(object, "/status/updatedReplicas"),
        ready: count(object, "/status/readyReplicas"),
        available: count(object, "/status/availableReplicas"),
        trouble: trouble(object, pods),
        labels: BTreeSet::new(),
        deleting: is_deleting(object),
        unwritten: false,
    }
}

/// Why pods do not become ready, in the cluster's own words; empty = nothing is known.
pub(super) fn trouble(workload: &Value, pods: &[Value]) -> String {
    let waiting = pods.iter().flat_map(|pod| {
        ["/status/initContainerStatuses", "/status/containerStatuses"]
            .into_iter()
            .filter_map(|path| pod.pointer(path).and_then(Value::as_array))
            .flatten()
            .filter_map(|container| container.pointer("/state/waiting"))
    });
    for state in waiting {
        let reason = text(state, "/reason");
        if !matches!(
            reason.as_str(),
            "" | "ContainerCreating" | "PodInitializing"
        ) {
            return sentence(&reason, &text(state, "/message"));
        }
    }
    for pod in pods {
        if let Some(condition) = condition(pod, "PodScheduled")
            && text(condition, "/status") == "False"
        {
            return sentence(&text(condition, "/reason"), &text(condition, "/message"));
        }
    }
    match condition(workload, "ReplicaFailure") {
        Some(condition) if text(condition, "/status") == "True" => {
            sentence(&text(condition, "/reason"), &text(condition, "/message"))
        }
        _ => String::new(),
    }
}

fn sentence(reason: &str, message: &str) -> String {
    let message: String = message.chars().take(200).collect();
    if message.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason}: {message}")
    }
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object
        .pointer("/status/conditions")
        .and_then(Value::as_array)?
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// The addresses of the EndpointSlices of one Service.
pub fn endpoints(slices: &[Value], service: &str) -> Endpoints {
    let mut endpoints = Endpoints::default();
    let own = slices.iter().filter(|slice| {
        string_map(slice, "/metadata/labels")
            .get("kubernetes.io/service-name")
            .map(String::as_str)
            == Some(service)
    });
    for endpoint in own
        .filter_map(|slice| slice.get("endpoints").and_then(Value::as_array))
        .flatten()
    {
        let flag = |name: &str, default: bool| {
            endpoint
                .pointer(&format!("/conditions/{name}"))
                .and_then(Value::as_bool)
                .unwrap_or(default)
        };
        let ready = flag("ready", true) && !flag("terminating", false);
        let addresses = endpoint
            .get("addresses")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for address in addresses.filter_map(Value::as_str) {
            let side = if ready {
                &mut endpoints.ready
            } else {
                &mut endpoints.not_ready
            };
            side.insert(address.to_owned());
        }
    }
    endpoints
}

/// Where the pods of a Service and the Service itself are reached, ready or not.
pub fn addresses(endpoints: &Endpoints, service: Option<&Value>) -> BTreeSet<String> {
    let own = service.and_then(|service| service.pointer("/spec/clusterIPs"));
    let own = own.and_then(Value::as_array).into_iter().flatten();
    own.filter_map(Value::as_str)
        .filter(|address| *address != "None")
        .map(str::to_owned)
        .chain(endpoints.ready.iter().cloned())
        .chain(endpoints.not_ready.iter().cloned())
        .collect()
}

/// Tells whether an autoscaler of its namespace targets a workload.
pub fn targets(autoscaler: &Value, workload: &ObjectRef) -> bool {
    let target = |field: &str| text(autoscaler, &format!("/spec/scaleTargetRef/{field}"));
    let kind = target("kind");
    target("name") == workload.name
        && (kind == workload.kind || kind.is_empty() && workload.kind == "Deployment")
}

/// An autoscaler; absent = a ScaledObject made it, which counts itself.
pub fn autoscaler(object: &Value) -> Option<AutoscalerView> {
    let kind = text(object, "/kind");
    let owners = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let made = owners
        .into_iter()
        .flatten()
        .any(|owner| text(owner, "/kind") == "ScaledObject");
    if made {
        return None;
    }
    let bound = |field: &str, default| {
        let path = format!("/spec/{field}");
        object
            .pointer(&path)
            .map_or(default, |_| count(object, &path))
    };
    let (min, max) = if kind == "ScaledObject" {
        (bound("minReplicaCount", 0), bound("maxReplicaCount", 100))
    } else {
        (bound("minReplicas", 1), bound("maxReplicas", u32::MAX))
    };
    // KEDA holds a workload at this size, whatever its triggers say.
    let paused = annotation(object, "autoscaling.keda.sh/paused-replicas")
        .parse::<u32>()
        .ok()
        .filter(|_| kind == "ScaledObject");
    Some(AutoscalerView {
        name: name(object),
        min: paused.unwrap_or(min),
        max: paused.unwrap_or(max),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terminating_addresses_are_not_ready() {
        let slices = [json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": true}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": true, "terminating": true}},
            ],
        })];
        let endpoints = endpoints(&slices, "web");
        assert_eq!(endpoints.ready.iter().collect::<Vec<_>>(), ["10.0.0.1"]);
        assert_eq!(endpoints.not_ready.len(), 2);
        let service = json!({"spec": {"clusterIPs": ["10.96.0.9", "fd00::9"]}});
        assert_eq!(addresses(&endpoints, Some(&service)).len(), 5);
        let headless = json!({"spec": {"clusterIPs": ["None"]}});
        assert_eq!(addresses(&endpoints, Some(&headless)).len(), 3);
    }

    #[test]
    fn a_deployment_says_how_many_pods_its_update_stops_at_once() {
        let takes = |strategy: Value, replicas: u32| {
            let spec = json!({"replicas": replicas, "strategy": strategy});
            deployment(&json!({"spec": spec}), TemplateVersion::Old).update_takes
        };
        let rolling = |takes: Value, surges: Value| json!({"rollingUpdate": {"maxUnavailable": takes, "maxSurge": surges}});
        assert_eq!(takes(json!({}), 3), 0);
        assert_eq!(takes(json!({}), 4), 1);
        assert_eq!(takes(json!({"type": "Recreate"}), 4), 4);
        assert_eq!(takes(rolling(json!(2), json!(0)), 4), 2);
        assert_eq!(takes(rolling(json!("0%"), json!("25%")), 4), 0);
        assert_eq!(takes(rolling(json!("0%"), json!(0)), 4), 1);
        assert_eq!(takes(rolling(json!(9), json!(1)), 4), 4);
    }

    #[test]
    fn autoscalers_are_read_with_their_bounds() {
        let workload = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        let mut hpa = json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "one"},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 9}});
        let view = |kind: &str, name: &str, min, max| AutoscalerView {
            kind: kind.into(),
            name: name.into(),
            min,
            max,
        };
        assert!(targets(&hpa, &workload));
        let expected = view("HorizontalPodAutoscaler", "one", 2, 9);
        assert_eq!(autoscaler(&hpa), Some(expected));
        hpa["spec"]["scaleTargetRef"]["kind"] = json!("StatefulSet");
        assert!(!targets(&hpa, &workload));
        hpa["metadata"]["ownerReferences"] = json!([{"kind": "ScaledObject", "name": "web"}]);
        assert_eq!(autoscaler(&hpa), None, "its ScaledObject counts");
        let mut scaled = json!({"kind": "ScaledObject", "metadata": {"name": "two"},
            "spec": {"scaleTargetRef": {"name": "web"}, "minReplicaCount": 1}});
        assert!(targets(&scaled, &workload));
        assert_eq!(
            autoscaler(&scaled),
            Some(view("ScaledObject", "two", 1, 100))
        );
        scaled["metadata"]["annotations"] = json!({"autoscaling.keda.sh/paused-replicas": "4"});
        assert_eq!(autoscaler(&scaled), Some(view("ScaledObject", "two", 4, 4)));
    }

    #[test]
    fn image_that_cannot_be_pulled_is_named() {
        let pod = json!({"status": {"containerStatuses": [
            {"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not there"}}},
        ]}});
        assert_eq!(trouble(&json!({}), &[pod]), "ErrImageNeverPull: not there");
        let starting = json!({"status": {"containerStatuses": [
            {"state": {"waiting": {"reason": "ContainerCreating"}}},
        ]}});
        assert_eq!(trouble(&json!({}), &[starting]), "");
    }
}
