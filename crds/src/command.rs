//! What humans and the hub tell a run: desired state, never a message that can fire twice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::strategy::Manual;

/// Commands that may wait at once; more are refused.
pub const MAX_QUEUED: usize = 16;

/// The commands for one application's run in one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// The run that is meant; a command for another run is stale.
    pub run: Uuid,
    /// The attempt that is meant.
    pub attempt: u32,
    /// Weights stay, timers and checks are ignored.
    #[serde(default)]
    pub suspend: bool,
    /// Ends the attempt: traffic and pods go back. Sticky; only a new attempt leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// Rollouts that were deleted with `onDeletion: Complete`, by name: their runs go on to the end
    /// without waiting for humans. In a track only its own Rollout; empty = none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complete: Vec<String>,
    /// One-shot commands, executed in order, each at most once; at most [`MAX_QUEUED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<QueuedCommand>,
}

/// Why an attempt is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// What ended it.
    pub cause: AbortCause,
    /// Who.
    pub by: String,
    /// Why, in the words of whoever said it; empty when nothing was said.
    #[serde(default)]
    pub reason: String,
}

/// What ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AbortCause {
    /// A human.
    Manual,
    /// A newer release.
    Superseded,
    /// The Rollout or its application was deleted.
    Deleted,
    /// Another cluster failed and the plan rolls everything back.
    RollbackAll,
}

/// A one-shot command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuedCommand {
    /// Rises with every command of the run; what was executed is remembered by it.
    pub id: u64,
    /// What to do.
    pub verb: Verb,
    /// The step that whoever said it saw, from 0; absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The release's revision that whoever said it saw.
    pub revision: u64,
    /// Who.
    pub by: String,
    /// Why; empty when nothing was said.
    #[serde(default)]
    pub reason: String,
    /// What [`Verb::SetWeight`] sets; absent for every other verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Manual>,
}

/// What a one-shot command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Opens the gate that the current step waits at.
    Approve,
    /// Skips all remaining steps and promotes.
    Promote,
    /// Skips the rest of the current step.
    Skip,
    /// Sets weight and pods of a canary that is driven by hand.
    SetWeight,
    /// Goes on with the step at which the run paused after a failure.
    Resume,
}

/// What became of a one-shot command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutedCommand {
    /// Where it came from.
    pub source: CommandSource,
    /// The command's id.
    pub id: u64,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// Why it was stale; empty when executed.
    #[serde(default)]
    pub message: String,
    /// The Rollout that answered, in reports of a whole application; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rollout: String,
}

/// Where a command came from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CommandSource {
    /// The hub.
    Hub,
    /// `spec.local` of the RolloutTrack, written by a human in the member cluster.
    Local,
}

/// What became of a one-shot command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CommandOutcome {
    /// It took effect.
    Executed,
    /// Run, step or revision had moved on; it did nothing.
    Stale,
}
