//! Tokens, labels, versions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Takes a cluster's identity away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeRequest {
    /// Why; shown at the cluster. Empty when nothing is said.
    #[serde(default)]
    pub reason: String,
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
