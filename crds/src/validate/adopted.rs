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
    if rollout.strategy.batch.is_some() {
        findings.error(
            &path.key("strategy").key("batch"),
            "updates in place are not supported for workloads that the hub does not deliver; use \
             canary",
        );
    }
    for (index, traffic) in rollout.traffic.iter().enumerate() {
        let at = path.key("traffic").index(index);
        if let Some(copied) = traffic.copied("web") {
            let at = (copied.field.split('.')).fold(at.clone(), |path, key| path.key(key));
            let message = format!(
                "no {} is copied for workloads that the hub does not deliver; {}",
                copied.kind,
                if traffic.app_mesh.is_some() {
                    "use another provider"
                } else {
                    "leave it out"
                }
            );
            findings.error(&at, message);
        }
        if traffic.none.is_some() {
            findings.error(
                &at.key("none"),
                "shares by pods are not supported for workloads that the hub does not deliver; use a \
                 provider that routes",
            );
        }
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
