//! How the replicas of workloads are divided over the clusters of a release.
//!
//! What a division follows from is frozen in the release, so that no share moves because pods came and
//! went: weights, and what every cluster had free when it came in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use bellwether_api::{
    cluster::{FreeCapacity, PodRequests},
    division::{Division, DivisionMode},
};
use serde::{Deserialize, Serialize};

use super::{ClusterFacts, apportion::apportion};

/// What the replicas of a release are divided by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrozenDivision {
    /// As it was asked for.
    pub asked: Division,
    /// The clusters, sorted by name. Whoever is not among them gets nothing.
    pub clusters: Vec<DividedCluster>,
}

/// One cluster of a division.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DividedCluster {
    /// Its name.
    pub name: String,
    /// Its weight; of Static alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What it had free when it came in; absent = it is not known, or the division is Static.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<FreeCapacity>,
    /// Clusters of a lower number came in before it; 0 = it was there from the beginning.
    #[serde(default)]
    pub since: u32,
    /// Components of the release that it does not get.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without: BTreeSet<String>,
}

/// Why replicas cannot be divided yet.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DivisionError {
    /// Nothing is known of any cluster.
    #[error(
        "division {mode:?} waits until it is known of some chosen cluster what it has free: the agents \
         of {} have not said, or may not list pods, to which `register cluster --count-pods` lets them",
        clusters.join(", ")
    )]
    NotKnown {
        /// How it should be divided.
        mode: DivisionMode,
        /// The clusters.
        clusters: Vec<String>,
    },
    /// Every cluster has the weight 0.
    #[error(
        "failed to divide replicas: none of the chosen clusters {} has a weight above 0",
        clusters.join(", ")
    )]
    NoWeight {
        /// The clusters.
        clusters: Vec<String>,
    },
}

/// A workload whose replicas are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Divisible {
    /// All replicas.
    pub replicas: u32,
    /// What one of its pods asks for.
    pub pod: PodRequests,
}

/// Freezes what replicas are divided by. Clusters that `before` has keep what they came in with, if
/// the same was asked for. `without` says which components a cluster does not get.
///
/// # Errors
/// [`DivisionError`] when nobody could get anything.
pub fn freeze(
    asked: &Division,
    before: Option<&FrozenDivision>,
    clusters: &[ClusterFacts],
    without: impl Fn(&ClusterFacts) -> BTreeSet<String>,
) -> Result<FrozenDivision, DivisionError> {
    let before = before.filter(|before| before.asked == *asked);
    let known: BTreeMap<&str, &DividedCluster> = before
        .iter()
        .flat_map(|before| &before.clusters)
        .filter(|cluster| cluster.free.is_some())
        .map(|cluster| (cluster.name.as_str(), cluster))
        .collect();
    let next = known.values().map(|one| one.since + 1).max();
    let divided = clusters.iter().map(|cluster| {
        let kept = known.get(cluster.name.as_str());
        let properties = &cluster.scheduling.properties;
        let is_static = asked.mode == DivisionMode::Static;
        DividedCluster {
            name: cluster.name.clone(),
            weight: is_static.then(|| asked.weight(&cluster.name, &cluster.labels)),
            free: match kept {
                Some(kept) => kept.free,
                None if is_static => None,
                None => properties.nodes.as_ref().and_then(|nodes| nodes.free()),
            },
            since: match kept {
                Some(kept) => kept.since,
                None if is_static => 0,
                None => next.unwrap_or_default(),
            },
            without: without(cluster),
        }
    });
    let mut divided: Vec<DividedCluster> = divided.collect();
    divided.sort_by(|a, b| a.name.cmp(&b.name));
    let names = || divided.iter().map(|one| one.name.clone()).collect();
    if divided.iter().all(|one| one.weight == Some(0)) && !divided.is_empty() {
        return Err(DivisionError::NoWeight { clusters: names() });
    }
    if asked.mode != DivisionMode::Static && divided.iter().all(|one| one.free.is_none()) {
        return Err(DivisionError::NotKnown {
            mode: asked.mode,
            clusters: names(),
        });
    }
    Ok(FrozenDivision {
        asked: asked.clone(),
        clusters: divided,
    })
}

impl FrozenDivision {
    /// Returns what every cluster that has the component gets of a workload, by name. All together it
    /// is all of it, and nobody gets less when there is more to divide.
    #[must_use]
    pub fn shares(&self, component: &str, workload: Divisible) -> BTreeMap<&str, u32> {
        let having = |one: &&DividedCluster| !one.without.contains(component);
        let mut clusters: Vec<&DividedCluster> = self.clusters.iter().filter(having).collect();
        let shares = match self.asked.mode {
            DivisionMode::Static => by(&clusters, workload.replicas, |one| {
                u64::from(one.weight.unwrap_or_default())
            }),
            DivisionMode::Dynamic => by_room(&clusters, workload.replicas, workload.pod),
            DivisionMode::Aggregated => {
                clusters.sort_by_key(|one| {
                    let room = room(one, workload.pod);
                    let free = one.free.unwrap_or_default();
                    let most = Reverse((room, free.cpu_milli, free.memory_bytes));
                    (one.since, most, one.name.as_str())
                });
                one_after_the_other(&clusters, workload)
            }
        };
        let names = clusters.iter().map(|one| one.name.as_str());
        names.zip(shares).collect()
    }

    /// Returns what one cluster gets of a workload.
    #[must_use]
    pub fn share(&self, cluster: &str, component: &str, workload: Divisible) -> u32 {
        let shares = self.shares(component, workload);
        shares.get(cluster).copied().unwrap_or_default()
    }
}

/// Divides by weights. Clusters come in the order in which ties are decided.
fn by(
    clusters: &[&DividedCluster],
    replicas: u32,
    weight: impl Fn(&DividedCluster) -> u64,
) -> Vec<u32> {
    let weights: Vec<u64> = clusters.iter().map(|one| weight(one)).collect();
    apportion(replicas, &weights)
}

/// Divides by how many pods fit, and where none does, or pods ask for nothing, by what CPU is free.
/// As long as there is room, nobody gets more than fits: by as many as fit in all, everybody has
/// exactly what fits, and by less nobody has more.
fn by_room(clusters: &[&DividedCluster], replicas: u32, pod: PodRequests) -> Vec<u32> {
    let fits = |one: &DividedCluster| room(one, pod).unwrap_or_default();
    if pod == PodRequests::default() || clusters.iter().all(|one| fits(one) == 0) {
        return by(clusters, replicas, |one| {
            one.free.unwrap_or_default().cpu_milli
        });
    }
    by(clusters, replicas, fits)
}

/// Fills one cluster after the other; what fits nowhere is divided by what there is room for.
fn one_after_the_other(clusters: &[&DividedCluster], workload: Divisible) -> Vec<u32> {
    let mut left = workload.replicas;
    let mut shares = Vec::with_capacity(clusters.len());
    for one in clusters {
        let fits = room(one, workload.pod).unwrap_or_default();
        let share = left.min(u32::try_from(fits).unwrap_or(u32::MAX));
        left -= share;
        shares.push(share);
    }
    if left > 0 {
        let beyond = by_room(clusters, left, workload.pod);
        for (share, more) in shares.iter_mut().zip(beyond) {
            *share += more;
        }
    }
    shares
}

/// How many pods had room when the cluster came in; absent = it is not known.
fn room(cluster: &DividedCluster, pod: PodRequests) -> Option<u64> {
    let free = cluster.free?;
    let times = |free: u64, asked: u64| free.checked_div(asked).unwrap_or(u64::MAX);
    Some(times(free.cpu_milli, pod.cpu_milli).min(times(free.memory_bytes, pod.memory_bytes)))
}
