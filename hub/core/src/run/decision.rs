use bellwether_api::{
    bundle::BundleMode,
    command::Command,
    status::{Severity, WaitReason},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::state::RunState;

/// What happens next; everything in it is saved in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What to remember; equal to the input's state when nothing happened.
    pub next: RunState,
    /// Bundles to write as desired state: each *is* the grant.
    pub grants: Vec<Grant>,
    /// Command units to write as desired state.
    pub commands: Vec<CommandChange>,
    /// Answers to actions, one for every action of the input.
    pub answered: Vec<AnsweredAction>,
    /// What happened.
    pub events: Vec<HubEvent>,
    /// What is waited for; never empty while the run is unfinished.
    pub waiting_on: Vec<WaitReason>,
    /// When time alone may change the decision; absent = it does not.
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    /// Tells whether there is anything to save.
    #[must_use]
    pub fn is_change(&self, before: &RunState) -> bool {
        self.next != *before
            || !self.grants.is_empty()
            || !self.commands.is_empty()
            || !self.answered.is_empty()
            || !self.events.is_empty()
    }
}

impl Decision {
    /// Tells whether a grant gives a cluster back what it had before the run. A release that somebody names need not
    /// have been there ever.
    #[must_use]
    pub fn is_return(&self, grant: &Grant) -> bool {
        let GrantRelease::Digest(digest) = &grant.release else {
            return false;
        };
        let cluster = self.next.clusters.get(&grant.cluster);
        cluster.is_some_and(|cluster| cluster.previous.as_ref() == Some(digest))
    }
}

/// The permission to one cluster to start one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The cluster.
    pub cluster: Uuid,
    /// The attempt, from 1; unique in the run and cluster.
    pub attempt: u32,
    /// How the release replaces what runs.
    pub mode: BundleMode,
    /// Which release.
    pub release: GrantRelease,
}

/// Which release a grant names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantRelease {
    /// The run's own.
    This,
    /// The one of that digest, which the cluster had before.
    Digest(String),
    /// The last one that succeeded before this run.
    LastSucceeded,
}

/// A command unit to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandChange {
    /// The cluster.
    pub cluster: Uuid,
    /// The unit's new content.
    pub command: Command,
}

/// The answer to one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredAction {
    /// The action.
    pub id: Uuid,
    /// What became of it.
    pub outcome: ActionOutcome,
    /// What it did, or why it did nothing.
    pub message: String,
    /// What it did in each cluster that it concerns, by name; empty = it concerns none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterAnswer>,
}

/// What an action did in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAnswer {
    /// The cluster's name.
    pub cluster: String,
    /// What became of it there.
    pub outcome: ActionOutcome,
    /// What it did there, or why it did nothing.
    pub message: String,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActionOutcome {
    /// It took effect, or was handed to the clusters that it concerns.
    Executed,
    /// Nothing waits for it any more.
    Stale,
    /// The release that was seen is not the one that runs.
    Conflict,
    /// It may not be done, or names what does not exist.
    Refused,
}

/// One thing that happened in the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubEvent {
    /// The cluster; absent = the run as a whole.
    pub cluster: Option<Uuid>,
    /// How bad it is.
    pub severity: Severity,
    /// A CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}
