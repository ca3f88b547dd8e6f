//! Kinds that run pods.

use serde_json::Value;

use super::{HealthOf, behind, condition, count, is, said, text};

fn desired(object: &Value) -> i64 {
    object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

/// A status that was never written says nothing about a spec that wants pods.
fn unobserved(object: &Value) -> Option<HealthOf> {
    if object.pointer("/status/observedGeneration").is_none() {
        return Some(HealthOf::progressing(
            "NotObserved",
            "its controller has not reported yet",
        ));
    }
    behind(object)
}

fn fewer(have: i64, want: i64, reason: &str, what: &str) -> Option<HealthOf> {
    (have < want)
        .then(|| HealthOf::progressing(reason, format!("{have} of {want} pods are {what}")))
}

pub(super) fn deployment(object: &Value) -> Option<HealthOf> {
    if let Some(progressing) = condition(object, "Progressing")
        && text(progressing, "/reason") == "ProgressDeadlineExceeded"
    {
        return Some(HealthOf::degraded(
            "ProgressDeadlineExceeded",
            said(progressing),
        ));
    }
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|c| is(c, "True")) {
        return Some(HealthOf::degraded("ReplicaFailure", said(failure)));
    }
    let want = desired(object);
    let total = count(object, "/status/replicas");
    let updated = count(object, "/status/updatedReplicas");
    unobserved(object)
        .or_else(|| fewer(updated, want, "PodsNotUpdated", "updated"))
        .or_else(|| {
            (total > updated).then(|| {
                HealthOf::progressing(
                    "OldPods",
                    format!(
                        "{} pods of an older version are still there",
                        total - updated
                    ),
                )
            })
        })
        .or_else(|| {
            fewer(
                count(object, "/status/availableReplicas"),
                want,
                "PodsNotAvailable",
                "available",
            )
        })
}

pub(super) fn stateful_set(object: &Value) -> Option<HealthOf> {
    let want = desired(object);
    let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    let to_update = if on_delete {
        0
    } else {
        (want - partition).max(0)
    };
    unobserved(object)
        .or_else(|| {
            fewer(
                count(object, "/status/readyReplicas"),
                want,
                "PodsNotReady",
                "ready",
            )
        })
        .or_else(|| {
            // Once all pods are updated the controller clears updatedReplicas of the old revision.
            let same =
                text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
            let updated = count(object, "/status/updatedReplicas");
            if same {
                None
            } else {
                fewer(updated, to_update, "PodsNotUpdated", "updated")
            }
        })
}

pub(super) fn daemon_set(object: &Value) -> Option<HealthOf> {
    let want = count(object, "/status/desiredNumberScheduled");
    let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
    let updated = count(object, "/status/updatedNumberScheduled");
    unobserved(object)
        .or_else(|| {
            if on_delete {
                None
            } else {
                fewer(updated, want, "PodsNotUpdated", "updated")
            }
        })
        .or_else(|| {
            fewer(
                count(object, "/status/numberAvailable"),
                want,
                "PodsNotAvailable",
                "available",
            )
        })
}

pub(super) fn replica_set(object: &Value) -> Option<HealthOf> {
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|c| is(c, "True")) {
        return Some(HealthOf::degraded("ReplicaFailure", said(failure)));
    }
    unobserved(object).or_else(|| {
        let available = count(object, "/status/availableReplicas");
        fewer(available, desired(object), "PodsNotAvailable", "available")
    })
}

/// Reasons of waiting containers that do not go away by themselves.
const STUCK: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];

pub(super) fn pod(object: &Value) -> Option<HealthOf> {
    match text(object, "/status/phase") {
        "Succeeded" => return None,
        "Failed" => {
            let reason = text(object, "/status/reason");
            let reason = if reason.is_empty() { "Failed" } else { reason };
            return Some(HealthOf::degraded(reason, text(object, "/status/message")));
        }
        _ => {}
    }
    for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        let containers = object.pointer(list).and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            let reason = text(container, "/state/waiting/reason");
            if STUCK.contains(&reason) {
                let message = text(container, "/state/waiting/message");
                let name = text(container, "/name");
                return Some(HealthOf::degraded(
                    reason,
                    format!("container {name}: {message}"),
                ));
            }
        }
    }
    if let Some(unscheduled) = condition(object, "PodScheduled").filter(|c| is(c, "False")) {
        return Some(HealthOf::progressing("NotScheduled", said(unscheduled)));
    }
    match condition(object, "Ready") {
        Some(ready) if is(ready, "True") => None,
        Some(ready) => Some(HealthOf::progressing("NotReady", said(ready))),
        None => Some(HealthOf::progressing(
            "Pending",
            "the pod has not started yet",
        )),
    }
}

pub(super) fn job(object: &Value) -> Option<HealthOf> {
    if let Some(failed) = condition(object, "Failed").filter(|c| is(c, "True")) {
        return Some(HealthOf::degraded("Failed", said(failed)));
    }
    if condition(object, "Complete").is_some_and(|c| is(c, "True")) {
        return None;
    }
    if condition(object, "Suspended").is_some_and(|c| is(c, "True")) {
        return Some(HealthOf::progressing("Suspended", "the job is suspended"));
    }
    let succeeded = count(object, "/status/succeeded");
    Some(HealthOf::progressing(
        "Running",
        format!("{succeeded} pods have completed"),
    ))
}
