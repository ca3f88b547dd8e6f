//! Checks of rollouts without a batch, of which kinds a copy can run beside the workload, and what does not
//! go with one that an adapter tells of.

use serde_json::Value;

use super::{
    adapter_pointers::pointers,
    finding::Findings,
    in_place::{described, is_deployment},
    manifests::Manifest,
};
use crate::{
    adapted_copy::{AUTOSCALED_SIZE, unfit},
    document::FieldPath,
    rollout::{RolloutSpec, WorkloadRef},
    strategy::InstancesMode,
    workload_adapter::WorkloadAdapter,
};

/// What becomes of a size that an autoscaler sets elsewhere than where sizes are left to it.
pub(super) const SIZED_ELSEWHERE: &str = "only /spec/replicas is left to an autoscaler, and the release \
                                          would write it back";

/// Checks that a copy of this kind can be made, where the strategy asks for one.
pub(super) fn workload(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let workload = &rollout.workload;
    if rollout.strategy.batch.is_some() {
        return;
    }
    let copied = is_deployment(workload) || rollout.copies_daemon_set();
    let needs_none = copied || workload.keeps_revisions();
    match &workload.adapter {
        None if needs_none => {}
        None => findings.error(path, unknown(workload)),
        Some(_) if needs_none => findings.error(
            &path.key("adapter"),
            format!("a {} needs no adapter for this strategy; leave it out", workload.kind),
        ),
        Some(_) if workload.api_version.starts_with("apps/") => findings.error(
            path,
            format!(
                "{} cannot be told to stand still, whatever an adapter says; use strategy.batch, which \
                 updates it in place",
                described(workload)
            ),
        ),
        Some(adapter) if adapter.partition.is_some() => findings.error(
            &path.key("adapter").key("partition"),
            "a partition is for updates in place; use it with strategy.batch, or leave it out, so that a \
             copy runs beside the workload",
        ),
        Some(adapter) => of_copy(findings, &path.key("adapter"), workload, adapter),
    }
}

/// Why no copy of a kind can be made without an adapter.
fn unknown(workload: &WorkloadRef) -> String {
    let what = described(workload);
    if WorkloadAdapter::known(&workload.api_version, &workload.kind).is_some() {
        return format!(
            "nothing is known of a copy beside {what}; use strategy.batch, which updates it in place"
        );
    }
    format!(
        "nothing is known of a copy beside {what}; say in workload.adapter where it is paused, and by which \
         label its pods of two versions differ, or, for strategy.batch, where its partition is"
    )
}

/// Checks an adapter without a partition.
fn of_copy(
    findings: &mut Findings,
    path: &FieldPath,
    workload: &WorkloadRef,
    adapter: &WorkloadAdapter,
) {
    let what = described(workload);
    if adapter.paused.is_none() {
        findings.error(
            &path.key("paused"),
            format!(
                "{what} has no partition, and could not be held while its copy is tested; say where its \
                 controller is told to stand still"
            ),
        );
    }
    if adapter.revision_label.is_none() {
        findings.error(
            &path.key("revisionLabel"),
            format!(
                "its Services are kept to the pods of one version by a label; say which one differs \
                 between two versions of {what}"
            ),
        );
    }
    for (field, is_set) in [
        ("byOrdinal", adapter.by_ordinal),
        ("waitsForBrokenPods", adapter.waits_for_broken_pods),
    ] {
        if is_set {
            let message =
                "it is of updates in place, and this adapter has no partition; leave it out";
            findings.error(&path.key(field), message);
        }
    }
    pointers(findings, path, adapter);
}

/// Checks what a plan asks for that copies of such kinds do not have.
pub(super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let Some(adapter) = rollout.copy_adapter() else {
        return;
    };
    if rollout.destination.is_some() {
        findings.error(
            &path.key("workload").key("adapter"),
            "a copy beside a workload of such a kind that the hub does not deliver is not supported by \
             this version of Bellwether; name the application that delivers it, or use strategy.batch if \
             the kind has a partition",
        );
    }
    let instances = path.key("instances");
    if rollout.instances.mode == InstancesMode::FixedTotal {
        findings.error(
            &instances.key("mode"),
            "which pods the controller takes when it is given fewer, nobody knows of a kind that an \
             adapter tells of; use Surge",
        );
    }
    if rollout.instances.autoscaler.is_some() && adapter.replicas != AUTOSCALED_SIZE {
        findings.error(
            &instances.key("autoscaler"),
            format!("the size stands in {}; {SIZED_ELSEWHERE}", adapter.replicas),
        );
    }
}

/// Checks that the workload's manifest has what a copy is made of, and that its Services can be kept to
/// one version.
pub(super) fn governed(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    workload: &Manifest<'_>,
    manifests: &[Manifest<'_>],
) {
    let Some(adapter) = rollout.copy_adapter() else {
        return;
    };
    if let Some(why) = unfit(adapter, workload.object) {
        findings.error(path, format!("{} {}: {why}", workload.kind, workload.name));
    }
    let label = adapter.revision_label();
    let services = manifests.iter().filter(|manifest| {
        (manifest.group(), manifest.kind) == ("", "Service")
            && manifest.namespace == workload.namespace
            && selects_by(manifest, label, workload)
    });
    for service in services {
        let message = format!(
            "Service {} selects by {label} itself, which a run sets and takes away again; leave it out of \
             its selector",
            service.name
        );
        findings.error(&path.key("adapter").key("revisionLabel"), message);
    }
}

/// Whether a Service that may have the workload's pods asks for a value of the label.
fn selects_by(service: &Manifest<'_>, label: &str, workload: &Manifest<'_>) -> bool {
    let Some(selector) = service.at("/spec/selector").and_then(Value::as_object) else {
        return false;
    };
    let labels = workload.at("/spec/template/metadata/labels");
    // Labels that the template lacks may be the controller's.
    let may_have = |(key, value): (&String, &Value)| {
        let found = labels.and_then(|labels| labels.get(key));
        key == label || found.is_none_or(|found| found == value)
    };
    selector.contains_key(label) && selector.iter().all(may_have)
}
