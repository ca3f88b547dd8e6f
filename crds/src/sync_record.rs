//! SyncRecord: what the agent holds of its desired state, kept in the agent's namespace.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    chart_hook::ChartHookRecord,
    reference::ObjectRef,
    status::{RunEvent, TrackSummary, UnitOutcome},
    sync_policy::DeletionPolicy,
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
    /// Every object that the agent holds for this unit, recorded before it is first applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<HeldObject>,
    /// `objects` as base64 of zstd of their JSON, where they are many: `objects` is empty in the cluster
    /// then. Absent = `objects` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed_objects: Option<String>,
    /// The objects are being deleted. Set by a tombstone and cleared when all of them are gone: a
    /// bundle that is granted in between waits for that, and is then a first install.
    #[serde(default)]
    pub removing: bool,
    /// What becomes of the objects when the application goes, as the newest bundle says that was
    /// granted.
    #[serde(default, skip_serializing_if = "DeletionPolicy::is_default")]
    pub deletion: DeletionPolicy,
    /// The next event's number.
    #[serde(default)]
    pub next_event: u64,
    /// Events that the hub has not confirmed, oldest first; the newest 200. Where older ones were
    /// dropped, the first says how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<RunEvent>,
    /// How many events the first of `events` stands for, because they were dropped; 0 = it is one itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_events: u64,
    /// The finished runs' last summaries, kept for reports after their tracks are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished_rollouts: Vec<TrackSummary>,
    /// What others had changed of releases that ran, oldest first; the newest
    /// [`MAX_LIVE_STATES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live_states: Vec<KeptLiveState>,
    /// How far the events of each track were taken over into `events`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub track_cursors: Vec<TrackCursor>,
    /// How far the hooks of charts are, and what they have left.
    #[serde(default, skip_serializing_if = "ChartHookRecord::is_empty")]
    pub chart_hooks: ChartHookRecord,
    /// Which components of a bundle whose components wait for each other may be applied; absent = none
    /// was granted, or only what waits for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<OpenedComponents>,
    /// A snapshot lacked the unit and no tombstone named it: it is kept, reported, and left out of
    /// the root.
    #[serde(default)]
    pub orphan: bool,
}

/// Components whose turn has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenedComponents {
    /// Digest of the bundle.
    pub digest: String,
    /// Their names, sorted.
    pub components: Vec<String>,
}

/// Releases of which an agent keeps what others had changed, a unit.
pub const MAX_LIVE_STATES: usize = 10;

/// What others had changed of a release when the next one came in. Returning to the release brings
/// it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptLiveState {
    /// The release (hex SHA-256).
    pub release: String,
    /// Digest of the bundle that brought it.
    pub bundle: String,
    /// Digest of the stored list of the objects as they were.
    pub objects: String,
    /// Which fields differ, for people; the first ones.
    pub fields: Vec<String>,
}

/// One object that the agent holds for a unit.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct HeldObject {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; absent for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// `metadata.uid` of the object that was applied. Absent = not applied yet, or by an agent that
    /// did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How an object came to be held that the agent did not make; absent = the agent made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adoption>,
    /// The component that brought it last. Absent = not applied yet, or by an agent that did not record
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// That component said that what it made stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// What that component said becomes of it when the application or the component goes; absent = it said
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,
}

impl HeldObject {
    /// What names it.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Tells whether it has this name.
    #[must_use]
    pub fn is(&self, object: &ObjectRef) -> bool {
        self.name == object.name
            && self.kind == object.kind
            && self.namespace == object.namespace
            && self.api_version == object.api_version
    }
}

impl From<ObjectRef> for HeldObject {
    fn from(object: ObjectRef) -> Self {
        Self {
            api_version: object.api_version,
            kind: object.kind,
            namespace: object.namespace,
            name: object.name,
            uid: None,
            adopted: None,
            component: None,
            kept: false,
            deletion: None,
        }
    }
}

/// How an object came to be held that the agent did not make.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The release that took it over (hex SHA-256).
    pub release: String,
    /// The release's revision.
    pub revision: u64,
    /// Whether a release that has the object has run here as a whole since. Until then it is let go
    /// of, never deleted, when no release wants it any more.
    #[serde(default)]
    pub settled: bool,
    /// Digest of the stored list of objects as they were before; absent = it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originals: Option<String>,
    /// Digest of the pod template of a governed workload and the configuration that it uses, where both were
    /// there already as the release has them and pods ran with them: while a release has the same, its
    /// template bears no digest of its configuration. Absent = it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_found: Option<String>,
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

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn record_of_an_agent_that_kept_names_alone_is_read() {
        let unit: SyncUnit = serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": "d",
            "objects": [{"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web"}],
        }))
        .expect("it is still a unit");
        let named = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        assert_eq!(unit.objects, [HeldObject::from(named.clone())]);
        assert_eq!(unit.objects[0].object(), named);
        assert!(!unit.removing);
    }
}
