//! DaemonSets with a copy beside them: what is read of both. A DaemonSet has no ReplicaSets: its versions
//! are its ControllerRevisions, and its pods say which of them they are of.

use bellwether_agent_core::{
    machine::CanaryView,
    names::REVISION_LABEL,
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use serde_json::Value;

use super::{
    in_place::is_ready,
    views::{self, controller_uid, count, counted, number},
};

const NODES: &str = "/status/desiredNumberScheduled";

/// The counts of a DaemonSet, by nodes; `template` says which version it carries, `revisions` are those
/// with its labels.
pub(super) fn workload(
    object: &Value,
    revisions: &[Value],
    template: TemplateVersion,
) -> DeploymentView {
    let uid = views::uid(object);
    let own = |one: &&Value| !uid.is_empty() && controller_uid(one) == uid;
    let newest = revisions.iter().filter(own).map(revision).max();
    DeploymentView {
        generation: number(object, "/metadata/generation"),
        observed_generation: number(object, "/status/observedGeneration"),
        replicas: count(object, NODES),
        total: count(object, "/status/currentNumberScheduled"),
        updated: count(object, "/status/updatedNumberScheduled"),
        ready: count(object, "/status/numberReady"),
        available: count(object, "/status/numberAvailable"),
        paused: views::text(object, "/spec/updateStrategy/type") == "OnDelete",
        revision: newest.map_or_else(String::new, |newest| newest.to_string()),
        template,
        update_takes: update_takes(object),
        unread: String::new(),
        uid,
    }
}

/// Pods that its controller stops before their successors are ready.
fn update_takes(object: &Value) -> u32 {
    let nodes = count(object, NODES);
    let budget = |field: &str| {
        views::sized(
            object,
            &format!("/spec/updateStrategy/rollingUpdate/{field}"),
        )
    };
    let surges = budget("maxSurge").map_or(0, |surge| surge.ceil_of(nodes));
    let takes = budget("maxUnavailable").map_or(1, |takes| takes.ceil_of(nodes));
    if surges > 0 { 0 } else { takes.min(nodes) }
}

fn revision(object: &Value) -> i64 {
    number(object, "/revision")
}

fn label_of(object: &Value) -> String {
    let mut labels = views::string_map(object, "/metadata/labels");
    labels.remove(REVISION_LABEL).unwrap_or_default()
}

pub(super) fn version(object: &Value, pods: &[Value]) -> ReplicaSetView {
    let (hash, owner) = (label_of(object), controller_uid(object));
    let of_it: Vec<&Value> = pods
        .iter()
        .filter(|pod| controller_uid(pod) == owner && label_of(pod) == hash)
        .filter(|pod| !hash.is_empty() && !views::is_deleting(pod))
        .collect();
    ReplicaSetView {
        name: views::name(object),
        revision: revision(object).to_string(),
        replicas: counted(of_it.len()),
        ready: counted(of_it.iter().filter(|pod| is_ready(pod)).count()),
        owner_uid: owner,
        hash,
    }
}

pub(super) fn copy(object: &Value, pods: &[Value]) -> CanaryView {
    let nodes = count(object, NODES);
    let updated = if nodes == 0 {
        // Told to stop them all, its controller counts none of those that still run.
        let left = pods.iter().filter(|pod| !views::is_deleting(pod)).count();
        counted(left)
    } else {
        count(object, "/status/updatedNumberScheduled")
    };
    CanaryView {
        replicas: nodes,
        generation: number(object, "/metadata/generation"),
        observed_generation: number(object, "/status/observedGeneration"),
        updated,
        ready: count(object, "/status/numberReady"),
        available: count(object, "/status/numberAvailable"),
        trouble: views::trouble(object, pods),
        labels: std::collections::BTreeSet::new(),
        deleting: views::is_deleting(object),
        unwritten: false,
    }
}

#[cfg(test)]
mod tests;
