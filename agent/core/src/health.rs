//! Whether one object is as it should be, and why not.

mod custom;
mod resources;
mod workload;

use bellwether_api::{
    reference::ObjectRef,
    status::{Health, ObjectStatus},
};
use serde_json::Value;

pub use custom::CustomHealth;

/// Health of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthOf {
    /// How it is.
    pub health: Health,
    /// A CamelCase word for why; empty when Healthy.
    pub reason: String,
    /// A sentence for people; empty when Healthy.
    pub message: String,
}

impl HealthOf {
    /// As it should be.
    #[must_use]
    pub fn healthy() -> Self {
        Self {
            health: Health::Healthy,
            reason: String::new(),
            message: String::new(),
        }
    }

    fn new(health: Health, reason: &str, message: impl Into<String>) -> Self {
        Self {
            health,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn progressing(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Health::Progressing, reason, message)
    }

    fn degraded(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Health::Degraded, reason, message)
    }

    fn unless(problem: Option<Self>) -> Self {
        problem.unwrap_or_else(Self::healthy)
    }
}

/// Judges a live object; `None` = it does not exist. Kinds without rules of their own follow the
/// conventions for conditions; an object that says nothing is healthy.
#[must_use]
pub fn health_of(live: Option<&Value>) -> HealthOf {
    let Some(object) = live else {
        return HealthOf::new(Health::Missing, "Missing", "the object does not exist");
    };
    if is_terminating(object) {
        return HealthOf::progressing("Terminating", "the object is being deleted");
    }
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("");
    let group = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    let problem = match (group, kind) {
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("", "Pod") => workload::pod(object),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => None,
        ("", "ReplicationController") => workload::replica_set(object),
        ("", "Service") => resources::service(object),
        ("", "PersistentVolumeClaim") => resources::claim(object),
        ("", "PersistentVolume") => resources::volume(object),
        ("", "Namespace") => resources::namespace(object),
        ("autoscaling", "HorizontalPodAutoscaler") => resources::autoscaler(object),
        ("policy", "PodDisruptionBudget") => resources::disruption_budget(object),
        // Many controllers publish no address: one that is missing says nothing.
        ("networking.k8s.io", "Ingress") => None,
        ("apiregistration.k8s.io", "APIService") => resources::api_service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => resources::definition(object),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => resources::route(object),
        _ => conventional(object),
    };
    HealthOf::unless(problem)
}

/// Judges a live object for the status of its unit; `None` = it does not exist.
#[must_use]
pub fn of(target: &ObjectRef, live: Option<&Value>, custom: &CustomHealth) -> ObjectStatus {
    let HealthOf {
        health,
        reason,
        mut message,
    } = custom.health_of(live);
    if live.is_none() {
        message = format!("{target} does not exist");
    }
    ObjectStatus {
        object: target.clone(),
        health,
        reason,
        message,
    }
}

fn is_terminating(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null())
}

/// The conventions of kstatus: an unobserved generation, Reconciling and Stalled, Ready.
fn conventional(object: &Value) -> Option<HealthOf> {
    if let Some(behind) = behind(object) {
        return Some(behind);
    }
    if let Some(stalled) = condition(object, "Stalled").filter(|c| is(c, "True")) {
        return Some(HealthOf::degraded("Stalled", said(stalled)));
    }
    if let Some(reconciling) = condition(object, "Reconciling").filter(|c| is(c, "True")) {
        return Some(HealthOf::progressing("Reconciling", said(reconciling)));
    }
    let ready = condition(object, "Ready").or_else(|| condition(object, "Available"))?;
    match text(ready, "/status") {
        "True" => None,
        // kstatus: what is not ready is on its way; only Stalled says that it will not get there.
        _ => Some(HealthOf::progressing("NotReady", said(ready))),
    }
}

/// The controller has not seen the object's last change.
fn behind(object: &Value) -> Option<HealthOf> {
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)?;
    let observed = object
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64)?;
    (observed < generation).then(|| {
        HealthOf::progressing(
            "NotObserved",
            format!("its controller has seen generation {observed} of {generation}"),
        )
    })
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)?;
    conditions
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

fn is(condition: &Value, status: &str) -> bool {
    text(condition, "/status") == status
}

fn said(condition: &Value) -> String {
    let (reason, message) = (text(condition, "/reason"), text(condition, "/message"));
    [reason, message]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(": ")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}

fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
