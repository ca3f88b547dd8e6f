//! What the HTTP API takes and answers beside the kinds themselves.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::status::{Severity, WaitReason};

/// Bytes that a request body may have at most (4 MiB).
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// An object as the API shows it. Contents of Secrets are redacted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// `bellwether.dev/v1alpha1`.
    pub api_version: String,
    /// Cluster, Fleet, Application or Rollout.
    pub kind: String,
    /// Name and history.
    pub metadata: ItemMeta,
    /// What its user wrote, defaults filled in.
    #[serde(default)]
    pub spec: serde_json::Value,
    /// What the hub knows now; absent = nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<serde_json::Value>,
}

/// Name and history of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemMeta {
    /// The name.
    pub name: String,
    /// The namespace; absent for Cluster and Fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Never used twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uuid>,
    /// Changes with every write; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Rises with every change of the spec, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// For selection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When it was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
}

/// One page of objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemList {
    /// `bellwether.dev/v1alpha1`.
    pub api_version: String,
    /// The kind with `List` behind it.
    pub kind: String,
    /// Where the page stands.
    pub metadata: ListMeta,
    /// The objects, by namespace and name.
    pub items: Vec<Item>,
}

/// Where a page stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Give it back as `continue` for the next page; absent = this is the last.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub continue_: Option<String>,
}

/// Why a request failed (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A URI of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status' name.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence for people.
    pub detail: String,
    /// A CamelCase word for programs, such as `Invalid` or `Conflict`.
    pub code: String,
    /// The request's id, as in the hub's log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// What exactly is wrong; empty = `detail` says it all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemItem {
    /// The field, such as `spec.waves[1].selector`; empty = the whole document.
    pub path: String,
    /// The same as a JSON pointer into the document, such as `/spec/waves/1/selector`.
    pub pointer: String,
    /// The line in the request's body, from 1; 0 = unknown.
    #[serde(default)]
    pub line: u32,
    /// The column, from 1; 0 = unknown.
    #[serde(default)]
    pub column: u32,
    /// One sentence for people.
    pub detail: String,
    /// What was probably meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// A CamelCase word for programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
}

/// What `apply` did, all of it in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyResult {
    /// Nothing was stored: it was asked for with `dryRun=All`.
    #[serde(default)]
    pub dry_run: bool,
    /// The objects, in the order of the documents.
    pub objects: Vec<AppliedObject>,
    /// Things that are accepted and probably not meant.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedObject {
    /// The kind.
    pub kind: String,
    /// The namespace; absent for Cluster and Fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// `created`, `configured` or `unchanged`.
    pub result: String,
    /// The object's version afterwards.
    pub resource_version: String,
    /// The spec's generation afterwards.
    pub generation: u64,
}

/// A human's word on a run; stored, and never changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionRequest {
    /// What to do.
    #[serde(rename = "type")]
    pub verb: ActionVerb,
    /// Only this wave; absent = the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// Only this cluster; absent = every cluster that it can concern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The step that was seen, from 0; absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The revision that was seen; another one is a conflict. Absent = whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// What a human may say to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionVerb {
    /// Opens a waiting gate.
    Approve,
    /// Skips all remaining steps.
    Promote,
    /// Stops it where it is.
    Suspend,
    /// Lets it go on.
    Resume,
    /// Skips one step or one cluster.
    Skip,
    /// Leaves the run: everything goes back to what was before.
    Abort,
    /// Tries again what failed.
    Retry,
}

impl ActionVerb {
    /// Returns the word of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

/// A human's word on a run as it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionView {
    /// Its id.
    pub id: Uuid,
    /// The run that was meant.
    pub run: Uuid,
    /// The revision of that run.
    pub revision: u64,
    /// What was said.
    #[serde(flatten)]
    pub request: ActionFields,
    /// Who said it.
    pub by: String,
    /// When (RFC 3339).
    pub created_at: String,
    /// What became of it; absent = it is not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
}

/// The fields of an [`ActionRequest`] as they were stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionFields {
    /// What was said.
    #[serde(rename = "type")]
    pub verb: String,
    /// The wave; absent = the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// The cluster; absent = every cluster that it can concern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The step; absent = whichever was current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Rises with every event that the hub stores.
    pub id: u64,
    /// When it happened (RFC 3339).
    pub at: String,
    /// The application's namespace.
    pub namespace: String,
    /// The application.
    pub application: String,
    /// Where; absent = the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// How bad it is.
    pub severity: Severity,
    /// A CamelCase word.
    pub reason: String,
    /// What it is about, such as `Deployment/shop/web`; absent = the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A sentence for people.
    pub message: String,
}

/// One page of events, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// Where the page stands.
    pub metadata: ListMeta,
    /// The events.
    pub items: Vec<EventView>,
}

/// Why something does not move, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// One line: the state, the cause, and where.
    pub headline: String,
    /// Since when (RFC 3339); absent = unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What is waited for, most blocking first.
    pub because: Vec<WaitReason>,
    /// How many clusters queue behind it.
    pub queued: u32,
    /// What was checked and is not the cause.
    pub not_this: Vec<String>,
    /// Commands that end it, with their effect.
    pub do_one_of: Vec<Remedy>,
    /// What happens by itself; empty = nothing.
    pub by_itself: Vec<String>,
}

/// A command and its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remedy {
    /// As one types it.
    pub command: String,
    /// What it does.
    pub effect: String,
}

/// Asks for a token with which one cluster may enrol once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// The cluster's name.
    pub cluster: String,
    /// Labels that the cluster gets.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Base URL of a Prometheus as the cluster reaches it; absent = the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_address: Option<String>,
    /// How long the token may be used; 1h unless set, at most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<crate::duration::Dur>,
}

/// What a cluster needs to enrol. Shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinMaterial {
    /// The cluster's name.
    pub cluster: String,
    /// The token.
    pub token: String,
    /// SHA-256 (hex) of the hub's CA: how the agent knows the hub.
    pub ca_hash: String,
    /// Where agents reach the hub, `host:port`; never empty.
    pub addresses: Vec<String>,
    /// When the token ends (RFC 3339).
    pub expires_at: String,
}

/// Asks for a token with which a program may call the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// Who uses it; shown wherever it acts.
    pub name: String,
    /// `admin`, `editor` or `viewer`.
    pub role: String,
    /// The namespaces that it may touch; empty = all of them.
    #[serde(default)]
    pub namespaces: Vec<String>,
}

/// A token for the API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenView {
    /// Who uses it.
    pub name: String,
    /// `admin`, `editor` or `viewer`.
    pub role: String,
    /// The namespaces that it may touch; empty = all of them.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// The token itself; only in the answer to the request that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When it was made (RFC 3339).
    pub created_at: String,
}

/// The API's tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenList {
    /// By name.
    pub items: Vec<ApiTokenView>,
}

/// Changes labels: a value sets, null removes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequest {
    /// The labels that change.
    pub labels: BTreeMap<String, Option<String>>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// The hub's version.
    pub version: String,
    /// The kinds' `apiVersion`.
    pub api_version: String,
    /// Who is asking.
    pub principal: String,
}

/// What the hub knows of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// How many members there are.
    pub clusters: u32,
    /// Members that are connected and well.
    pub ready: u32,
    /// Members that report a fault, or whose identity was taken away.
    pub degraded: u32,
    /// Silent members and members that never connected.
    pub unknown: u32,
    /// The members by name.
    #[serde(default)]
    pub members: Vec<FleetMember>,
}

/// One member of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetMember {
    /// The cluster.
    pub name: String,
    /// How it is now.
    pub condition: crate::cluster::ClusterCondition,
    /// When it was last heard from (RFC 3339); absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
}

/// What the hub knows of an application, or of the application of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Where its newest run stands; absent = it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<crate::view::RunPhase>,
    /// Health over its clusters; the worst decides, a silent cluster is Unknown.
    pub health: crate::status::Health,
    /// The newest release's revision; 0 = none.
    #[serde(default)]
    pub revision: u64,
    /// What people call that release; may be empty.
    #[serde(default)]
    pub version: String,
    /// Clusters that run it as a whole.
    pub done: u32,
    /// Clusters that it goes to.
    pub total: u32,
    /// What a human should know, such as NoClusters.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A condition with the meaning of Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it says.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// An application in one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitView {
    /// The cluster.
    pub cluster: String,
    /// How the cluster is now.
    pub condition: crate::cluster::ClusterCondition,
    /// When it was last heard from (RFC 3339); absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Health there now; Unknown while the cluster is silent.
    pub health: crate::status::Health,
    /// What its agent reported last; absent = nothing yet. Old where the cluster is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<crate::status::UnitStatus>,
}

/// An application in its clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitList {
    /// By cluster.
    pub items: Vec<UnitView>,
}

/// Past runs of an application, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunList {
    /// The runs.
    pub items: Vec<crate::view::RunSummary>,
}
