//! What is told of runs: events, explanations, clusters, history.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ListMeta;
use crate::status::{Severity, WaitReason};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Rises with every event that the hub stores.
    pub id: u64,
    /// The event's number among those of its application in its cluster, from 0, without gaps.
    #[serde(default)]
    pub sequence: u64,
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
