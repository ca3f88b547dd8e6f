//! Checks of how a rollout is judged.

use std::collections::BTreeSet;

use super::{finding::Findings, fleet::http_address, names};
use crate::{
    analysis::{
        BUILT_IN_TEMPLATES, METRIC_NAMES, Metric, MetricOnFailure, MetricSource, REQUEST_DURATION,
        REQUEST_SUCCESS_RATE, Range, Relative, TemplateRef,
    },
    document::{FieldPath, closest},
    duration::Dur,
    hooks::Hook,
    metric_template::{MetricSourceKind, MetricTemplateSpec, SecretKeyRef},
    number::{Num, Weight},
    query_template::{self, QueryError},
    rollout::RolloutSpec,
};

/// The shortest window: a window needs four scrapes, and none is scraped faster than once a second.
const MIN_WINDOW: Dur = Dur::from_secs(4);
const MIN_INTERVAL: Dur = Dur::from_secs(1);

pub(super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let analysis = &rollout.analysis;
    if analysis.interval < MIN_INTERVAL {
        findings.error(&path.key("interval"), "use at least 1s");
    }
    let at = path.key("metrics");
    if analysis.metrics.is_empty() {
        if !rollout.hooks.iter().any(Hook::decides) {
            findings.warn(
                &at,
                "no metrics are set (NothingConfigured): steps pass as soon as the pods are ready",
            );
        }
    } else if !analysis.metrics.iter().any(Metric::decides) {
        findings.warn(
            &at,
            "none of the metrics decides anything: every check is Unknown, and no weight rises \
             without a human",
        );
    }
    let full = takes_all_traffic(rollout);
    let mut seen = BTreeSet::new();
    for (index, metric) in analysis.metrics.iter().enumerate() {
        let at = at.index(index);
        one_metric(findings, &at, metric);
        if let Some(why) = uncounted(metric, analysis.min_requests) {
            findings.error(&at.key("minRequests"), why);
        }
        if full && metric.relative.is_some() {
            findings.warn(
                &at.key("relative"),
                "the plan reaches a weight of 100, where the old version has no requests to \
                 compare with: the metric is Unknown there",
            );
        }
        if !seen.insert(metric.key()) {
            findings.error(
                &at,
                format!("the metric {:?} stands here twice", metric.name),
            );
        }
    }
}

fn takes_all_traffic(rollout: &RolloutSpec) -> bool {
    let strategy = &rollout.strategy;
    strategy.blue_green.is_some()
        || strategy.canary.as_ref().is_some_and(|canary| {
            let linear = canary.step_weight.is_some()
                && canary
                    .max_weight
                    .is_none_or(|weight| weight == Weight::FULL);
            linear
                || canary.weights.contains(&Weight::FULL)
                || canary.steps.iter().any(|step| step.weight == Weight::FULL)
        })
}

fn one_metric(findings: &mut Findings, path: &FieldPath, metric: &Metric) {
    let built_in = METRIC_NAMES.contains(&metric.name.as_str());
    let asks = metric.template.is_some() || metric.query.is_some();
    if asks {
        names::name(findings, &path.key("name"), &metric.name);
    } else if !built_in {
        unknown_name(findings, &path.key("name"), &metric.name);
    }
    if let Some(template) = &metric.template {
        template_ref(findings, &path.key("template"), template);
        if metric.query.is_some() {
            findings.error(
                &path.key("query"),
                "exactly one of template and query may be set",
            );
        }
    }
    if let Some(query) = metric.query.as_ref().filter(|_| metric.template.is_none()) {
        let kind = kind_of(metric);
        if let Err(error) = query_template::check(kind, query, &metric.variables) {
            query_error(findings, &path.key("query"), &error);
        }
        unused_variables(findings, path, metric, kind, query);
    }
    if !metric.variables.is_empty() && !asks {
        findings.error(
            &path.key("variables"),
            "variables fill in a template or a query; neither is set",
        );
    }
    limits(findings, path, metric);
    if metric.window < MIN_WINDOW {
        findings.error(
            &path.key("window"),
            "use at least 4s: a window needs four scrapes",
        );
    }
    if metric.aggregation.is_some() && (metric.name != REQUEST_DURATION || asks) {
        let message = if metric.name == REQUEST_SUCCESS_RATE {
            format!(
                "{REQUEST_SUCCESS_RATE} is a share; an aggregation belongs to {REQUEST_DURATION}"
            )
        } else {
            format!("an aggregation belongs to the built-in {REQUEST_DURATION}")
        };
        findings.error(&path.key("aggregation"), message);
    }
    if let Some(source) = &metric.source {
        metric_source(findings, &path.key("source"), metric, source);
    }
}

fn unknown_name(findings: &mut Findings, path: &FieldPath, name: &str) {
    if BUILT_IN_TEMPLATES.contains(&name) {
        findings.error(
            path,
            format!("{name} is a template; write template: {{name: {name}}} beside the name"),
        );
        return;
    }
    let meant = closest(name, METRIC_NAMES).map(str::to_owned);
    let message = format!(
        "unknown metric {name:?}; use one of {}, or set template or query",
        METRIC_NAMES.join(", ")
    );
    findings.error_with(path, message, meant);
}

fn template_ref(findings: &mut Findings, path: &FieldPath, template: &TemplateRef) {
    names::name(findings, &path.key("name"), &template.name);
    if let Some(namespace) = &template.namespace {
        names::name(findings, &path.key("namespace"), namespace);
    }
}

fn kind_of(metric: &Metric) -> MetricSourceKind {
    metric
        .source
        .as_ref()
        .map_or(MetricSourceKind::Prometheus, |source| source.kind)
}

/// Says what is wrong with a query, with what was probably meant.
pub(super) fn query_error(findings: &mut Findings, path: &FieldPath, error: &QueryError) {
    let meant = match error {
        QueryError::Unknown { meant, .. } => meant.clone(),
        _ => None,
    };
    findings.error_with(path, error.to_string(), meant);
}

fn unused_variables(
    findings: &mut Findings,
    path: &FieldPath,
    metric: &Metric,
    kind: MetricSourceKind,
    query: &str,
) {
    let Ok(used) = query_template::variables_of(kind, query) else {
        return;
    };
    for name in metric.variables.keys().filter(|name| !used.contains(name)) {
        let meant = closest(name, used.iter().map(String::as_str)).map(str::to_owned);
        findings.error_with(
            &path.key("variables").key(name),
            "the query does not use this variable",
            meant,
        );
    }
}

fn limits(findings: &mut Findings, path: &FieldPath, metric: &Metric) {
    if metric.threshold.is_some() && metric.range.is_some() {
        findings.error(
            &path.key("threshold"),
            "exactly one of range and threshold may be set",
        );
    }
    let ignored = metric.on_failure == Some(MetricOnFailure::Ignore);
    if metric.limits().is_open() && metric.relative.is_none() && !ignored {
        findings.warn(
            path,
            format!(
                "{} has no limit: it is measured and shown, and decides nothing; set range",
                metric.name
            ),
        );
    }
    if let Some(limits) = &metric.range {
        range(findings, &path.key("range"), metric, limits);
    }
    if let Some(relative) = &metric.relative {
        relative_limit(findings, &path.key("relative"), metric, relative);
    }
}

fn range(findings: &mut Findings, path: &FieldPath, metric: &Metric, range: &Range) {
    let Range { min, max } = range;
    let (low, high) = (min.as_ref().map(Num::value), max.as_ref().map(Num::value));
    match (low, high) {
        (None, None) => findings.error(path, "set min, max or both"),
        (Some(low), Some(high)) if low > high => findings.error(
            path,
            format!("min {low} is above max {high}: nothing would pass"),
        ),
        _ => {}
    }
    if metric.name == REQUEST_SUCCESS_RATE && low.is_some_and(|low| low > 100.0) {
        findings.error(
            &path.key("min"),
            "a success rate is a percentage: at most 100",
        );
    }
    let asks = metric.template.is_some() || metric.query.is_some();
    if high.is_some_and(|high| high < 0.0) && !asks {
        findings.error(
            &path.key("max"),
            "no value of this metric is below 0: nothing would pass",
        );
    }
}

fn relative_limit(findings: &mut Findings, path: &FieldPath, metric: &Metric, relative: &Relative) {
    if relative.max.value() < 0.0 {
        findings.error(
            &path.key("max"),
            "a new version that must be better than the old one is not supported; use at least 0",
        );
    }
    if relative.better_when.is_none() && !METRIC_NAMES.contains(&metric.name.as_str()) {
        findings.error(
            &path.key("betterWhen"),
            format!(
                "say which way of {} is better: Lower or Higher",
                metric.name
            ),
        );
    }
    if kind_of(metric) == MetricSourceKind::Probe {
        findings.error(
            path,
            "a Probe asks the canary's pods alone; nothing is known of the old version",
        );
    }
}

fn metric_source(
    findings: &mut Findings,
    path: &FieldPath,
    metric: &Metric,
    source: &MetricSource,
) {
    let asks = metric.template.is_some() || metric.query.is_some();
    let kind = source.kind;
    if kind == MetricSourceKind::Probe {
        if source.address.is_some() {
            findings.error(
                &path.key("address"),
                "a Probe asks the canary's pods; it has no address",
            );
        }
        if source.secret_ref.is_some() {
            findings.error(&path.key("secretRef"), "a Probe sends no credentials");
        }
        if asks {
            findings.error(
                &path.key("type"),
                format!(
                    "a Probe takes no query; it measures {}",
                    METRIC_NAMES.join(", ")
                ),
            );
        }
        return;
    }
    if kind != MetricSourceKind::Prometheus && !asks {
        findings.error(
            &path.key("type"),
            format!(
                "{} is measured by Prometheus or by Probe; {kind:?} needs a template or a query",
                metric.name
            ),
        );
    }
    endpoint(
        findings,
        path,
        kind,
        source.address.as_deref(),
        source.secret_ref.as_ref(),
        metric.template.is_some(),
    );
}

/// Checks where a source is and what it is told of who asks. `inherits` = what is missing may stand
/// in the template.
pub(super) fn endpoint(
    findings: &mut Findings,
    path: &FieldPath,
    kind: MetricSourceKind,
    address: Option<&str>,
    secret: Option<&SecretKeyRef>,
    inherits: bool,
) {
    let at = path.key("address");
    match address {
        Some(address) => http_address(findings, &at, address),
        None if kind != MetricSourceKind::Prometheus && !inherits => {
            findings.error(&at, format!("{kind:?} needs an address"));
        }
        None if secret.is_some() => findings.error(
            &path.key("secretRef"),
            "a Secret is sent to the address beside it alone; set address too",
        ),
        None => {}
    }
    let needs_secret = matches!(
        kind,
        MetricSourceKind::Datadog | MetricSourceKind::CloudWatch
    );
    let at = path.key("secretRef");
    match secret {
        None if needs_secret && !inherits => {
            findings.error(
                &at,
                format!("{kind:?} answers nobody without keys; set secretRef"),
            );
        }
        Some(secret) => secret_ref(findings, &at, kind, secret),
        None => {}
    }
}

/// Checks the name of a Secret, and that its key is one that the source can use.
pub(super) fn secret_ref(
    findings: &mut Findings,
    path: &FieldPath,
    kind: MetricSourceKind,
    secret: &SecretKeyRef,
) {
    names::name(findings, &path.key("name"), &secret.name);
    let several = matches!(
        kind,
        MetricSourceKind::Datadog | MetricSourceKind::CloudWatch
    );
    match &secret.key {
        Some(_) if several => findings.error(
            &path.key("key"),
            format!("{kind:?} needs more than one key of the Secret; leave key out"),
        ),
        Some(key) if key.is_empty() || !key.chars().all(is_key_character) => findings.error(
            &path.key("key"),
            "a key of a Secret has letters, digits, -, _ and .",
        ),
        _ => {}
    }
}

const fn is_key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Tells why a metric whose query and source are known would never have the requests that it asks for:
/// only a Prometheus and a probe can count them. `inherited` is the analysis' own `minRequests`; `None` =
/// it has what it needs.
#[must_use]
pub fn uncounted(metric: &Metric, inherited: u32) -> Option<String> {
    let kind = kind_of(metric);
    let counts = matches!(kind, MetricSourceKind::Prometheus | MetricSourceKind::Probe);
    let wanted = metric.min_requests.unwrap_or(inherited);
    (!counts && wanted > 0).then(|| {
        format!(
            "nobody counts requests for a metric of {kind:?}: with minRequests {wanted} every check \
             of it would be Unknown; set minRequests: 0 on this metric"
        )
    })
}

/// Checks a metric together with the template that it names: what the metric sets wins. Returns the
/// metric as a release holds it, query and source filled in.
///
/// # Errors
///
/// What does not fit, in one sentence.
pub fn resolved(metric: &Metric, template: &MetricTemplateSpec) -> Result<Metric, QueryError> {
    let own = metric.source.as_ref();
    if let Some(kind) = own
        .map(|source| source.kind)
        .filter(|kind| *kind != template.kind)
    {
        return Err(QueryError::Syntax(format!(
            "it is a query of {:?}, and the metric's source is a {kind:?}",
            template.kind
        )));
    }
    query_template::check(template.kind, &template.query, &metric.variables)?;
    let used = query_template::variables_of(template.kind, &template.query)?;
    if let Some(unused) = metric.variables.keys().find(|name| !used.contains(name)) {
        return Err(QueryError::Unknown {
            name: unused.clone(),
            meant: closest(unused, used.iter().map(String::as_str))
                .map(|near| format!("variables.{near}")),
        });
    }
    // An address comes with its own Secret: neither is sent to where the other belongs.
    let (address, secret_ref) = match own.and_then(|source| source.address.clone()) {
        Some(address) => (
            Some(address),
            own.and_then(|source| source.secret_ref.clone()),
        ),
        None => (template.address.clone(), template.secret_ref.clone()),
    };
    Ok(Metric {
        query: Some(template.query.clone()),
        source: Some(MetricSource {
            kind: template.kind,
            address,
            secret_ref,
        }),
        ..metric.clone()
    })
}
