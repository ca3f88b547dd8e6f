//! Where applications are placed, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// Where an application is placed, and why not elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementView {
    /// The application.
    pub application: String,
    /// Its namespace.
    pub namespace: String,
    /// How many clusters are chosen.
    pub chosen: u32,
    /// How many `pick: N` asks for; absent = all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// Every cluster of the destination, by name.
    pub clusters: Vec<ClusterPlacement>,
    /// What people should know beside that; empty = nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What placement found of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlacement {
    /// The cluster.
    pub cluster: String,
    /// Whether it is chosen.
    pub chosen: bool,
    /// Whether it has the application now.
    pub has_it: bool,
    /// The first reason why it is chosen or not, in one sentence.
    pub why: String,
    /// What it scores, in the policy's order; empty = nothing is scored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<String>,
    /// Its groups, in the order of the policy's spread; empty = nothing is spread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What it gets of workloads whose replicas are divided, as `Deployment/web 3 of 10`, and by what;
    /// empty = nothing is divided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
}

/// What would change where if documents were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The applications that the documents concern, by namespace and name.
    pub applications: Vec<ApplicationPlan>,
    /// What is accepted and probably not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What would change where for one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationPlan {
    /// The application.
    pub application: String,
    /// Its namespace.
    pub namespace: String,
    /// The clusters that get, keep or lose it, by name.
    pub clusters: Vec<PlannedChange>,
    /// What people should know, such as NoClusters or that a brake holds; empty = nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What would change in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// The cluster.
    pub cluster: String,
    /// What would change.
    pub change: PlacementChange,
    /// Why, in one sentence.
    pub why: String,
    /// The wave in which a release reaches it; absent = none, or it loses the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// What it gets of workloads whose replicas are divided, as `Deployment/web 3 of 10`, and by what;
    /// empty = nothing is divided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
}

/// What would change in a cluster.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PlacementChange {
    /// It gets the application.
    Added,
    /// It keeps the application.
    Kept,
    /// It loses the application.
    Removed,
}

/// Closes a cluster for what is placed anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CordonRequest {
    /// Whether what is there moves away where placement has another cluster for it.
    #[serde(default)]
    pub drain: bool,
    /// Why; empty = nothing is said.
    #[serde(default)]
    pub reason: String,
}

/// What a drained cluster still has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainView {
    /// The cluster.
    pub cluster: String,
    /// Whether somebody drains it.
    pub draining: bool,
    /// The applications that it has, by namespace and name.
    pub applications: Vec<DrainedApplication>,
}

/// An application that a drained cluster has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainedApplication {
    /// The application.
    pub application: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether it moves away.
    pub moves: bool,
    /// What it waits for, or why it stays, in one sentence.
    pub why: String,
}
