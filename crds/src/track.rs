//! RolloutTrack: one run of one governed workload in one cluster, kept in the workload's namespace.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    bundle::BundleMode,
    command::{Command, ExecutedCommand},
    reference::{NamespacedName, ObjectRef},
    rollout::RolloutSpec,
    status::{RunEvent, TrackSummary},
};

/// Keeps the track until traffic and pods are restored.
pub const RESTORE_FINALIZER: &str = "bellwether.dev/restore";

/// One run of one governed workload: the grant and what was commanded.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "RolloutTrack",
    plural = "rollouttracks",
    shortname = "bwtrack",
    namespaced,
    status = "RolloutTrackStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutTrackSpec {
    /// The application.
    pub application: NamespacedName,
    /// The release that is brought in (hex SHA-256).
    pub release: String,
    /// The release's revision.
    pub revision: u64,
    /// The run.
    pub run: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// The generation at which the hub granted it.
    pub generation: u64,
    /// How the release replaces the one before.
    pub mode: BundleMode,
    /// The workload.
    pub workload: ObjectRef,
    /// The plan, pinned at the grant.
    pub plan: RolloutSpec,
    /// What the hub commands.
    #[serde(default)]
    pub command: Command,
    /// What a human commands here, with or without the hub; its abort wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Command>,
}

/// What the agent alone writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutTrackStatus {
    /// Where the run stands, for people.
    pub summary: TrackSummary,
    /// The state machine's own state.
    #[schemars(schema_with = "state_schema")]
    pub state: serde_json::Value,
    /// One-shot commands that were answered; the newest 32.
    #[serde(default)]
    pub executed: Vec<ExecutedCommand>,
    /// Events, oldest first; the newest 200.
    #[serde(default)]
    pub events: Vec<RunEvent>,
}

fn state_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
