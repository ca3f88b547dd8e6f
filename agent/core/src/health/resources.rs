//! Kinds that serve pods: addresses, storage, sizes, APIs.

use serde_json::Value;

use super::{HealthOf, behind, condition, is, said, text};

pub(super) fn service(object: &Value) -> Option<HealthOf> {
    let balanced = text(object, "/spec/type") == "LoadBalancer";
    let given = object
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .is_some_and(|ingress| !ingress.is_empty());
    (balanced && !given)
        .then(|| HealthOf::progressing("NoAddress", "the load balancer has no address yet"))
}

pub(super) fn claim(object: &Value) -> Option<HealthOf> {
    match text(object, "/status/phase") {
        "Bound" => None,
        "Lost" => Some(HealthOf::degraded("Lost", "the claim's volume is gone")),
        _ => Some(HealthOf::progressing(
            "NotBound",
            "the claim is not bound to a volume yet",
        )),
    }
}

pub(super) fn volume(object: &Value) -> Option<HealthOf> {
    match text(object, "/status/phase") {
        "Failed" => {
            let why = text(object, "/status/message");
            let why = if why.is_empty() {
                "the volume could not be reclaimed"
            } else {
                why
            };
            Some(HealthOf::degraded("Failed", why))
        }
        "Pending" | "" => Some(HealthOf::progressing(
            "Pending",
            "the volume is not available yet",
        )),
        _ => None,
    }
}

pub(super) fn namespace(object: &Value) -> Option<HealthOf> {
    (text(object, "/status/phase") == "Terminating")
        .then(|| HealthOf::progressing("Terminating", "the namespace is being deleted"))
}

pub(super) fn definition(object: &Value) -> Option<HealthOf> {
    if let Some(refused) = condition(object, "NamesAccepted").filter(|c| is(c, "False")) {
        return Some(HealthOf::degraded("NamesNotAccepted", said(refused)));
    }
    let established = condition(object, "Established").is_some_and(|c| is(c, "True"));
    (!established)
        .then(|| HealthOf::progressing("NotEstablished", "the API server does not serve it yet"))
}

pub(super) fn api_service(object: &Value) -> Option<HealthOf> {
    match condition(object, "Available") {
        Some(available) if is(available, "True") => None,
        Some(available) => Some(HealthOf::progressing("NotAvailable", said(available))),
        None => Some(HealthOf::progressing(
            "NotAvailable",
            "the API server has not reached it yet",
        )),
    }
}

/// What an autoscaler cannot mend by itself. One that gets no metrics keeps the size that there is,
/// which harms nobody.
const MISCONFIGURED: [&str; 5] = [
    "AmbiguousSelector",
    "FailedGetScale",
    "InvalidMetricSourceType",
    "InvalidSelector",
    "MissingScaleTargetRef",
];

pub(super) fn autoscaler(object: &Value) -> Option<HealthOf> {
    ["AbleToScale", "ScalingActive"]
        .into_iter()
        .filter_map(|kind| condition(object, kind))
        .find(|one| is(one, "False") && MISCONFIGURED.contains(&text(one, "/reason")))
        .map(|one| HealthOf::degraded(text(one, "/reason"), said(one)))
}

/// A budget that allows no eviction now does what it is for.
pub(super) fn disruption_budget(object: &Value) -> Option<HealthOf> {
    let failed = condition(object, "DisruptionAllowed")
        .filter(|one| is(one, "False") && text(one, "/reason") == "SyncFailed");
    failed
        .map(|one| HealthOf::degraded("SyncFailed", said(one)))
        .or_else(|| behind(object))
}

pub(super) fn route(object: &Value) -> Option<HealthOf> {
    use crate::provider::{RouteObservation, gateway_api};
    match gateway_api::observe(object) {
        RouteObservation::Programmed => None,
        RouteObservation::NotYet { why } => Some(HealthOf::progressing("NotProgrammed", why)),
        RouteObservation::Rejected { why } => Some(HealthOf::degraded("Rejected", why)),
    }
}
