//! Checks of updates in place: which kinds can be, their batches, and what does not go with them.

mod split;

use std::collections::BTreeSet;

use super::{adapter_pointers::pointers, finding::Findings, manifests::Manifest, names};
use crate::{
    analysis::{BUILT_IN_TEMPLATES, Metric},
    document::FieldPath,
    metric_template::MetricSourceKind,
    number::IntOrPercent,
    rollout::{RolloutSpec, WorkloadRef},
    strategy::{Advance, Batch, BatchStep, Instances, Strategy},
    workload_adapter::WorkloadAdapter,
};

const WANTS_SPLIT: &str = "give every step but one of 100% a weight or a match, or use a query or a \
                           template of your own";

/// Checks that a workload of this kind can be updated in place, where the strategy asks for that.
pub(super) fn workload(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let workload = &rollout.workload;
    let known = workload.keeps_revisions() && workload.adapter.is_none();
    if known || rollout.strategy.batch.is_none() {
        return;
    }
    if is_deployment(workload) {
        findings.error(
            path,
            "a Deployment cannot hold pods back, so that it is not updated in place; use canary \
             with steps that name replicas",
        );
    } else if workload.adapter.is_none() && WorkloadAdapter::of(workload).is_none() {
        findings.error(
            path,
            format!(
                "nothing is known of how {} holds pods back; say where its partition is in \
                 workload.adapter",
                described(workload)
            ),
        );
    }
    let Some(adapter) = &workload.adapter else {
        return;
    };
    let path = path.key("adapter");
    if adapter.partition.is_none() {
        findings.error(
            &path.key("partition"),
            "a batch holds pods back by a partition; say where it is, or use canary, abTest or \
             blueGreen, which run a copy beside a kind that has none",
        );
    }
    pointers(findings, &path, adapter);
}

pub(super) fn is_deployment(workload: &WorkloadRef) -> bool {
    (workload.api_version.as_str(), workload.kind.as_str()) == ("apps/v1", "Deployment")
}

/// A workload as a sentence names it.
pub(super) fn described(workload: &WorkloadRef) -> String {
    let WorkloadRef {
        api_version,
        kind,
        name,
        ..
    } = workload;
    format!("{kind} {name} ({api_version})")
}

/// Checks the steps of a batch.
pub(super) fn batch(findings: &mut Findings, path: &FieldPath, plan: &Batch) {
    let at = path.key("steps");
    if plan.steps.is_empty() {
        findings.error(&at, "a batch has at least one step");
    }
    split::of_steps(findings, &at, &plan.steps);
    let mut seen = BTreeSet::new();
    let mut before = None;
    for (index, step) in plan.steps.iter().enumerate() {
        let at = at.index(index);
        if let Some(name) = &step.name {
            names::name(findings, &at.key("name"), name);
            if !seen.insert(name) {
                findings.error(&at.key("name"), format!("two steps are named {name:?}"));
            }
        }
        one_step(findings, &at, step);
        if let Some(pods) = step.pods() {
            let field = step.replicas.map_or("weight", |_| "replicas");
            not_falling(findings, &at.key(field), before, pods);
            before = Some(pods);
        }
    }
}

fn one_step(findings: &mut Findings, path: &FieldPath, step: &BatchStep) {
    let at = path.key("replicas");
    match step.pods() {
        None => findings.error(&at, "a batch is a number of pods; set replicas"),
        Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) => {
            findings.error(&at, "a batch has at least 1 pod");
        }
        Some(IntOrPercent::Percent(101..)) => findings.error(&at, "a share is at most 100%"),
        Some(_) => {}
    }
    let waits = step.advance == Some(Advance::After);
    match step.after {
        None if waits => findings.error(&path.key("advance"), "After needs a time; set after"),
        Some(_) if !waits => {
            findings.error(&path.key("after"), "after is used with advance: After only");
        }
        _ => {}
    }
}

/// Counts and shares are compared among themselves: how many pods a share is, nobody knows here.
fn not_falling(
    findings: &mut Findings,
    path: &FieldPath,
    before: Option<IntOrPercent>,
    replicas: IntOrPercent,
) {
    let falls = match (before, replicas) {
        (Some(IntOrPercent::Int(before)), IntOrPercent::Int(now)) => now < before,
        (Some(IntOrPercent::Percent(before)), IntOrPercent::Percent(now)) => now < before,
        _ => false,
    };
    if let Some(before) = before.filter(|_| falls) {
        findings.error(
            path,
            format!("steps count all new pods and do not fall; {replicas} follows {before}"),
        );
    }
}

/// Checks how many pods of a batch must be ready.
pub(super) fn ready_threshold(
    findings: &mut Findings,
    path: &FieldPath,
    instances: &Instances,
    strategy: &Strategy,
) {
    let Some(threshold) = instances.ready_threshold else {
        return;
    };
    if strategy.batch.is_none() {
        findings.error(
            path,
            "a copy counts once all its pods are ready; readyThreshold goes with strategy.batch",
        );
    } else if !matches!(threshold, IntOrPercent::Percent(1..=100)) {
        findings.error(path, "use a percentage of 1% to 100%");
    }
}

/// Checks what the rest of a plan asks for that an update in place does not have.
pub(super) fn rest(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let at = path.key("analysis").key("metrics");
    for (index, metric) in rollout.analysis.metrics.iter().enumerate() {
        let at = at.index(index);
        let why = if split::is_measured(rollout) {
            split::unmeasurable(metric)
        } else {
            unmeasurable(metric)
        };
        if let Some(message) = why {
            findings.error(&at, message);
        }
    }
}

/// Why nothing would be known of a metric of a plan that gives the new version no requests of its
/// own; `None` = it can be asked for.
fn unmeasurable(metric: &Metric) -> Option<String> {
    let probed = metric
        .source
        .as_ref()
        .is_some_and(|source| source.kind == MetricSourceKind::Probe);
    if probed {
        return Some(format!(
            "a Probe asks pods of the new version alone; {WANTS_SPLIT}"
        ));
    }
    if metric.relative.is_some() {
        return Some(
            "both versions have pods of one workload, which a comparison cannot tell apart; use \
             range"
                .to_owned(),
        );
    }
    built_in(metric).map(|_| {
        format!(
            "{} measures the new version's Service; {WANTS_SPLIT}",
            metric.name
        )
    })
}

/// The built-in metric or template that a metric is; `None` = it has a query of its own.
fn built_in(metric: &Metric) -> Option<&str> {
    match &metric.template {
        Some(template) => {
            Some(template.name.as_str()).filter(|name| BUILT_IN_TEMPLATES.contains(name))
        }
        None => metric.query.is_none().then_some(metric.name.as_str()),
    }
}

/// Checks the workload's manifest.
pub(super) fn governed(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    workload: &Manifest<'_>,
) {
    if rollout.strategy.batch.is_none() && !rollout.workload.keeps_revisions() {
        return;
    }
    let unfit =
        WorkloadAdapter::of(&rollout.workload).and_then(|known| known.unfit(workload.object));
    if let Some(why) = unfit {
        let message = format!("{} {}: {why}", workload.kind, workload.name);
        findings.error(path, message);
    }
}
