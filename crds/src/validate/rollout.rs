//! Checks of a rollout's own fields.

use std::collections::BTreeSet;

use super::{
    finding::{Finding, Findings, Validated},
    fleet::http_address,
    names, traffic,
};
use crate::{
    document::{FieldPath, Kind, Object},
    duration::Dur,
    number::{IntOrPercent, Num, Weight},
    rollout::{
        Advance, Analysis, Canary, Metric, MetricSource, MetricSourceKind, PortRef, Range,
        RolloutSpec, ServiceRef, Step, WorkloadRef,
    },
};

/// The metrics that need no query.
pub const METRIC_NAMES: [&str; 2] = [SUCCESS_RATE, DURATION];
const SUCCESS_RATE: &str = "request-success-rate";
const DURATION: &str = "request-duration";

/// The shortest window: a window needs four scrapes, and none is scraped faster than once a second.
const MIN_WINDOW: Dur = Dur::from_secs(4);
const MIN_INTERVAL: Dur = Dur::from_secs(1);

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
    traffic::of_rollout(findings, &path.key("traffic"), rollout);
    analysis(findings, &path.key("analysis"), &rollout.analysis);
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

fn analysis(findings: &mut Findings, path: &FieldPath, analysis: &Analysis) {
    if analysis.interval < MIN_INTERVAL {
        findings.error(&path.key("interval"), "use at least 1s");
    }
    if analysis.metrics.is_empty() {
        findings.warn(
            &path.key("metrics"),
            "no metrics are set (NothingConfigured): steps pass as soon as the pods are ready",
        );
    }
    let mut seen = BTreeSet::new();
    for (index, metric) in analysis.metrics.iter().enumerate() {
        let at = path.key("metrics").index(index);
        one_metric(findings, &at, metric);
        let statistic = metric
            .aggregation
            .map(|aggregation| format!("{aggregation:?}"));
        if !seen.insert((metric.name.as_str(), statistic)) {
            findings.error(
                &at,
                format!("the metric {:?} stands here twice", metric.name),
            );
        }
    }
}

fn one_metric(findings: &mut Findings, path: &FieldPath, metric: &Metric) {
    if !METRIC_NAMES.contains(&metric.name.as_str()) {
        let meant = crate::document::closest(&metric.name, METRIC_NAMES).map(str::to_owned);
        let message = format!(
            "unknown metric {:?}; use one of {}",
            metric.name,
            METRIC_NAMES.join(", ")
        );
        findings.error_with(&path.key("name"), message, meant);
    }
    range(findings, &path.key("range"), metric);
    if metric.window < MIN_WINDOW {
        findings.error(
            &path.key("window"),
            "use at least 4s: a window needs four scrapes",
        );
    }
    if metric.aggregation.is_some() && metric.name == SUCCESS_RATE {
        findings.error(
            &path.key("aggregation"),
            format!("{SUCCESS_RATE} is a share; an aggregation belongs to {DURATION}"),
        );
    }
    if let Some(source) = &metric.source {
        metric_source(findings, &path.key("source"), source);
    }
}

fn range(findings: &mut Findings, path: &FieldPath, metric: &Metric) {
    let Range { min, max } = &metric.range;
    let (low, high) = (min.as_ref().map(Num::value), max.as_ref().map(Num::value));
    match (low, high) {
        (None, None) => findings.error(path, "set min, max or both"),
        (Some(low), Some(high)) if low > high => {
            findings.error(
                path,
                format!("min {low} is above max {high}: nothing would pass"),
            );
        }
        _ => {}
    }
    if metric.name == SUCCESS_RATE && low.is_some_and(|low| low > 100.0) {
        findings.error(
            &path.key("min"),
            "a success rate is a percentage: at most 100",
        );
    }
    if high.is_some_and(|high| high < 0.0) {
        findings.error(
            &path.key("max"),
            "no value of this metric is below 0: nothing would pass",
        );
    }
}

fn metric_source(findings: &mut Findings, path: &FieldPath, source: &MetricSource) {
    let at = path.key("address");
    match (source.kind, &source.address) {
        (MetricSourceKind::Prometheus, Some(address)) => http_address(findings, &at, address),
        (MetricSourceKind::Probe, Some(_)) => {
            findings.error(&at, "a Probe asks the canary's pods; it has no address");
        }
        (_, None) => {}
    }
}
