//! Whether a workload stands still: one version, all of it there.

use serde::{Deserialize, Serialize};

/// Which pod template a workload carries, compared with the bundles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateVersion {
    /// The template of the bundle that was last finished.
    #[default]
    Old,
    /// The template of the granted bundle.
    New,
    /// Neither: somebody changed it.
    Other,
}

/// What matters of a Deployment, or of whatever else has a copy beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentView {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`; 0 = none.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `status.replicas`: pods of every version.
    pub total: u32,
    /// `status.updatedReplicas`.
    pub updated: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// `status.availableReplicas`.
    pub available: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// Annotation `deployment.kubernetes.io/revision`; empty = none.
    pub revision: String,
    /// Which template it carries.
    pub template: TemplateVersion,
    /// Ready pods that its own update to another template may stop before others are ready; 0 = none.
    pub update_takes: u32,
    /// Where its status lacks a count although pods of it are ready, so that the count is not known; empty =
    /// nowhere.
    pub unread: String,
}

/// What matters of a version of the workload: a ReplicaSet, a ControllerRevision and its pods, or the pods
/// that an adapter's label says are of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaSetView {
    /// The name.
    pub name: String,
    /// Label `pod-template-hash`, `controller-revision-hash`, or the one that an adapter names.
    pub hash: String,
    /// `uid` of its controller; empty = none.
    pub owner_uid: String,
    /// Annotation `deployment.kubernetes.io/revision`; empty = none.
    pub revision: String,
    /// The larger of `spec.replicas` and `status.replicas`.
    pub replicas: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
}

/// A workload that stands still.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// The `pod-template-hash` of all its pods.
    pub hash: String,
    /// The ReplicaSet.
    pub replica_set: String,
    /// Its pods.
    pub replicas: u32,
}

/// Why a workload does not stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// A CamelCase word.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Tells whether the workload stands still: its controller has seen its last change, one ReplicaSet
/// (owned by it, at its revision) has all the pods, and all of them are updated and available. A
/// workload scaled to 0 stands still when no ReplicaSet has pods. `paused` does not matter here.
///
/// # Errors
/// Says what is not so.
pub fn settled(
    workload: &DeploymentView,
    replica_sets: &[ReplicaSetView],
) -> Result<Settled, Unsettled> {
    let unsettled = |reason, message| Err(Unsettled { reason, message });
    if workload.observed_generation < workload.generation {
        return unsettled(
            "NotObserved",
            format!(
                "its controller has seen generation {} of {}",
                workload.observed_generation, workload.generation
            ),
        );
    }
    let owned = |set: &&ReplicaSetView| set.owner_uid == workload.uid;
    let with_pods: Vec<_> = replica_sets
        .iter()
        .filter(owned)
        .filter(|set| set.replicas > 0)
        .collect();
    if with_pods.len() > 1 {
        let names: Vec<_> = with_pods.iter().map(|set| set.name.as_str()).collect();
        return unsettled(
            "RollingUpdate",
            format!("more than one version has pods: {}", names.join(", ")),
        );
    }
    let current = replica_sets
        .iter()
        .filter(owned)
        .find(|set| set.revision == workload.revision);
    let Some(current) = current.filter(|set| !set.hash.is_empty()) else {
        return unsettled(
            "NoReplicaSet",
            format!(
                "no version is known of its revision {:?}",
                workload.revision
            ),
        );
    };
    if let Some(other) = with_pods.first().filter(|set| set.name != current.name) {
        return unsettled(
            "RollingUpdate",
            format!("{} still has the pods, not {}", other.name, current.name),
        );
    }
    if !workload.unread.is_empty() {
        return unsettled(
            "CountsUnknown",
            format!("pods are ready, and it has no count at {}", workload.unread),
        );
    }
    let counts = [
        ("PodsNotUpdated", "updated", workload.updated),
        ("PodsNotAvailable", "available", workload.available),
        ("OldPods", "there", workload.total),
    ];
    for (reason, what, count) in counts {
        if count != workload.replicas {
            return unsettled(
                reason,
                format!("{count} of {} pods are {what}", workload.replicas),
            );
        }
    }
    Ok(Settled {
        hash: current.hash.clone(),
        replica_set: current.name.clone(),
        replicas: workload.replicas,
    })
}

/// Tells whether every pod that the workload wants is of its template and available.
#[must_use]
pub fn is_whole(workload: &DeploymentView) -> bool {
    workload.updated.min(workload.available) >= workload.replicas
}

/// The version of the workload's template, whether it stands still or not; `None` = its controller has
/// made none yet.
#[must_use]
pub fn current(workload: &DeploymentView, replica_sets: &[ReplicaSetView]) -> Option<Settled> {
    let set = replica_sets.iter().find(|set| {
        set.owner_uid == workload.uid && set.revision == workload.revision && !set.hash.is_empty()
    })?;
    Some(Settled {
        hash: set.hash.clone(),
        replica_set: set.name.clone(),
        replicas: workload.replicas,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> DeploymentView {
        DeploymentView {
            uid: "u1".into(),
            generation: 3,
            observed_generation: 3,
            replicas: 5,
            total: 5,
            updated: 5,
            ready: 5,
            available: 5,
            revision: "2".into(),
            ..DeploymentView::default()
        }
    }

    fn set(name: &str, revision: &str, replicas: u32) -> ReplicaSetView {
        ReplicaSetView {
            name: name.into(),
            hash: format!("hash-{name}"),
            owner_uid: "u1".into(),
            revision: revision.into(),
            replicas,
            ready: replicas,
        }
    }

    #[test]
    fn one_version_that_is_all_there_is_settled() {
        let sets = [set("old", "1", 0), set("new", "2", 5)];
        let settled = settled(&workload(), &sets).expect("settled");
        assert_eq!((settled.hash.as_str(), settled.replicas), ("hash-new", 5));
    }

    #[test]
    fn foreign_replica_sets_do_not_count() {
        let mut foreign = set("foreign", "2", 3);
        foreign.owner_uid = "u2".into();
        assert!(settled(&workload(), &[foreign.clone(), set("new", "2", 5)]).is_ok());
        let missing = settled(&workload(), &[foreign]).expect_err("ours is missing");
        assert_eq!(missing.reason, "NoReplicaSet");
    }

    #[test]
    fn says_what_is_not_settled() {
        let sets = [set("new", "2", 5)];
        let cases: [(&str, DeploymentView, Vec<ReplicaSetView>); 6] = [
            (
                "NotObserved",
                DeploymentView {
                    observed_generation: 2,
                    ..workload()
                },
                sets.to_vec(),
            ),
            (
                "RollingUpdate",
                workload(),
                vec![set("old", "1", 1), set("new", "2", 5)],
            ),
            (
                "RollingUpdate",
                workload(),
                vec![set("old", "1", 5), set("new", "2", 0)],
            ),
            (
                "PodsNotUpdated",
                DeploymentView {
                    updated: 4,
                    ..workload()
                },
                sets.to_vec(),
            ),
            (
                "PodsNotAvailable",
                DeploymentView {
                    available: 4,
                    ..workload()
                },
                sets.to_vec(),
            ),
            (
                "OldPods",
                DeploymentView {
                    total: 6,
                    ..workload()
                },
                sets.to_vec(),
            ),
        ];
        for (reason, workload, sets) in cases {
            let unsettled = settled(&workload, &sets).expect_err(reason);
            assert_eq!(unsettled.reason, reason, "{}", unsettled.message);
        }
    }
}
