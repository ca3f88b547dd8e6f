//! The checks that rollouts made, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Measurements of one application's rollouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementList {
    /// The measurements, oldest first; empty = none was heard since the hub started.
    pub items: Vec<Measurement>,
}

/// One metric in one check of one rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// When it was measured (RFC 3339).
    pub at: String,
    /// The cluster.
    pub cluster: String,
    /// The Rollout.
    pub rollout: String,
    /// The run.
    pub run: Uuid,
    /// The cluster's attempt at that run, from 1.
    pub attempt: u32,
    /// The step, from 0.
    pub step: u32,
    /// Percent of the traffic that the new version had.
    pub weight: u32,
    /// The metric.
    pub metric: String,
    /// What was measured; absent = no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What the old version showed over the same window, where both were measured: in A/B tests, and where a
    /// limit compares them; absent = it was not, or says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<f64>,
    /// What it is held against, as people read it; empty = nothing.
    pub limit: String,
    /// What came of it.
    pub verdict: String,
}
