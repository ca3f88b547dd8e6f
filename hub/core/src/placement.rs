//! Which clusters get an application: [`place`] says whom its destination names, [`choose()`] whom of
//! them its policy takes, and why not the others.

mod affinity;
mod apportion;
mod choose;
mod condition;
mod division;
mod facts;
mod fit;
mod moving;
mod sentence;
mod spread;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{
    application::Destination,
    fleet::{FleetSpec, MetricsDefaults},
    selector::Selector,
    traffic::Traffic,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use choose::{Choice, Chosen, Standing, Verdict, WhyNot, choose, is_lost};
pub use condition::{Placement, PlacementCondition};
pub use division::{DividedCluster, Divisible, DivisionError, FrozenDivision, freeze};
pub use facts::{CordonMode, Properties, Scheduling};
pub use moving::runs;
pub use sentence::{group_texts, score_texts, sentence};

/// What placement needs to know of a registered cluster. Revoked clusters are not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFacts {
    /// The identity in its certificate.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its metrics are read; absent = where its fleet says.
    pub metrics: Option<MetricsDefaults>,
    /// Traffic provider of rollouts that name none; empty = as its fleet says.
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    /// What keeps applications away from it, and what they may ask of it. Not a part of what is
    /// written of the cluster.
    #[serde(skip)]
    pub scheduling: Arc<Scheduling>,
}

/// Why a destination cannot be resolved.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlacementError {
    /// The destination names nothing at all.
    #[error("failed to place: the destination names no fleet, no selector and no clusters")]
    Empty,
    /// The fleet does not exist.
    #[error("failed to place: there is no fleet {name:?}")]
    NoSuchFleet {
        /// The name as it was given.
        name: String,
    },
    /// A fleet that has it as an add-on, or may have, was written by a newer hub.
    #[error("failed to place: fleet {name:?} cannot be read by this version of the hub")]
    UnreadFleet {
        /// The fleet.
        name: String,
    },
}

/// Tells whether `cluster` is a member of `fleet`: by name or by label.
#[must_use]
pub fn is_member(fleet: &FleetSpec, cluster: &ClusterFacts) -> bool {
    fleet.clusters.contains(&cluster.name)
        || fleet
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&cluster.labels))
}

/// Whom a destination names.
struct Members<'a> {
    fleet: Option<&'a FleetSpec>,
    selector: Option<&'a Selector>,
    names: BTreeSet<&'a str>,
}

impl<'a> Members<'a> {
    fn of(
        destination: &'a Destination,
        fleet: Option<&'a FleetSpec>,
    ) -> Result<Self, PlacementError> {
        let Destination {
            fleet: fleet_name,
            selector,
            clusters: names,
        } = destination;
        if fleet_name.is_none() && selector.is_none() && names.is_empty() {
            return Err(PlacementError::Empty);
        }
        if let (Some(name), None) = (fleet_name, fleet) {
            return Err(PlacementError::NoSuchFleet { name: name.clone() });
        }
        Ok(Self {
            fleet: fleet.filter(|_| fleet_name.is_some()),
            selector: selector.as_ref(),
            names: names.iter().map(String::as_str).collect(),
        })
    }

    /// Tells whether everything that the destination names holds for the cluster.
    fn has(&self, cluster: &ClusterFacts) -> bool {
        // Names are told apart faster than labels are matched.
        (self.names.is_empty() || self.names.contains(cluster.name.as_str()))
            && self.fleet.is_none_or(|fleet| is_member(fleet, cluster))
            && self
                .selector
                .is_none_or(|selector| selector.matches(&cluster.labels))
    }

    /// What is to be said of names that nobody bears.
    fn unknown(&self, clusters: &[ClusterFacts]) -> Option<PlacementCondition> {
        let mut unknown = self.names.clone();
        if unknown.is_empty() {
            return None;
        }
        for cluster in clusters {
            unknown.remove(cluster.name.as_str());
        }
        let names: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
        (!names.is_empty()).then_some(PlacementCondition::UnknownClusters(names))
    }
}

/// Resolves `destination`: clusters for which everything that it names holds at once (member of
/// the fleet, matched by the selector, among the names), sorted by name.
///
/// `fleet` is the record that `destination.fleet` names, `None` when there is none.
///
/// # Errors
/// [`PlacementError`] when the destination is empty or its fleet does not exist.
pub fn place(
    destination: &Destination,
    fleet: Option<&FleetSpec>,
    clusters: &[ClusterFacts],
) -> Result<Placement, PlacementError> {
    let members = Members::of(destination, fleet)?;
    let mut placed: Vec<ClusterFacts> = clusters
        .iter()
        .filter(|cluster| members.has(cluster))
        .cloned()
        .collect();
    placed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Placement {
        clusters: placed,
        conditions: members.unknown(clusters).into_iter().collect(),
    })
}

/// What may be taken away from an application at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// These clusters lose it; may be empty.
    Allowed(Vec<Uuid>),
    /// Too many at once: nothing is taken away until somebody allows this many.
    Held {
        /// Clusters that would lose it.
        leaving: usize,
        /// Clusters that have it.
        holding: usize,
    },
}

/// Decides which clusters lose an application because its destination no longer has them.
///
/// `holding` has it now, `placed` should have it. More than max(1, 20 %) of `holding` at once is
/// held unless `allowance` covers the whole count.
#[must_use]
pub fn removal(
    holding: &BTreeSet<Uuid>,
    placed: &BTreeSet<Uuid>,
    allowance: Option<usize>,
) -> Removal {
    let leaving: Vec<Uuid> = holding.difference(placed).copied().collect();
    let budget = (holding.len() / 5).max(1);
    if leaving.len() > budget && allowance.is_none_or(|allowed| leaving.len() > allowed) {
        return Removal::Held {
            leaving: leaving.len(),
            holding: holding.len(),
        };
    }
    Removal::Allowed(leaving)
}

#[cfg(test)]
mod choose_properties;
#[cfg(test)]
mod choose_tests;
#[cfg(test)]
mod division_tests;
#[cfg(test)]
mod tests;
