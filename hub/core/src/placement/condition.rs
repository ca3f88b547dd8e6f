//! Who is placed, and what people should know of it.

use super::ClusterFacts;

/// The clusters of an application, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The clusters; empty is accepted and shown as condition `NoClusters`.
    pub clusters: Vec<ClusterFacts>,
    /// What people should know beside that; empty = nothing.
    pub(super) conditions: Vec<PlacementCondition>,
}

impl Placement {
    /// Returns the conditions that people see; empty = nothing to say.
    #[must_use]
    pub fn conditions(&self) -> Vec<PlacementCondition> {
        if self.clusters.is_empty() {
            let few = |one: &&PlacementCondition| !matches!(one, PlacementCondition::TooFew { .. });
            let others = self.conditions.iter().filter(few).cloned();
            return [PlacementCondition::NoClusters]
                .into_iter()
                .chain(others)
                .collect();
        }
        self.conditions.clone()
    }
}

/// What people should know of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementCondition {
    /// Nothing matches.
    NoClusters,
    /// These names are not registered.
    UnknownClusters(Vec<String>),
    /// Fewer clusters fit than the policy asks for.
    TooFew {
        /// Clusters that were chosen.
        chosen: usize,
        /// Clusters that the policy asks for.
        wanted: u32,
    },
    /// A group has fewer clusters than the policy asks for, and nobody moves for it.
    SpreadShort {
        /// The label that makes the groups.
        by: String,
        /// The groups, sorted.
        groups: Vec<String>,
        /// Clusters that each should have.
        min: u32,
    },
    /// These clusters are drained or silent and keep it, because there is no other for it.
    CannotMove(Vec<String>),
}

impl PlacementCondition {
    /// Returns the word for it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoClusters => "NoClusters",
            Self::UnknownClusters(_) => "UnknownClusters",
            Self::TooFew { .. } => "TooFewClusters",
            Self::SpreadShort { .. } => "SpreadShort",
            Self::CannotMove(_) => "CannotMove",
        }
    }

    /// Returns one sentence for people.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::NoClusters => {
                "no registered cluster matches the destination; it runs once one does".to_owned()
            }
            Self::UnknownClusters(names) => format!("not registered: {}", names.join(", ")),
            Self::TooFew { chosen, wanted } => format!(
                "{chosen} of {wanted} clusters fit; `bellwether explain placement` says why the \
                 others do not"
            ),
            Self::SpreadShort { by, groups, min } => format!(
                "fewer than {min} clusters with {by} {}; chosen clusters do not move for it",
                groups.join(", ")
            ),
            Self::CannotMove(names) => format!(
                "no other cluster can take it from {}, which it keeps",
                names.join(", ")
            ),
        }
    }
}
