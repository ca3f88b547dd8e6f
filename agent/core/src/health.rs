//! Whether one object is as it should be, and why not.

mod workload;

use bellwether_api::{
    reference::ObjectRef,
    status::{Health, ObjectStatus},
};
use serde_json::Value;

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
        return HealthOf::new(Health::Missing, "NotFound", "the object does not exist");
    };
    if object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|at| !at.is_null())
    {
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
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Namespace") => namespace(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => route(object),
        _ => conventional(object),
    };
    HealthOf::unless(problem)
}

/// Judges a live object for the status of its unit.
#[must_use]
pub fn of(target: &ObjectRef, live: &Value) -> ObjectStatus {
    let HealthOf {
        health,
        reason,
        message,
    } = health_of(Some(live));
    ObjectStatus {
        object: target.clone(),
        health,
        reason,
        message,
    }
}

fn service(object: &Value) -> Option<HealthOf> {
    let balanced = text(object, "/spec/type") == "LoadBalancer";
    let given = object
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .is_some_and(|ingress| !ingress.is_empty());
    (balanced && !given)
        .then(|| HealthOf::progressing("NoAddress", "the load balancer has no address yet"))
}

fn claim(object: &Value) -> Option<HealthOf> {
    match text(object, "/status/phase") {
        "Bound" => None,
        "Lost" => Some(HealthOf::degraded("Lost", "the claim's volume is gone")),
        _ => Some(HealthOf::progressing(
            "NotBound",
            "the claim is not bound to a volume yet",
        )),
    }
}

fn namespace(object: &Value) -> Option<HealthOf> {
    (text(object, "/status/phase") == "Terminating")
        .then(|| HealthOf::progressing("Terminating", "the namespace is being deleted"))
}

fn definition(object: &Value) -> Option<HealthOf> {
    if let Some(refused) = condition(object, "NamesAccepted").filter(|c| is(c, "False")) {
        return Some(HealthOf::degraded("NamesNotAccepted", said(refused)));
    }
    let established = condition(object, "Established").is_some_and(|c| is(c, "True"));
    (!established)
        .then(|| HealthOf::progressing("NotEstablished", "the API server does not serve it yet"))
}

fn route(object: &Value) -> Option<HealthOf> {
    use crate::provider::{RouteObservation, gateway_api};
    match gateway_api::observe(object) {
        RouteObservation::Programmed => None,
        RouteObservation::NotYet { why } => Some(HealthOf::progressing("NotProgrammed", why)),
        RouteObservation::Rejected { why } => Some(HealthOf::degraded("Rejected", why)),
    }
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
        "False" => Some(HealthOf::degraded("NotReady", said(ready))),
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
