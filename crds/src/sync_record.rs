//! SyncRecord: what the agent holds of its desired state, kept in the agent's namespace.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    reference::ObjectRef,
    status::{RunEvent, TrackSummary, UnitOutcome},
};

/// One shard of what the agent holds. Units are spread over shards by their key, so that no object
/// nears the API server's size limit.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "SyncRecord",
    plural = "syncrecords",
    shortname = "bwsync",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct SyncRecordSpec {
    /// The incarnation of the hub's database that the generations belong to; 0 before the first.
    #[serde(default)]
    pub incarnation: u64,
    /// The highest generation that is stored (only meaningful in shard 0).
    #[serde(default)]
    pub generation: u64,
    /// The highest session epoch seen (only meaningful in shard 0); lower ones are refused.
    #[serde(default)]
    pub epoch: u64,
    /// The units of this shard, sorted by key.
    #[serde(default)]
    pub units: Vec<SyncUnit>,
}

/// What the agent holds of one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncUnit {
    /// The unit's key.
    pub key: String,
    /// The generation at which it last changed.
    pub generation: u64,
    /// Digest of the granted blob; absent = tombstone.
    pub digest: Option<String>,
    /// Digest of the bundle that was last finished as a whole; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_digest: Option<String>,
    /// Digest of the bundle whose rollouts are under way; absent = none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_digest: Option<String>,
    /// What became of `digest`; absent = not decided yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<UnitOutcome>,
    /// Why it failed; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// Digests of governed templates that failed here; held until they change or are retried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_templates: Vec<String>,
    /// Every object that the agent applied for this unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRef>,
    /// The next event's number.
    #[serde(default)]
    pub next_event: u64,
    /// Events that the hub has not confirmed, oldest first; the newest 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<RunEvent>,
    /// The finished runs' last summaries, kept for reports after their tracks are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished_rollouts: Vec<TrackSummary>,
    /// How far the events of each track were taken over into `events`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub track_cursors: Vec<TrackCursor>,
    /// A snapshot lacked the unit and no tombstone named it: it is kept, reported, and left out of
    /// the root.
    #[serde(default)]
    pub orphan: bool,
}

/// How far the events of one track were taken over into its unit's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackCursor {
    /// The Rollout's name.
    pub rollout: String,
    /// The run.
    pub run: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// The track's highest event that was taken over.
    pub seq: u64,
}
