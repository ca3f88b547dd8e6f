use bellwether_api::{bundle::TooLarge, reference::NamespacedName};
use bellwether_hub_core::{
    allowance::Ask,
    overrides::OverrideError,
    placement::{DivisionError, PlacementError},
    plan::{MetricGateError, PlanError},
    release::{ReleaseError, TemplateError},
};
use bellwether_store::{StoreError, desired, leases::FenceError, releases, runs::SaveError};
use jiff::SignedDuration;
use uuid::Uuid;

/// How [`LoopError::Rendering`] begins: it is no failure.
pub const RENDERING: &str = "waits to release ";

/// Why one turn of a loop did not do all of its work.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The database failed.
    #[error("failed to reach the database")]
    Store(#[from] StoreError),
    /// Another hub decided first; the next turn looks again.
    #[error("failed to save: another hub decided first")]
    Conflict,
    /// The shard went to another hub.
    #[error("failed to save: the shard belongs to another hub now")]
    Fenced,
    /// A record or a state cannot be read back.
    #[error("failed to read the {what} of {application}")]
    Corrupt {
        /// What cannot be read.
        what: &'static str,
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The destination cannot be resolved.
    #[error("failed to place {application}")]
    Place {
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: PlacementError,
    },
    /// The records make no release.
    #[error("failed to release {application}")]
    Release {
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: Box<ReleaseError>,
    },
    /// A metric of a Rollout without an application names a template that cannot be used.
    #[error("failed to grant rollout {rollout}")]
    Template {
        /// The Rollout.
        rollout: NamespacedName,
        /// Why.
        #[source]
        source: Box<TemplateError>,
    },
    /// Replicas cannot be divided over the clusters.
    #[error("failed to divide the replicas of {application}")]
    Divide {
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: DivisionError,
    },
    /// The waves cannot be frozen.
    #[error("failed to plan {application}")]
    Plan {
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// A component's objects are on their way.
    #[error("{RENDERING}{application}: {what}")]
    Rendering {
        /// The application.
        application: NamespacedName,
        /// What is waited for.
        what: String,
    },
    /// A component has no objects.
    #[error("failed to render {application}: component {component:?}: {message}")]
    Unrendered {
        /// The application.
        application: NamespacedName,
        /// The component.
        component: String,
        /// Why.
        message: String,
    },
    /// The objects that were rendered do not pass the checks of written ones.
    #[error("failed to release {application}: what it renders is refused: {message}")]
    Refused {
        /// The application.
        application: NamespacedName,
        /// What is wrong.
        message: String,
    },
    /// A metric gate cannot be asked.
    #[error("failed to plan {application}")]
    Gate {
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: MetricGateError,
    },
    /// An override does not fit a cluster in which it holds.
    #[error("failed to make what cluster {name:?} gets of {application}")]
    Override {
        /// The application.
        application: NamespacedName,
        /// The cluster's identity.
        cluster: Uuid,
        /// The cluster's name.
        name: String,
        /// Why.
        #[source]
        source: Box<OverrideError>,
    },
    /// A rollout asks what the default provider of its fleet or of a cluster cannot do.
    #[error("failed to release {application}: rollout/{rollout}: {message}")]
    Traffic {
        /// The application.
        application: NamespacedName,
        /// The Rollout.
        rollout: String,
        /// What is asked of which provider.
        message: String,
    },
    /// A cluster would get more than its agent takes.
    #[error("failed to make what cluster {name:?} gets of {application}: TooLarge")]
    TooLarge {
        /// The application.
        application: NamespacedName,
        /// The cluster's identity.
        cluster: Uuid,
        /// The cluster's name.
        name: String,
        /// By how much.
        #[source]
        source: TooLarge,
    },
    /// Desired state was not written.
    #[error("failed to write desired state of {application}")]
    Desired {
        /// The application.
        application: NamespacedName,
        /// Why.
        #[source]
        source: desired::WriteError,
    },
    /// The release that a cluster shall go back to is gone.
    #[error("failed to take {application} back: its release {release} is no longer kept")]
    NoSuchRelease {
        /// The application.
        application: NamespacedName,
        /// Digest of the release, or what it is.
        release: String,
    },
    /// Too many clusters would lose the application at once.
    #[error(
        "failed to take {application} away from {leaving} of {holding} clusters at once; to allow it, set its \
         annotation {ask}"
    )]
    RemovalHeld {
        /// The application.
        application: NamespacedName,
        /// Clusters that would lose it.
        leaving: usize,
        /// Clusters that hold it.
        holding: usize,
        /// What allows it.
        ask: Box<Ask>,
    },
    /// One cluster would lose too many applications at once.
    #[error(
        "failed to take {application} away from cluster {cluster}: {leaving} of the {holding} \
         applications there would leave it at once; on each that may go, set the annotation {ask}"
    )]
    ClusterEmptied {
        /// The application.
        application: NamespacedName,
        /// The cluster's name.
        cluster: String,
        /// Applications that would leave it.
        leaving: usize,
        /// Applications that it holds.
        holding: usize,
        /// What allows this application to leave.
        ask: Box<Ask>,
    },
    /// A release would drop too many objects at once.
    #[error(
        "failed to release {application}: {dropped} of its {held} objects would be deleted at once{place}; \
         to allow it, set its annotation {ask}"
    )]
    PruneHeld {
        /// The application.
        application: NamespacedName,
        /// Objects that would go.
        dropped: usize,
        /// Objects that clusters may hold.
        held: usize,
        /// Where: empty = over all clusters, else ` in cluster NAME`.
        place: String,
        /// What allows it.
        ask: Box<Ask>,
    },
    /// Nobody can tell what a release would take away from a cluster.
    #[error(
        "failed to release {application}: what cluster {cluster} holds of it cannot be read, and nobody can tell \
         what would be deleted there; to release it all the same, set its annotation {ask}"
    )]
    HoldingUnknown {
        /// The application.
        application: NamespacedName,
        /// The cluster's name.
        cluster: String,
        /// What allows it.
        ask: Box<Ask>,
    },
}

impl LoopError {
    /// Tells whether this is part of several hubs working on one database, and nobody need look.
    #[must_use]
    pub const fn is_routine(&self) -> bool {
        matches!(self, Self::Conflict | Self::Fenced)
    }

    /// After how long it may be otherwise by itself; absent = something has to change.
    #[must_use]
    pub const fn retry_after(&self) -> Option<SignedDuration> {
        match self {
            Self::Rendering { .. } => Some(SignedDuration::from_millis(300)),
            Self::Unrendered { .. } => Some(SignedDuration::from_secs(30)),
            _ => None,
        }
    }

    /// The error with its causes, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl From<SaveError> for LoopError {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Conflict => Self::Conflict,
            SaveError::Store(source) => Self::Store(source),
        }
    }
}

impl From<FenceError> for LoopError {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::Lost { .. } => Self::Fenced,
            FenceError::Store(source) => Self::Store(source),
        }
    }
}

impl From<releases::CreateError> for LoopError {
    fn from(error: releases::CreateError) -> Self {
        match error {
            // Deleted since it was read: the next turn takes it away.
            releases::CreateError::UnknownApplication { .. } => Self::Conflict,
            releases::CreateError::Store(source) => Self::Store(source),
        }
    }
}
