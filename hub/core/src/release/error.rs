//! Why records make no release.

use super::TemplateError;

/// Why records make no release.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReleaseError {
    /// Two rollouts bear one name: an inline one and a record.
    #[error("failed to make a release: two rollouts are named {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two rollouts govern one workload.
    #[error("failed to make a release: {kind}/{workload} is governed by {first:?} and {second:?}")]
    GovernedTwice {
        /// The workload's kind.
        kind: String,
        /// The workload's name.
        workload: String,
        /// One rollout.
        first: String,
        /// The other.
        second: String,
    },
    /// No component renders the workload.
    #[error(
        "failed to make a release: rollout {rollout:?} governs {kind}/{workload}, which no component renders"
    )]
    NoSuchWorkload {
        /// The rollout.
        rollout: String,
        /// The workload's kind.
        kind: String,
        /// The workload's name.
        workload: String,
    },
    /// The named component does not exist.
    #[error(
        "failed to make a release: rollout {rollout:?} names component {component:?}, which does not exist"
    )]
    NoSuchComponent {
        /// The rollout.
        rollout: String,
        /// The component.
        component: String,
    },
    /// An override takes a governed workload away.
    #[error(
        "failed to make a release: override {name:?} removes {kind}/{workload}, which rollout \
         {rollout:?} governs; leave the clusters without it out of the destination, or write a \
         component for them"
    )]
    GovernedRemoved {
        /// The override.
        name: String,
        /// The workload's kind.
        kind: String,
        /// The workload's name.
        workload: String,
        /// The rollout.
        rollout: String,
    },
    /// A gate waits for verdicts that nobody gives.
    #[error(
        "failed to make a release: a gate of wave {wave:?} waits for checks that passed, and {lack}"
    )]
    NoVerdicts {
        /// The wave.
        wave: String,
        /// What is missing.
        lack: String,
    },
    /// A metric's template is missing or does not fit.
    #[error("failed to make a release: metric {metric:?} of rollout {rollout:?}")]
    Template {
        /// The rollout.
        rollout: String,
        /// The metric.
        metric: String,
        /// Why.
        #[source]
        source: Box<TemplateError>,
    },
}
