//! Which clusters get an application.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::Destination,
    fleet::{FleetSpec, MetricsDefaults},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
}

/// The clusters of an application, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The clusters; empty is accepted and shown as condition `NoClusters`.
    pub clusters: Vec<ClusterFacts>,
    /// Names that the destination lists and that no registered cluster bears.
    pub unknown_names: Vec<String>,
}

impl Placement {
    /// Returns the condition that people see; absent = nothing to say.
    #[must_use]
    pub fn condition(&self) -> Option<PlacementCondition> {
        if self.clusters.is_empty() {
            Some(PlacementCondition::NoClusters)
        } else if self.unknown_names.is_empty() {
            None
        } else {
            Some(PlacementCondition::UnknownClusters(
                self.unknown_names.clone(),
            ))
        }
    }
}

/// What people should know of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementCondition {
    /// Nothing matches.
    NoClusters,
    /// These names are not registered.
    UnknownClusters(Vec<String>),
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
    let fleet = fleet.filter(|_| fleet_name.is_some());
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let wanted = |cluster: &&ClusterFacts| {
        // Names are told apart faster than labels are matched.
        (names.is_empty() || names.contains(cluster.name.as_str()))
            && fleet.is_none_or(|fleet| is_member(fleet, cluster))
            && selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&cluster.labels))
    };
    let mut placed: Vec<ClusterFacts> = clusters.iter().filter(wanted).cloned().collect();
    placed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut unknown = names.clone();
    if !unknown.is_empty() {
        for cluster in clusters {
            unknown.remove(cluster.name.as_str());
        }
    }
    let unknown_names = unknown.into_iter().map(str::to_owned).collect();
    Ok(Placement {
        clusters: placed,
        unknown_names,
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
mod tests;
