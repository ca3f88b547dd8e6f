//! Checks of Services of Knative, which are workload and route in one.

use super::{Findings, Provider, Traffic};
use crate::{
    analysis::{BUILT_IN_TEMPLATES, METRIC_NAMES},
    document::FieldPath,
    metric_template::MetricSourceKind,
    rollout::RolloutSpec,
    strategy::{Instances, Step},
};

const SIZED: &str = "Knative sizes each revision by its own requests; leave it out";
const ASKED: &str = "a revision has no Service that the agent could ask";

/// Checks that nothing splits beside the revisions.
pub(super) fn alone(findings: &mut Findings, at: &FieldPath, one: &Traffic, traffic: &[Traffic]) {
    if traffic.len() > 1 {
        findings.error(
            at,
            "a Service of Knative shares all of its requests itself; leave knative out, or the other \
             items",
        );
    }
    if one.namespace.is_some() {
        findings.error(
            at,
            "the route of Knative is the workload; leave namespace out",
        );
    }
    if !one.rules.is_empty() {
        findings.error(at, "a Service of Knative has no rules; leave rules out");
    }
}

/// Checks that the workload is one that keeps revisions.
pub(super) fn of_workload(findings: &mut Findings, at: &FieldPath, rollout: &RolloutSpec) {
    let workload = &rollout.workload;
    if !workload.keeps_revisions() {
        findings.error(
            at,
            format!(
                "knative shares requests between revisions of a Service of serving.knative.dev, and the \
                 workload is {} {} ({})",
                workload.kind, workload.name, workload.api_version
            ),
        );
    }
}

/// Checks what a rollout of a Service of Knative asks beside its weights.
pub(in super::super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    if !rollout.workload.keeps_revisions() {
        return;
    }
    let mut routes = rollout.traffic.iter().flat_map(Traffic::routes);
    if !routes.any(|route| route.provider == Provider::Knative) {
        findings.error(
            &path.key("traffic"),
            "a Service of Knative shares its requests itself; write `traffic: [{knative: {}}]`",
        );
    }
    if rollout.service.is_some() {
        findings.error(
            &path.key("service"),
            "a Service of Knative is what clients use; leave service out",
        );
    }
    if rollout.destination.is_some() {
        findings.error(
            &path.key("workload"),
            "Services of Knative that the hub does not deliver are not supported by this version of \
             Bellwether; let an application deliver it",
        );
    }
    sizes(findings, path, rollout);
    metrics(findings, &path.key("analysis").key("metrics"), rollout);
    for (index, hook) in rollout.hooks.iter().enumerate() {
        if hook.load().is_some_and(|load| load.url.is_none()) {
            let at = path.key("hooks").index(index).key("load");
            findings.error(&at, format!("{ASKED}; name a url"));
        }
    }
}

fn sizes(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let (strategy, at) = (&rollout.strategy, path.key("strategy"));
    if strategy.batch.is_some() {
        findings.error(
            &at.key("batch"),
            "no pod of a Service of Knative is updated: each revision has its own; use canary",
        );
    }
    if let Some(canary) = &strategy.canary {
        let at = at.key("canary");
        let sized = |step: &Step| step.replicas.is_some();
        for (index, _) in canary
            .steps
            .iter()
            .enumerate()
            .filter(|(_, one)| sized(one))
        {
            findings.error(&at.key("steps").index(index).key("replicas"), SIZED);
        }
        if canary
            .manual
            .is_some_and(|manual| manual.replicas.is_some())
        {
            findings.error(&at.key("manual").key("replicas"), SIZED);
        }
        if canary.step_weight_promotion.is_some() {
            findings.error(
                &at.key("stepWeightPromotion"),
                "the revision that was tested is the one that stays: no traffic returns; leave it out",
            );
        }
    }
    let blue_green = strategy.blue_green.as_ref();
    if blue_green.is_some_and(|plan| plan.replicas.is_some()) {
        findings.error(&at.key("blueGreen").key("replicas"), SIZED);
    }
    if rollout.instances != Instances::default() {
        findings.error(&path.key("instances"), SIZED);
    }
}

/// What is known of pods by the name of a copy is not known of a revision.
fn metrics(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    for (index, metric) in rollout.analysis.metrics.iter().enumerate() {
        let at = path.index(index);
        let source = metric.source.as_ref();
        if source.is_some_and(|source| source.kind == MetricSourceKind::Probe) {
            findings.error(&at, format!("{ASKED}; use another source than a Probe"));
        }
        let template = metric.template.as_ref();
        let of_pods = template
            .map(|template| template.name.as_str())
            .filter(|name| {
                let by_requests = METRIC_NAMES.contains(name) || BY_REQUESTS.contains(name);
                BUILT_IN_TEMPLATES.contains(name) && !by_requests
            });
        if let Some(name) = of_pods {
            findings.error(
                &at,
                format!(
                    "{name} knows pods by the name of a copy, and a revision is none; use a query or a \
                     template of your own"
                ),
            );
        }
    }
}

/// The built-in templates that count requests.
const BY_REQUESTS: [&str; 2] = [
    crate::analysis::NOT_FOUND_PERCENTAGE,
    crate::analysis::CLIENT_ERROR_PERCENTAGE,
];
