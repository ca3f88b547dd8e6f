//! Checks of a rollout's own fields.

use std::collections::BTreeSet;

use super::{
    finding::{Finding, Findings, Validated},
    fleet::http_address,
    names, strategy, traffic,
};
use crate::{
    document::{FieldPath, Kind, Object},
    duration::Dur,
    number::Num,
    rollout::{
        Analysis, Metric, MetricSource, MetricSourceKind, PortRef, Range, RolloutSpec, ServiceRef,
        WorkloadRef,
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
    strategy::check(findings, path, rollout);
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
