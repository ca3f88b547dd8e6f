//! Checks of a rollout whose workload the hub does not deliver.

use super::{application, finding::Findings, manifests::Manifest};
use crate::{
    application::Destination, document::FieldPath, rollout::RolloutSpec, strategy::InstancesMode,
    traffic::Traffic,
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
    for (index, traffic) in rollout.traffic.iter().enumerate() {
        let at = path.key("traffic").index(index);
        for (field, message) in unsupported(traffic) {
            let at = field.split('.').fold(at.clone(), |at, key| at.key(key));
            findings.error(&at, message);
        }
    }
}

/// What traffic asks that is not there for workloads that the hub does not deliver: the field's keys, and
/// what is wrong.
fn unsupported(traffic: &Traffic) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    // The Service's name is of no account: only whether something would be copied.
    if let Some(copied) = traffic.copied("web") {
        let way_out = if traffic.app_mesh.is_some() {
            "use another provider"
        } else {
            "leave it out"
        };
        found.push((
            copied.field,
            format!(
                "no {} is copied for workloads that the hub does not deliver; {way_out}",
                copied.kind
            ),
        ));
    }
    if traffic.none.is_some() {
        found.push((
            "none",
            "shares by pods are not supported for workloads that the hub does not deliver; use a \
             provider that routes"
                .to_owned(),
        ));
    }
    found
}

/// What a rollout without an application cannot take from the default traffic of its fleet or its cluster,
/// one sentence each; empty = it can take all of it, or names its own.
#[must_use]
pub fn default_traffic_of_others(rollout: &RolloutSpec, default: &[Traffic]) -> Vec<String> {
    if !rollout.traffic.is_empty() || rollout.service.is_none() {
        return Vec::new();
    }
    default
        .iter()
        .flat_map(unsupported)
        .map(|(field, message)| format!("traffic has {field}: {message}"))
        .collect()
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
