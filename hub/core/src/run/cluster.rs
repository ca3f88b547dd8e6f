use bellwether_api::command::{Abort, Command, QueuedCommand};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::Stop;

/// What is remembered of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRun {
    /// The cluster's name when it was planned.
    pub name: String,
    /// Its wave; absent = it joined after the plan was frozen.
    pub wave: Option<usize>,
    /// Its phase.
    pub phase: ClusterPhase,
    /// The number of the last grant, from 1; 0 = none.
    pub attempt: u32,
    /// Digest of the release that it ran when it was granted; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Set while a human has stopped this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Stop>,
    /// Set while a human wants it back on what it had before; granted in its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_back: Option<Stop>,
    /// Digest of the earlier release that it is taken back to; absent = what it had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_back_to: Option<String>,
    /// Set while a human wants it tried again and it still goes back: it is, once it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Stop>,
    /// Why it is not granted: what it would lose takes somebody's word. Absent = it takes none, or its turn has not
    /// come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Ends the current attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// One-shot commands that the agent has not answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<QueuedCommand>,
    /// The command as it was last written; absent = none ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Command>,
}

impl ClusterRun {
    /// Makes the state of a cluster that was not granted.
    #[must_use]
    pub const fn new(name: String, wave: Option<usize>) -> Self {
        Self {
            name,
            wave,
            phase: ClusterPhase::Waiting,
            attempt: 0,
            previous: None,
            suspended: None,
            take_back: None,
            take_back_to: None,
            retry: None,
            abort: None,
            held: None,
            queue: Vec::new(),
            written: None,
        }
    }

    /// Returns the digest of the release that it is to be taken back to now; absent = it is not, or is
    /// under way.
    #[must_use]
    pub fn awaits_going_back(&self) -> Option<&str> {
        self.take_back.as_ref()?;
        match self.phase {
            ClusterPhase::Succeeded { .. } => {
                self.take_back_to.as_deref().or(self.previous.as_deref())
            }
            ClusterPhase::Failed { .. } | ClusterPhase::Reverted { .. } => {
                self.take_back_to.as_deref()
            }
            _ => None,
        }
    }

    /// Tells whether its failure counts: one that is tried again once it is back does not.
    #[must_use]
    pub const fn counts_as_failed(&self) -> bool {
        self.phase.has_failed() && self.retry.is_none()
    }
}

/// The phase of a cluster in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ClusterPhase {
    /// Not granted.
    Waiting,
    /// Granted; keeps its slot even when it is lost.
    Running {
        /// When it was granted.
        since: Timestamp,
    },
    /// Its attempt failed or was ended and it is going back; keeps its slot.
    Returning {
        /// Since when.
        since: Timestamp,
        /// Why, a CamelCase word.
        reason: String,
    },
    /// The release runs there.
    Succeeded {
        /// When that was known.
        at: Timestamp,
    },
    /// The attempt failed and the cluster is back on what it had.
    Failed {
        /// When that was known.
        at: Timestamp,
        /// Why, a CamelCase word.
        reason: String,
        /// Why, for people; may be empty.
        message: String,
    },
    /// A human counted it out.
    Skipped {
        /// When.
        at: Timestamp,
        /// Who.
        by: String,
        /// Why; empty when nothing was said.
        reason: String,
    },
    /// The release before was granted again because the run rolls everything back.
    Reverting {
        /// When it was granted.
        since: Timestamp,
    },
    /// It runs the release before again.
    Reverted {
        /// When that was known.
        at: Timestamp,
    },
    /// It joined before the first wave had passed and has the release before meanwhile.
    Parked {
        /// When that was granted.
        since: Timestamp,
    },
    /// A newer release took the run's place while it was under way here.
    Superseded {
        /// When.
        at: Timestamp,
    },
    /// It left the destination or the hub.
    Gone {
        /// When.
        at: Timestamp,
    },
}

impl ClusterPhase {
    /// Tells whether a slot of `maxConcurrent` is taken.
    #[must_use]
    pub const fn takes_slot(&self) -> bool {
        matches!(
            self,
            Self::Running { .. } | Self::Returning { .. } | Self::Reverting { .. }
        )
    }

    /// Tells whether the attempt failed, whether or not the cluster is back already.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        matches!(self, Self::Returning { .. } | Self::Failed { .. })
    }

    /// Tells whether the cluster is done for its wave without having failed. One that a human took
    /// back is.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. }
                | Self::Skipped { .. }
                | Self::Gone { .. }
                | Self::Reverted { .. }
        )
    }

    /// Returns when the phase began; absent = the cluster was never granted.
    #[must_use]
    pub const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting => None,
            Self::Running { since }
            | Self::Returning { since, .. }
            | Self::Reverting { since }
            | Self::Parked { since } => Some(*since),
            Self::Succeeded { at }
            | Self::Failed { at, .. }
            | Self::Skipped { at, .. }
            | Self::Reverted { at }
            | Self::Superseded { at }
            | Self::Gone { at } => Some(*at),
        }
    }
}
