//! What an application waits for before it is granted in a cluster, and applications that would wait
//! for each other.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    reference::NamespacedName,
    status::{Health, UnitOutcome},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::run::{ClusterSeen, Reach};

/// What is known of an application that others wait for.
#[derive(Clone, Copy, Debug)]
pub struct Dependency<'a> {
    /// The application.
    pub application: &'a NamespacedName,
    /// Every cluster that it is placed in, as it is seen there; absent = there is no such application.
    pub placed: Option<&'a [ClusterSeen]>,
}

/// An application that a cluster waits for before something else is granted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The application.
    pub application: NamespacedName,
    /// Why it is waited for, for people.
    pub why: String,
    /// In how many of its clusters it is healthy.
    pub healthy: usize,
    /// How many clusters it has.
    pub clusters: usize,
}

/// Says what a cluster waits for; absent = the dependency lets it go on. It does when it is healthy
/// there or, if it is not placed there, in every one of its clusters. Whatever is not known waits.
#[must_use]
pub fn awaited(now: Timestamp, dependency: Dependency<'_>, cluster: Uuid) -> Option<Awaited> {
    let placed = dependency.placed.unwrap_or_default();
    let healthy = healthy(now, placed);
    let here = placed.iter().find(|seen| seen.id == cluster);
    let why = match here {
        _ if dependency.placed.is_none() => "there is no such application".to_owned(),
        Some(seen) => trouble(now, seen)?,
        None if placed.is_empty() => "no cluster has it".to_owned(),
        None if healthy == placed.len() => return None,
        None => format!(
            "it is not placed here, and {healthy} of its {} clusters are healthy",
            placed.len()
        ),
    };
    Some(Awaited {
        application: dependency.application.clone(),
        why,
        healthy,
        clusters: placed.len(),
    })
}

/// Counts the clusters in which an application is known to be healthy as it was granted there last.
#[must_use]
pub fn healthy(now: Timestamp, seen: &[ClusterSeen]) -> usize {
    let well = |one: &&ClusterSeen| trouble(now, one).is_none();
    seen.iter().filter(well).count()
}

/// Why an application is not known to be healthy in a cluster as it was granted there last.
fn trouble(now: Timestamp, seen: &ClusterSeen) -> Option<String> {
    let Some(desired) = &seen.desired else {
        return Some("it was not granted here yet".to_owned());
    };
    if seen.reach(now) != Reach::Fresh {
        return Some("the cluster is not heard".to_owned());
    }
    let Some(status) = seen.status.as_ref().filter(|one| one.digest == *desired) else {
        return Some("the agent has not reported on it yet".to_owned());
    };
    let word = match status.outcome {
        UnitOutcome::Succeeded => {
            return (status.health != Health::Healthy)
                .then(|| format!("its health is {:?}", status.health));
        }
        UnitOutcome::Progressing => "its release is under way",
        UnitOutcome::RollingBack => "its release goes back",
        UnitOutcome::Failed => "its release failed",
        UnitOutcome::Refused => "its release was refused",
        UnitOutcome::Removing => "it is being removed",
    };
    Some(word.to_owned())
}

/// Which applications wait for which.
pub type Edges = BTreeMap<NamespacedName, Vec<NamespacedName>>;

/// Finds applications that wait for each other, one of them `from`: their names in the order in which
/// each waits for the next, `from` first and once more at the end. Absent = nobody that `from` waits
/// for waits for it.
#[must_use]
pub fn cycle(from: &NamespacedName, edges: &Edges) -> Option<Vec<NamespacedName>> {
    // By whom each was reached first, breadth first: the shortest circle is the one to read.
    let mut reached: BTreeMap<&NamespacedName, &NamespacedName> = BTreeMap::new();
    let mut front = vec![from];
    while !front.is_empty() {
        let mut next = Vec::new();
        for name in front {
            for after in edges.get(name).into_iter().flatten() {
                if after == from {
                    let mut path = vec![from.clone(), name.clone()];
                    let mut at = name;
                    while at != from {
                        at = reached[at];
                        path.push(at.clone());
                    }
                    path.reverse();
                    if name == from {
                        path.pop();
                    }
                    return Some(path);
                }
                if !reached.contains_key(after) {
                    reached.insert(after, name);
                    next.push(after);
                }
            }
        }
        front = next;
    }
    None
}

/// Everything that these applications wait for, and what that waits for, and so on.
#[must_use]
pub fn closure<'a>(
    of: impl Iterator<Item = &'a NamespacedName>,
    edges: &Edges,
) -> BTreeSet<NamespacedName> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&NamespacedName> = of.collect();
    while let Some(name) = open.pop() {
        for after in edges.get(name).into_iter().flatten() {
            if found.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
