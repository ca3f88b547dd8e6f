use bellwether_api::status::Health;
use serde_json::{Value, json};

use super::health_of;

fn judged(object: &Value) -> (Health, String) {
    let health = health_of(Some(object));
    let explained = health.health == Health::Healthy || !health.message.is_empty();
    assert!(explained, "{health:?} says nothing to people");
    (health.health, health.reason)
}

fn expect(object: Value, health: Health, reason: &str) {
    assert_eq!(judged(&object), (health, reason.to_owned()), "{object}");
}

fn deployment(status: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2},
        "spec": {"replicas": 3}, "status": status})
}

#[test]
fn deployments() {
    use Health::{Degraded, Healthy, Progressing};
    let status = |replicas: i64, updated: i64, available: i64| {
        json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
            "availableReplicas": available})
    };
    expect(deployment(status(3, 3, 3)), Healthy, "");
    expect(
        deployment(json!({"observedGeneration": 1, "updatedReplicas": 3})),
        Progressing,
        "NotObserved",
    );
    expect(deployment(json!({})), Progressing, "NotObserved");
    expect(deployment(status(3, 2, 3)), Progressing, "PodsNotUpdated");
    expect(deployment(status(4, 3, 3)), Progressing, "OldPods");
    expect(deployment(status(3, 3, 2)), Progressing, "PodsNotAvailable");
    let mut stuck = deployment(status(3, 3, 2));
    stuck["status"]["conditions"] = json!([{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded", "message": "too long"}]);
    expect(stuck, Degraded, "ProgressDeadlineExceeded");
}

#[test]
fn other_workloads() {
    use Health::{Degraded, Healthy, Progressing};
    let apps = |kind: &str, spec: Value, status: Value| {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"generation": 1}, "spec": spec,
            "status": status})
    };
    let set = |ready: i64, updated: i64, revision: &str| {
        apps(
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 1,
            "readyReplicas": ready, "updatedReplicas": updated, "currentRevision": "a",
            "updateRevision": revision}),
        )
    };
    expect(set(2, 0, "a"), Healthy, "");
    expect(set(1, 2, "a"), Progressing, "PodsNotReady");
    expect(set(2, 1, "b"), Progressing, "PodsNotUpdated");
    let daemons = |updated: i64, available: i64| {
        apps(
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 1, "desiredNumberScheduled": 2,
            "updatedNumberScheduled": updated, "numberAvailable": available}),
        )
    };
    expect(daemons(2, 2), Healthy, "");
    expect(daemons(1, 2), Progressing, "PodsNotUpdated");
    expect(daemons(2, 1), Progressing, "PodsNotAvailable");
    expect(
        apps(
            "ReplicaSet",
            json!({"replicas": 1}),
            json!({"observedGeneration": 1}),
        ),
        Progressing,
        "PodsNotAvailable",
    );
    let job = |conditions: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": conditions}});
    expect(
        job(json!([{"type": "Complete", "status": "True"}])),
        Healthy,
        "",
    );
    expect(job(json!([])), Progressing, "Running");
    let failed = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
    expect(job(failed), Degraded, "Failed");
}

#[test]
fn pods() {
    use Health::{Degraded, Healthy, Progressing};
    let pod = |status: Value| json!({"apiVersion": "v1", "kind": "Pod", "status": status});
    let ready = |status: &str| {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status,
            "reason": "ContainersNotReady"}]})
    };
    expect(pod(ready("True")), Healthy, "");
    expect(pod(ready("False")), Progressing, "NotReady");
    expect(pod(json!({"phase": "Succeeded"})), Healthy, "");
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "disk"});
    expect(pod(evicted), Degraded, "Evicted");
    expect(pod(json!({})), Progressing, "Pending");
    let pulling = json!({"phase": "Pending", "containerStatuses": [{"name": "web",
        "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not there"}}}]});
    expect(pod(pulling), Degraded, "ErrImageNeverPull");
    let unscheduled = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
    expect(pod(unscheduled), Progressing, "NotScheduled");
}

#[test]
fn everything_else() {
    use Health::{Degraded, Healthy, Progressing};
    let core = |kind: &str, spec: Value, status: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {}, "spec": spec, "status": status});
    expect(core("ConfigMap", json!({}), json!({})), Healthy, "");
    expect(
        core("Service", json!({"type": "ClusterIP"}), json!({})),
        Healthy,
        "",
    );
    expect(
        core("Service", json!({"type": "LoadBalancer"}), json!({})),
        Progressing,
        "NoAddress",
    );
    let claim = |phase: &str| core("PersistentVolumeClaim", json!({}), json!({"phase": phase}));
    expect(claim("Bound"), Healthy, "");
    expect(claim("Pending"), Progressing, "NotBound");
    expect(claim("Lost"), Degraded, "Lost");
    expect(
        core("Namespace", json!({}), json!({"phase": "Active"})),
        Healthy,
        "",
    );
    let mut leaving = core("ConfigMap", json!({}), json!({}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    expect(leaving, Progressing, "Terminating");
    let custom = |conditions: Value| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"generation": 2},
            "status": {"observedGeneration": 2, "conditions": conditions}})
    };
    let said = |kind: &str, status: &str| {
        custom(json!([{"type": kind, "status": status, "reason": "R", "message": "m"}]))
    };
    expect(custom(json!([])), Healthy, "");
    expect(said("Ready", "True"), Healthy, "");
    expect(said("Ready", "False"), Progressing, "NotReady");
    expect(said("Ready", "Unknown"), Progressing, "NotReady");
    expect(said("Stalled", "True"), Degraded, "Stalled");
    expect(said("Reconciling", "True"), Progressing, "Reconciling");
    let crd = |conditions: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "status": {"conditions": conditions}})
    };
    expect(
        crd(json!([{"type": "Established", "status": "True"}])),
        Healthy,
        "",
    );
    expect(crd(json!([])), Progressing, "NotEstablished");
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"generation": 1, "namespace": "a"}, "spec": {"parentRefs": [{"name": "g"}]}});
    expect(route, Progressing, "NotProgrammed");
    assert_eq!(health_of(None).health, Health::Missing);
}

fn of(api_version: &str, kind: &str, status: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"generation": 2},
        "spec": {"replicas": 1}, "status": status})
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"conditions": [{"type": kind, "status": status, "reason": reason, "message": "m"}]})
}

#[test]
fn kinds_that_serve_pods() {
    use Health::{Degraded, Healthy, Progressing};
    let of = |api_version: &str, kind: &str, status: Value| {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"generation": 2},
            "spec": {"replicas": 1}, "status": status})
    };
    let condition = |kind: &str, status: &str, reason: &str| json!({"conditions": [{"type": kind, "status": status, "reason": reason, "message": "m"}]});
    for (api_version, kind, status, health, reason) in [
        ("batch/v1", "CronJob", json!({}), Healthy, ""),
        ("networking.k8s.io/v1", "Ingress", json!({}), Healthy, ""),
        ("v1", "PersistentVolume", json!({}), Progressing, "Pending"),
        (
            "v1",
            "PersistentVolume",
            json!({"phase": "Bound"}),
            Healthy,
            "",
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"phase": "Released"}),
            Healthy,
            "",
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"phase": "Failed"}),
            Degraded,
            "Failed",
        ),
        (
            "v1",
            "ReplicationController",
            json!({"observedGeneration": 2}),
            Progressing,
            "PodsNotAvailable",
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            json!({}),
            Progressing,
            "NotAvailable",
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            condition("Available", "False", "MissingEndpoints"),
            Progressing,
            "NotAvailable",
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            condition("Available", "True", "Passed"),
            Healthy,
            "",
        ),
    ] {
        expect(of(api_version, kind, status), health, reason);
    }
}

#[test]
fn autoscalers_and_budgets() {
    use Health::{Degraded, Healthy, Progressing};
    for (api_version, kind, status, health, reason) in [
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            condition("ScalingActive", "False", "FailedGetResourceMetric"),
            Healthy,
            "",
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            condition("ScalingActive", "False", "InvalidSelector"),
            Degraded,
            "InvalidSelector",
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            condition("AbleToScale", "False", "FailedGetScale"),
            Degraded,
            "FailedGetScale",
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({"observedGeneration": 1}),
            Progressing,
            "NotObserved",
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            condition("DisruptionAllowed", "False", "InsufficientPods"),
            Healthy,
            "",
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            condition("DisruptionAllowed", "False", "SyncFailed"),
            Degraded,
            "SyncFailed",
        ),
    ] {
        expect(of(api_version, kind, status), health, reason);
    }
}
