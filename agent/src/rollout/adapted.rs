//! Workloads of kinds that an adapter tells of, with a copy beside them: what is read of both. Their
//! versions are what the revision label says on their pods.

use std::collections::BTreeMap;

use bellwether_agent_core::{
    machine::CanaryView,
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::Value;

use super::{
    in_place::{self, is_ready, names},
    views::{self, count, counted, number},
};

/// The counts of a workload; `pods` are those that it selects, `template` says which version it carries.
pub(super) fn workload(
    object: &Value,
    adapter: &WorkloadAdapter,
    pods: &[Value],
    template: TemplateVersion,
) -> DeploymentView {
    let counts = in_place::workload(object, adapter, template);
    DeploymentView {
        updated: in_place::updated(object, adapter, running(object, pods)),
        // How its controller goes about an update, nobody knows.
        update_takes: counts.replicas,
        unread: unread(object, adapter, pods),
        ..counts
    }
}

/// Where the status lacks a count although pods are ready; empty = nowhere. A controller may leave a count of
/// none out, and none of its pods is counted so then.
fn unread(object: &Value, adapter: &WorkloadAdapter, pods: &[Value]) -> String {
    let counts = [&adapter.total, &adapter.ready, &adapter.available];
    let mut counts = counts.into_iter().chain(&adapter.updated);
    let lacks = |at: &&String| object.pointer(at).and_then(Value::as_u64).is_none();
    let lacking = counts.find(lacks).filter(|_| {
        let mut own = running(object, pods);
        own.any(is_ready)
    });
    lacking.cloned().unwrap_or_default()
}

/// The versions of a workload that have pods, and `stable`, the one that a run began with, for as long as
/// the template is of it. Pods without the label are of none, and are listed as one that has no label.
pub(super) fn versions(
    object: &Value,
    adapter: &WorkloadAdapter,
    pods: &[Value],
    stable: Option<&str>,
) -> Vec<ReplicaSetView> {
    let current = views::text(object, &adapter.revision);
    let mut by_label = BTreeMap::<String, Vec<&Value>>::new();
    for pod in running(object, pods) {
        let mut labels = views::string_map(pod, "/metadata/labels");
        let label = labels.remove(adapter.revision_label());
        by_label
            .entry(label.unwrap_or_default())
            .or_default()
            .push(pod);
    }
    // It has lost its pods, and gets them anew.
    if let Some(stable) = stable.filter(|stable| names(stable, &current)) {
        by_label.entry(stable.to_owned()).or_default();
    }
    let version = |(label, pods): (String, Vec<&Value>)| ReplicaSetView {
        name: if label.is_empty() {
            format!("pods without {}", adapter.revision_label())
        } else {
            label.clone()
        },
        revision: if names(&label, &current) {
            current.clone()
        } else {
            label.clone()
        },
        owner_uid: views::uid(object),
        replicas: counted(pods.len()),
        ready: counted(pods.iter().filter(|pod| is_ready(pod)).count()),
        hash: label,
    };
    by_label.into_iter().map(version).collect()
}

/// The copy of a workload; `pods` are the copy's.
pub(super) fn copy(object: &Value, adapter: &WorkloadAdapter, pods: &[Value]) -> CanaryView {
    let replicas = count(object, &adapter.replicas);
    let updated = if replicas == 0 {
        // Told to stop them all, its controller may not count those that still run.
        counted(running(object, pods).count())
    } else {
        in_place::updated(object, adapter, running(object, pods))
    };
    let label = |pod| views::string_map(pod, "/metadata/labels").remove(adapter.revision_label());
    CanaryView {
        replicas,
        generation: number(object, "/metadata/generation"),
        observed_generation: number(object, &adapter.observed_generation),
        updated,
        ready: count(object, &adapter.ready),
        available: count(object, &adapter.available),
        trouble: views::trouble(object, pods),
        labels: running(object, pods).filter_map(label).collect(),
        deleting: views::is_deleting(object),
        unwritten: false,
    }
}

/// Pods of a copy that is gone, but for those that stop or have ended.
pub(super) fn left(pods: &[Value]) -> u32 {
    let left = pods.iter().filter(|pod| runs(pod));
    counted(left.filter(|pod| !views::is_deleting(pod)).count())
}

/// Pods of a workload, but for those that stop or have ended.
fn running<'a>(object: &Value, pods: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    in_place::own_pods(object, pods).filter(|pod| runs(pod))
}

fn runs(pod: &Value) -> bool {
    let phase = views::text(pod, "/status/phase");
    !matches!(phase.as_str(), "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests;
