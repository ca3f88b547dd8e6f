//! Checks of a rollout whose workload the hub does not deliver.

use super::{application, finding::Findings, manifests::Manifest};
use crate::{
    application::Destination,
    document::FieldPath,
    rollout::{OnDeletion, RolloutSpec},
    strategy::InstancesMode,
};

pub(super) fn check(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    destination: &Destination,
) {
    application::destination(findings, &path.key("destination"), destination);
    if rollout.component.is_some() {
        findings.error(
            &path.key("component"),
            "leave it out: without an application there are no components",
        );
    }
    if rollout.workload.namespace.is_none() {
        findings.error(
            &path.key("workload").key("namespace"),
            "say where the workload lies: there is no application to tell",
        );
    }
    if rollout.instances.mode == InstancesMode::FixedTotal {
        findings.error(
            &path.key("instances").key("mode"),
            "FixedTotal is not supported for workloads that the hub does not deliver: their size \
             is whoever's who writes them; use Surge",
        );
    }
    if rollout.on_deletion == OnDeletion::Complete {
        findings.error(
            &path.key("onDeletion"),
            "Complete is not supported for workloads that the hub does not deliver; use Rollback",
        );
    }
}

/// Tells whether a rollout without an application governs a workload that a manifest renders.
#[must_use]
pub fn governs_same(rollout: &RolloutSpec, manifest: &Manifest<'_>) -> bool {
    let workload = &rollout.workload;
    let group = workload
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    workload
        .namespace
        .as_deref()
        .is_some_and(|namespace| manifest.is(group, &workload.kind, namespace, &workload.name))
}
