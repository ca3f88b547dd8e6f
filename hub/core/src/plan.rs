//! The frozen plan of a release: which clusters in which wave, in which order, under which limits.

mod metric_gates;

use std::collections::BTreeMap;

use bellwether_api::{
    application::{Gate, OnFailure, UnreachablePolicy, Wave},
    duration::Dur,
    number::IntOrPercent,
    rollout::RolloutSpec,
    strategy::InstancesMode,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::placement::ClusterFacts;

pub use metric_gates::{MetricGateError, with_queries};

/// Name of the wave that brings the first release everywhere.
pub const INSTALL_WAVE: &str = "install";
/// Name of the wave that restores an earlier release everywhere.
pub const ROLLBACK_WAVE: &str = "rollback";
/// Name of the one wave of an application that writes none.
pub const ONLY_WAVE: &str = "all";
/// Concurrency of applications without waves whose fleet says nothing.
pub const DEFAULT_MAX_CONCURRENT: IntOrPercent = IntOrPercent::Percent(25);

/// How a release moves through the fleet; immutable once its run has started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Whether this is the first release: a plain install that ignores waves.
    pub install: bool,
    /// Whether an earlier release is restored: plainly and everywhere at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
    /// The waves in order; empty = no cluster at all.
    pub waves: Vec<PlannedWave>,
    /// What a failed wave does to the rest.
    pub on_failure: OnFailure,
    /// Whether the release has governed workloads.
    #[serde(default)]
    pub governed: bool,
    /// Rollouts whose weight a human sets; empty = the plan sets every weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<DrivenByHand>,
    /// Clusters of the destination that no wave takes, sorted by name; they get nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<PlannedCluster>,
    /// How many objects one cluster may lose by the release: what somebody's word allowed when it was made, 0 = what
    /// takes none. Absent = any number: a rollback is such a word itself. So it is in plans of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_lose: Option<usize>,
}

/// A Rollout whose weight a human sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrivenByHand {
    /// Its name.
    pub rollout: String,
    /// Whether its pods always follow the weight, because both versions share a fixed total.
    pub pods_follow: bool,
}

impl DrivenByHand {
    /// Reads a Rollout; absent when a human sets no weight of it.
    #[must_use]
    pub fn of(name: &str, spec: &RolloutSpec) -> Option<Self> {
        let canary = spec.strategy.canary.as_ref()?;
        (canary.manual.is_some() && !spec.analysis.skip).then(|| Self {
            rollout: name.to_owned(),
            pods_follow: spec.instances.mode == InstancesMode::FixedTotal,
        })
    }
}

/// One wave, limits resolved to counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWave {
    /// Unique within the plan.
    pub name: String,
    /// The clusters, sorted by name, which is the order of their grants; may be empty.
    pub clusters: Vec<PlannedCluster>,
    /// Clusters under way at once; at least 1.
    pub max_concurrent: u32,
    /// Clusters that may fail or stay unreachable while the wave still passes.
    pub max_failures: u32,
    /// What an unreachable cluster means.
    pub unreachable: UnreachablePolicy,
    /// How long the wave may be under way without a cluster that finishes; absent = for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Dur>,
    /// Gates before the first grant.
    pub before: Vec<Gate>,
    /// Gates after the last success.
    pub after: Vec<Gate>,
}

/// One cluster of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedCluster {
    /// Its name when the plan was frozen.
    pub name: String,
    /// Its identity.
    pub id: Uuid,
}

/// Why a plan cannot be frozen.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// A cluster belongs to two waves.
    #[error(
        "failed to plan: {} in waves {first:?} and {second:?}",
        describe(clusters)
    )]
    Overlap {
        /// The earlier wave.
        first: String,
        /// The later wave.
        second: String,
        /// Names of the clusters that both match, sorted.
        clusters: Vec<String>,
    },
    /// A wave that is not the last takes no cluster by name or label.
    #[error(
        "failed to plan: wave {wave:?} has no selector, clusters or percent; only the last may"
    )]
    OpenEnded {
        /// The wave.
        wave: String,
    },
}

fn describe(clusters: &[String]) -> String {
    match clusters {
        [only] => format!("cluster {only} is"),
        many => format!("clusters {} are", many.join(", ")),
    }
}

/// What a plan is frozen from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The application's waves; empty = one wave of every cluster.
    pub waves: &'a [Wave],
    /// The application's own choice; absent = Halt, without waves Continue.
    pub on_failure: Option<OnFailure>,
    /// The destination's clusters.
    pub clusters: &'a [ClusterFacts],
    /// The fleet's concurrency for applications without waves; absent = 25 %.
    pub fleet_max_concurrent: Option<IntOrPercent>,
    /// Whether no cluster ever finished a release of the application.
    pub install: bool,
    /// Whether the release has governed workloads.
    pub governed: bool,
    /// Rollouts of the release whose weight a human sets.
    pub by_hand: &'a [DrivenByHand],
    /// How many objects somebody allowed one cluster to lose by it; 0 = what takes no word.
    pub may_lose: usize,
}

/// Freezes membership, order and limits.
///
/// # Errors
/// [`PlanError`] names clusters that two waves match, and waves that match by nothing.
pub fn freeze(input: PlanInput<'_>) -> Result<Plan, PlanError> {
    // Overlaps are an error of the application whether or not this release uses its waves.
    let (members, left_out) = assign(input.waves, input.clusters)?;
    if input.install {
        return Ok(install(input));
    }
    if input.waves.is_empty() {
        return Ok(single(input));
    }
    let waves = input
        .waves
        .iter()
        .zip(members)
        .map(|(wave, clusters)| planned(wave, clusters));
    Ok(Plan {
        install: false,
        rollback: false,
        waves: waves.collect(),
        on_failure: input.on_failure.unwrap_or(OnFailure::Halt),
        governed: input.governed,
        by_hand: input.by_hand.to_vec(),
        left_out,
        may_lose: Some(input.may_lose),
    })
}

/// Splits clusters over waves; the second result is who belongs to none. Both sorted by name.
///
/// # Errors
/// [`PlanError`] as [`freeze`].
pub fn assign(
    waves: &[Wave],
    clusters: &[ClusterFacts],
) -> Result<(Vec<Vec<PlannedCluster>>, Vec<PlannedCluster>), PlanError> {
    let mut owner: BTreeMap<Uuid, usize> = BTreeMap::new();
    let mut shared: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let mut rest = None;
    for (index, wave) in waves.iter().enumerate() {
        if wave.takes_the_rest() {
            if index + 1 != waves.len() {
                return Err(PlanError::OpenEnded {
                    wave: wave.name.clone(),
                });
            }
            rest = Some(index);
            continue;
        }
        for cluster in clusters.iter().filter(|cluster| takes(wave, cluster)) {
            if let Some(first) = owner.insert(cluster.id, index) {
                shared
                    .entry((first, index))
                    .or_default()
                    .push(cluster.name.clone());
            }
        }
    }
    if let Some(((first, second), mut clusters)) = shared.pop_first() {
        clusters.sort();
        return Err(PlanError::Overlap {
            first: waves[first].name.clone(),
            second: waves[second].name.clone(),
            clusters,
        });
    }
    share_out(waves, clusters, &mut owner);
    let mut members = vec![Vec::new(); waves.len()];
    let mut left_out = Vec::new();
    for cluster in clusters {
        let planned = PlannedCluster {
            name: cluster.name.clone(),
            id: cluster.id,
        };
        match owner.get(&cluster.id).copied().or(rest) {
            Some(index) => members[index].push(planned),
            None => left_out.push(planned),
        }
    }
    members.iter_mut().for_each(|wave| wave.sort());
    left_out.sort();
    Ok((members, left_out))
}

/// Gives waves by share their clusters, of those that no wave takes by selector or name. The order is
/// that of a digest of each cluster's identity: whoever joins or leaves moves few of the others, and
/// names that sort alike do not all end up in the first wave.
fn share_out(waves: &[Wave], clusters: &[ClusterFacts], owner: &mut BTreeMap<Uuid, usize>) {
    let mut free: Vec<Uuid> = clusters
        .iter()
        .map(|cluster| cluster.id)
        .filter(|id| !owner.contains_key(id))
        .collect();
    free.sort_by_key(|id| <[u8; 32]>::from(Sha256::digest(id.as_bytes())));
    let mut free = free.into_iter();
    let total = u32::try_from(clusters.len()).unwrap_or(u32::MAX);
    for (index, wave) in waves.iter().enumerate() {
        let Some(percent) = wave.percent else {
            continue;
        };
        let wanted = IntOrPercent::Percent(percent.percent().into()).ceil_of(total);
        for id in free.by_ref().take(wanted as usize) {
            owner.insert(id, index);
        }
    }
}

fn takes(wave: &Wave, cluster: &ClusterFacts) -> bool {
    wave.clusters.contains(&cluster.name)
        || wave
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&cluster.labels))
}

fn planned(wave: &Wave, clusters: Vec<PlannedCluster>) -> PlannedWave {
    let total = count(&clusters);
    PlannedWave {
        name: wave.name.clone(),
        max_concurrent: wave
            .max_concurrent
            .map_or(1, |limit| limit.floor_of(total, 1)),
        max_failures: wave
            .max_failures
            .map_or(0, |limit| limit.floor_of(total, 0)),
        unreachable: wave.unreachable,
        progress_deadline: wave.progress_deadline,
        before: wave.before.clone(),
        after: wave.after.clone(),
        clusters,
    }
}

fn single(input: PlanInput<'_>) -> Plan {
    let clusters = sorted(input.clusters);
    let limit = input.fleet_max_concurrent.unwrap_or(DEFAULT_MAX_CONCURRENT);
    let wave = PlannedWave {
        name: ONLY_WAVE.to_owned(),
        max_concurrent: limit.floor_of(count(&clusters), 1),
        max_failures: 0,
        unreachable: UnreachablePolicy::Wait,
        progress_deadline: None,
        before: Vec::new(),
        after: Vec::new(),
        clusters,
    };
    Plan {
        install: false,
        rollback: false,
        waves: vec![wave],
        on_failure: input.on_failure.unwrap_or(OnFailure::Continue),
        governed: input.governed,
        by_hand: input.by_hand.to_vec(),
        left_out: Vec::new(),
        may_lose: Some(input.may_lose),
    }
}

/// Nothing runs yet, so there is nothing to protect by waves.
fn install(input: PlanInput<'_>) -> Plan {
    Plan {
        may_lose: Some(input.may_lose),
        ..at_once(INSTALL_WAVE, input.clusters, input.governed)
    }
}

/// Plans the way back to a release that ran before. No wave holds it up: whatever it replaces is
/// what somebody wants to be rid of.
#[must_use]
pub fn roll_back(clusters: &[ClusterFacts], governed: bool) -> Plan {
    Plan {
        install: false,
        rollback: true,
        ..at_once(ROLLBACK_WAVE, clusters, governed)
    }
}

/// Every reachable cluster at once, one cluster's failure stops no other, and whoever is away
/// catches up.
fn at_once(name: &str, clusters: &[ClusterFacts], governed: bool) -> Plan {
    let clusters = sorted(clusters);
    let wave = PlannedWave {
        name: name.to_owned(),
        max_concurrent: count(&clusters).max(1),
        max_failures: 0,
        unreachable: UnreachablePolicy::SkipAndCatchUp,
        progress_deadline: None,
        before: Vec::new(),
        after: Vec::new(),
        clusters,
    };
    Plan {
        install: true,
        rollback: false,
        waves: vec![wave],
        on_failure: OnFailure::Continue,
        governed,
        // There is no canary on such a way.
        by_hand: Vec::new(),
        left_out: Vec::new(),
        may_lose: None,
    }
}

fn sorted(clusters: &[ClusterFacts]) -> Vec<PlannedCluster> {
    let mut planned: Vec<PlannedCluster> = clusters
        .iter()
        .map(|cluster| PlannedCluster {
            name: cluster.name.clone(),
            id: cluster.id,
        })
        .collect();
    planned.sort();
    planned
}

fn count(clusters: &[PlannedCluster]) -> u32 {
    u32::try_from(clusters.len()).unwrap_or(u32::MAX)
}

impl Plan {
    /// Returns every planned cluster with the index of its wave, in order.
    pub fn clusters(&self) -> impl Iterator<Item = (usize, &PlannedCluster)> {
        self.waves
            .iter()
            .enumerate()
            .flat_map(|(index, wave)| wave.clusters.iter().map(move |cluster| (index, cluster)))
    }

    /// Tells whether clusters take the release plainly, without a canary.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.install || self.rollback
    }

    /// Returns the index of the wave of that name.
    #[must_use]
    pub fn wave_named(&self, name: &str) -> Option<usize> {
        self.waves.iter().position(|wave| wave.name == name)
    }
}

#[cfg(test)]
mod tests;
