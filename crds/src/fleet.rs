//! Fleet: a named set of clusters.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fleet_hook::FleetHook, metric_template::SecretKeyRef, number::IntOrPercent,
    reference::ApplicationRef, selector::Selector, traffic::Traffic,
};

/// A named set of clusters with defaults for what runs on them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "Fleet",
    plural = "fleets",
    shortname = "bwfleet",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// Members by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Members by label; with `clusters` the union of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Defaults for applications and rollouts.
    #[serde(default)]
    pub defaults: FleetDefaults,
    /// Applications that every member gets, beside those that their own destinations name. A member
    /// gets them before any other application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<ApplicationRef>,
    /// Who is told that a member was registered or detached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<FleetHook>,
}

/// Defaults for applications and rollouts of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetDefaults {
    /// Traffic provider of rollouts that name none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// Where metrics are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsDefaults>,
    /// Concurrency of applications without waves; 25% unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<IntOrPercent>,
}

/// Where metrics are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsDefaults {
    /// Base URL of a Prometheus, as agents reach it.
    pub address: String,
    /// A Secret in the agent's own namespace of the member cluster; absent = none. It is sent to
    /// `address` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// Whose series count the requests of Gateway API routes; Traefik unless set.
    #[serde(default, skip_serializing_if = "GatewaySeries::is_default")]
    pub gateway_series: GatewaySeries,
}

/// Whose series count the requests of Gateway API routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GatewaySeries {
    /// Traefik's.
    #[default]
    Traefik,
    /// Contour's Envoy.
    Contour,
    /// The application's own `http_request_duration_seconds`, by pod: for every other gateway.
    Application,
}

impl GatewaySeries {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
