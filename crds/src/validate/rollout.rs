//! Checks of a rollout's own fields.

use std::collections::BTreeSet;

use super::{
    analysis,
    finding::{Finding, Findings, Validated},
    hooks, names,
};
use crate::{
    document::{FieldPath, Kind, Object},
    duration::Dur,
    number::{IntOrPercent, Weight},
    rollout::{Advance, Canary, PortRef, RolloutSpec, ServiceRef, Step, Traffic, WorkloadRef},
};

/// A rollout that passed its checks.
#[derive(Clone, Debug)]
pub struct ValidatedRollout(Object<RolloutSpec>);

impl ValidatedRollout {
    /// Returns the rollout.
    #[must_use]
    pub fn into_inner(self) -> Object<RolloutSpec> {
        self.0
    }
}

/// Checks a rollout that stands alone. What its application renders is checked by
/// [`super::governed()`].
///
/// # Errors
///
/// Returns everything that is wrong with it.
pub fn rollout(object: Object<RolloutSpec>) -> Result<Validated<ValidatedRollout>, Vec<Finding>> {
    check(&object).into_validated(ValidatedRollout(object))
}

pub(super) fn check(object: &Object<RolloutSpec>) -> Findings {
    let mut findings = Findings::default();
    names::metadata(&mut findings, Kind::Rollout, &object.metadata);
    let path = FieldPath::spec();
    match &object.spec.application {
        Some(application) => {
            names::name(&mut findings, &path.key("application"), application);
        }
        None => findings.error(
            &path.key("application"),
            "a Rollout that stands alone names the application that renders its workload",
        ),
    }
    if let Some(component) = &object.spec.component {
        names::name(&mut findings, &path.key("component"), component);
    }
    spec(&mut findings, &path, &object.spec);
    findings
}

/// Checks a rollout that stands in a component.
pub(super) fn inline(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    for (field, value) in [
        ("application", &rollout.application),
        ("component", &rollout.component),
    ] {
        if value.is_some() {
            findings.error(
                &path.key(field),
                "leave it out here: the rollout belongs to the component that it stands in",
            );
        }
    }
    spec(findings, path, rollout);
}

fn spec(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    workload(findings, &path.key("workload"), &rollout.workload);
    if let Some(service) = &rollout.service {
        service_ref(findings, &path.key("service"), service);
    } else if !rollout.traffic.is_empty() {
        findings.error(
            &path.key("traffic"),
            "traffic is split behind a Service; set service to the one that clients use",
        );
    }
    match &rollout.strategy.canary {
        Some(plan) => canary(findings, &path.key("strategy").key("canary"), plan),
        None => findings.error(
            &path.key("strategy"),
            "exactly one strategy must be set: canary",
        ),
    }
    traffic(findings, &path.key("traffic"), &rollout.traffic);
    analysis::check(findings, &path.key("analysis"), rollout);
    hooks::check(findings, &path.key("hooks"), rollout);
    let at_least_one_second = "use at least 1s";
    if rollout.progress_deadline < Dur::from_secs(1) {
        findings.error(&path.key("progressDeadline"), at_least_one_second);
    } else if rollout.progress_deadline <= rollout.analysis.interval {
        findings.warn(
            &path.key("progressDeadline"),
            "it is not longer than analysis.interval: a run may end before its first check",
        );
    }
    if rollout.instances.min_replicas == 0 {
        findings.error(
            &path.key("instances").key("minReplicas"),
            "a canary without pods cannot take traffic; use at least 1",
        );
    }
    if rollout.history_limit == 0 {
        findings.error(&path.key("historyLimit"), "use at least 1");
    }
}

fn workload(findings: &mut Findings, path: &FieldPath, workload: &WorkloadRef) {
    if (workload.api_version.as_str(), workload.kind.as_str()) != ("apps/v1", "Deployment") {
        findings.error(
            path,
            format!(
                "a rollout of {} {} ({}) is not supported by this version of Bellwether; only \
                 apps/v1 Deployments are",
                workload.kind, workload.name, workload.api_version
            ),
        );
    }
    names::name(findings, &path.key("name"), &workload.name);
    if let Some(namespace) = &workload.namespace {
        names::name(findings, &path.key("namespace"), namespace);
    }
}

fn service_ref(findings: &mut Findings, path: &FieldPath, service: &ServiceRef) {
    names::name(findings, &path.key("name"), &service.name);
    let valid = match &service.port {
        PortRef::Number(number) => *number > 0,
        PortRef::Name(name) => is_port_name(name),
    };
    if !valid {
        findings.error(
            &path.key("port"),
            "a port is a number of 1 to 65535 or a port's name",
        );
    }
}

/// IANA service names: at most 15 of `a-z`, `0-9` and `-`, with a letter among them.
fn is_port_name(name: &str) -> bool {
    names::is_dns_label(name)
        && name.len() <= 15
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.contains("--")
}

fn canary(findings: &mut Findings, path: &FieldPath, canary: &Canary) {
    let forms = [
        ("stepWeight", canary.step_weight.is_some()),
        ("weights", !canary.weights.is_empty()),
        ("steps", !canary.steps.is_empty()),
    ];
    let set: Vec<&str> = forms
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match set.as_slice() {
        [_] => {}
        [] => findings.error(
            path,
            "exactly one of stepWeight, weights, steps must be set",
        ),
        [_, second, ..] => findings.error(
            &path.key(second),
            format!(
                "exactly one of stepWeight, weights, steps may be set, found {}",
                set.join(" and ")
            ),
        ),
    }
    let positive = [
        ("stepWeight", canary.step_weight),
        ("maxWeight", canary.max_weight),
        ("stepWeightPromotion", canary.step_weight_promotion),
    ];
    for (name, weight) in positive {
        if weight == Some(Weight::ZERO) {
            findings.error(&path.key(name), "use at least 1");
        }
    }
    if canary.max_weight.is_some() && canary.step_weight.is_none() {
        findings.error(
            &path.key("maxWeight"),
            "maxWeight ends the form stepWeight, which is not set",
        );
    }
    if canary.advance == Some(Advance::After) {
        findings.error(
            &path.key("advance"),
            "After needs a time and stands on single steps; use Auto or Manual here",
        );
    }
    rising(findings, &path.key("weights"), &canary.weights);
    steps(findings, &path.key("steps"), &canary.steps);
}

fn rising(findings: &mut Findings, path: &FieldPath, weights: &[Weight]) {
    let mut before = Weight::ZERO;
    for (index, weight) in weights.iter().enumerate() {
        if *weight <= before {
            let message = if index == 0 {
                "the first weight is above 0".to_owned()
            } else {
                format!("weights rise strictly; {weight} follows {before}")
            };
            findings.error(&path.index(index), message);
        }
        before = *weight;
    }
}

fn steps(findings: &mut Findings, path: &FieldPath, steps: &[Step]) {
    let mut seen = BTreeSet::new();
    for (index, step) in steps.iter().enumerate() {
        let at = path.index(index);
        if let Some(name) = &step.name {
            names::name(findings, &at.key("name"), name);
            if !seen.insert(name) {
                findings.error(&at.key("name"), format!("two steps are named {name:?}"));
            }
        }
        if step.weight == Weight::ZERO {
            findings.error(&at.key("weight"), "a step has a weight above 0");
        }
        match step.replicas {
            Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) => {
                findings.error(
                    &at.key("replicas"),
                    "a step that takes traffic has at least 1 pod",
                );
            }
            Some(IntOrPercent::Percent(101..)) => {
                findings.error(&at.key("replicas"), "a share is at most 100%");
            }
            _ => {}
        }
        let waits = step.advance == Some(Advance::After);
        match step.after {
            None if waits => findings.error(&at.key("advance"), "After needs a time; set after"),
            Some(_) if !waits => {
                findings.error(&at.key("after"), "after is used with advance: After only");
            }
            _ => {}
        }
    }
}

/// Checks a list of traffic providers.
pub(super) fn traffic(findings: &mut Findings, path: &FieldPath, traffic: &[Traffic]) {
    for (index, provider) in traffic.iter().enumerate() {
        let at = path.index(index);
        let Some(gateway) = &provider.gateway_api else {
            findings.error(&at, "exactly one provider must be set: gatewayApi");
            continue;
        };
        let routes = at.key("gatewayApi").key("httpRoutes");
        if gateway.http_routes.is_empty() {
            findings.error(&routes, "name at least one HTTPRoute");
        }
        let mut seen = BTreeSet::new();
        for (route_index, route) in gateway.http_routes.iter().enumerate() {
            let at = routes.index(route_index);
            names::name(findings, &at, route);
            if !seen.insert(route) {
                findings.error(&at, format!("HTTPRoute {route:?} stands here twice"));
            }
        }
    }
}
