//! Objects and lists of them, and what applying did to them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// Where it comes from: the name of a Repository, or `CustomResource`; absent = from people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
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
