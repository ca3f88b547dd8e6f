use std::collections::BTreeSet;

use bellwether_api::{
    status::{Health, UnitOutcome, UnitStatus},
    strategy::Manual,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::state::{ReadingOutcome, RunState};
use crate::{
    dependencies::Awaited,
    plan::{Plan, PlannedCluster},
};

/// How long a cluster that is not heard still counts as fresh.
pub const FRESH_FOR: SignedDuration = SignedDuration::from_secs(45);

/// Everything that a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The time.
    pub now: Timestamp,
    /// What the run is.
    pub run: RunFacts,
    /// Its frozen plan.
    pub plan: &'a Plan,
    /// What was remembered.
    pub state: &'a RunState,
    /// What is known of every registered cluster that the run or the destination names.
    pub clusters: &'a [ClusterSeen],
    /// Clusters of the destination that the plan does not have: they joined later.
    pub joiners: &'a [PlannedCluster],
    /// What humans asked for and nobody answered, oldest first.
    pub actions: &'a [PendingAction],
    /// Set when a Rollout of the release says `suspend: true`.
    pub suspended_by_spec: bool,
    /// Rollouts of the release that were deleted and want the run finished, by name; empty = none.
    pub completes: &'a [String],
    /// What was answered to gates that wait; empty = nothing new.
    pub readings: &'a [Reading],
    /// What takes the run's place; absent = nothing does.
    pub supersession: Option<Supersession>,
}

/// What was answered to a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The index of the gate's wave.
    pub wave: usize,
    /// Whether the gate stands after the wave.
    pub after: bool,
    /// Its index on that side.
    pub index: usize,
    /// When it was answered.
    pub at: Timestamp,
    /// What.
    pub outcome: ReadingOutcome,
}

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// The run.
    pub id: Uuid,
    /// The revision of its release.
    pub revision: u64,
    /// Whether an earlier release succeeded, which late joiners and `RollbackAll` may go to.
    pub has_previous: bool,
}

/// What ends a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supersession {
    /// A newer release.
    Release {
        /// Its revision.
        revision: u64,
    },
    /// The Rollout of the release was deleted: what is under way goes back.
    RolloutDeleted,
    /// The application was deleted.
    ApplicationDeleted,
}

/// What is known of one cluster now.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterSeen {
    /// Its identity.
    pub id: Uuid,
    /// Whether it still belongs to the destination.
    pub member: bool,
    /// Whether its agent's stream is open at some hub.
    pub connected: bool,
    /// When a hub last heard from it; absent = never.
    pub last_heard: Option<Timestamp>,
    /// Digest (hex) of the bundle that its desired state names; absent = none.
    pub desired: Option<String>,
    /// What its agent reported last of the application; absent = nothing.
    pub status: Option<UnitStatus>,
    /// Why the release cannot be sent to it, though it may be heard; absent = it can.
    pub unrendered: Option<Unrendered>,
    /// Applications that must be healthy before the release is sent to it; empty = it waits for none.
    pub awaits: Vec<Awaited>,
    /// Whether the release that it has is none that the application keeps: it is one of an application of the
    /// same name that was deleted before, which its agent has yet to let go of. Nothing can go back to it.
    pub is_forgotten: bool,
}

/// Why a release is not sent to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrendered {
    /// They are being rendered.
    Pending,
    /// They cannot be rendered for this cluster, for this reason: it counts as one that cannot be
    /// reached.
    Failed(String),
    /// They are there, and what the cluster would lose by them takes somebody's word, for this reason: its wave waits
    /// for it.
    Held(String),
}

/// Whether a cluster can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its stream is open and it was heard lately.
    Fresh,
    /// It is silent, but not for long enough to mean anything.
    Silent {
        /// When it becomes unreachable.
        until: Timestamp,
    },
    /// Silent for longer than a beat may take, or never heard.
    Unreachable,
}

impl ClusterSeen {
    /// Notes whether the release that it has is one of `releases`, the digests of those that the application keeps.
    pub fn note_kept(&mut self, releases: &BTreeSet<String>) {
        let status = self.status.as_ref();
        let applied = status.and_then(|status| status.applied_release.as_ref());
        self.is_forgotten = applied.is_some_and(|applied| !releases.contains(applied));
    }

    /// Tells whether the cluster can be spoken to at `now`.
    #[must_use]
    pub fn reach(&self, now: Timestamp) -> Reach {
        let Some(last_heard) = self.last_heard else {
            return Reach::Unreachable;
        };
        let until = last_heard
            .saturating_add(FRESH_FOR)
            .unwrap_or(Timestamp::MAX);
        if until < now {
            Reach::Unreachable
        } else if self.connected {
            Reach::Fresh
        } else {
            Reach::Silent { until }
        }
    }

    /// Returns the status if it speaks of this very attempt of this very run and of the bundle
    /// that the cluster should have now; anything older proves nothing.
    ///
    /// Who could not read a bundle does not know whose it is: such a refusal names it by its digest
    /// alone, which no other attempt has.
    #[must_use]
    pub fn status_of(&self, run: Uuid, attempt: u32) -> Option<&UnitStatus> {
        self.status.as_ref().filter(|status| {
            let unread = status.run.is_nil() && status.outcome == UnitOutcome::Refused;
            (unread || status.run == run && status.attempt == attempt)
                && self.desired.as_deref() == Some(status.digest.as_str())
        })
    }

    /// Tells whether the cluster is still occupied with another run: a workload is between two
    /// versions there, or may be.
    ///
    /// `governed` says whether the application has Rollouts. Then a cluster must first have
    /// answered for what it was granted last, and a release that is being taken back plainly must
    /// end as well, or nobody could say what stable is. A first install that hangs gives way, and a release that
    /// runs as a whole: the next one may mend what it cannot delete.
    #[must_use]
    pub fn is_busy_elsewhere(&self, run: Uuid, governed: bool) -> bool {
        let Some(status) = &self.status else {
            return governed && self.desired.is_some();
        };
        let unanswered = self
            .desired
            .as_ref()
            .is_some_and(|desired| *desired != status.digest);
        let unfinished = match status.outcome {
            UnitOutcome::RollingBack => true,
            UnitOutcome::Progressing => {
                governed && status.applied_release.is_some() && !status.is_pruning()
                    || status
                        .rollouts
                        .iter()
                        .any(|track| !track.phase.is_terminal())
            }
            _ => false,
        };
        governed && unanswered || status.run != run && unfinished
    }

    /// Tells whether the attempt runs there as a whole, healthy, and was heard of lately.
    #[must_use]
    pub fn is_healthy(&self, now: Timestamp, run: Uuid, attempt: u32) -> bool {
        self.reach(now) == Reach::Fresh
            && self.status_of(run, attempt).is_some_and(|status| {
                status.outcome == UnitOutcome::Succeeded && status.health == Health::Healthy
            })
    }
}

/// What a human asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingAction {
    /// The action's identity.
    pub id: Uuid,
    /// What is asked for.
    pub kind: ActionKind,
    /// Name of the wave that is meant; absent = the run, or the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// The cluster that is meant; absent = the wave or the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Uuid>,
    /// The step that was seen, from 0; absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The release's revision that was seen; absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
    /// What [`ActionKind::SetWeight`] sets; absent for every other kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Manual>,
    /// The earlier release that [`ActionKind::Rollback`] of a wave or cluster names; absent = what each
    /// had before, and for every other kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NamedRelease>,
    /// Who.
    pub by: String,
    /// Why; empty when nothing was said.
    #[serde(default)]
    pub reason: String,
}

/// What became of looking for a release that somebody named by its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum NamedRelease {
    /// It can be gone back to.
    Found {
        /// Its revision.
        revision: u64,
        /// Digest of its content.
        digest: String,
    },
    /// It cannot.
    Missing {
        /// Why, for people.
        why: String,
    },
}

/// What a human can ask of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActionKind {
    /// Opens a waiting gate.
    Approve,
    /// Stops; weights stay.
    Suspend,
    /// Continues what was suspended, or else what paused after a failure.
    Resume,
    /// Skips all remaining steps and opens the gate that waits.
    Promote,
    /// Skips one step (`step` given or no cluster named) or one cluster.
    Skip,
    /// Leaves the run: traffic and pods go back.
    Abort,
    /// Tries what failed again.
    Retry,
    /// Sets weight and pods of canaries that are driven by hand.
    SetWeight,
    /// Takes one wave or cluster back to what it had, or to the release that is named. The whole run is ended by the release that is
    /// restored ([`crate::rollback`]).
    Rollback,
    /// Puts an ended run away, or a wave or cluster of it.
    Finish,
}

impl ActionKind {
    /// Every action, in the order of this page.
    pub const ALL: [Self; 10] = [
        Self::Approve,
        Self::Suspend,
        Self::Resume,
        Self::Promote,
        Self::Skip,
        Self::Abort,
        Self::Retry,
        Self::SetWeight,
        Self::Rollback,
        Self::Finish,
    ];

    /// Returns the action as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::SetWeight => "set-weight",
            Self::Rollback => "rollback",
            Self::Finish => "finish",
        }
    }
}

/// A text that is no action.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "failed to read {text:?} as an action; use approve, suspend, resume, promote, skip, abort, retry, set-weight, rollback or finish"
)]
pub struct ParseActionKindError {
    /// The text as it was given.
    pub text: String,
}

impl std::str::FromStr for ActionKind {
    type Err = ParseActionKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "pause" {
            return Ok(Self::Suspend);
        }
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| ParseActionKindError {
                text: text.to_owned(),
            })
    }
}
