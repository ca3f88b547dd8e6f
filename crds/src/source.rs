//! Where a component's objects come from, when they are not written inline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secret::{HubSecretRef, ValuesFrom};

/// A Helm chart, rendered by the hub for each cluster that gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmSource {
    /// The chart's repository, `https://…` or `oci://…`. Exactly one of `repository` and `git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// A folder of a Git repository that holds the chart, its dependencies included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// The chart's name in the repository; only with `repository`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    /// Exact version, or a range such as `~1.2`; only with `repository`, and required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the chart sees as `.Release.Name`; absent = `<application>-<component>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_name: Option<String>,
    /// Values, laid over those of the chart. They are stored and shown as they are written: a
    /// password does not belong here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "values_schema")]
    pub values: Option<Value>,
    /// Values that secrets of the hub hold: each laid over those before it, all of them under
    /// `values`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_from: Vec<ValuesFrom>,
    /// Delivers the definitions of the chart's folder `crds`.
    #[serde(default = "yes", rename = "includeCRDs")]
    pub include_crds: bool,
    /// Runs the chart's hooks in the clusters; false leaves them out.
    #[serde(default = "yes")]
    pub hooks: bool,
    /// What a private repository is opened with: a secret that the hub keeps (docs/secrets.md). Only with
    /// `repository`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<HubSecretRef>,
}

/// Files of a Git repository: exactly one of `branch`, `tag`, `semver` and `commit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitSource {
    /// The repository: `https://…`, `ssh://USER@HOST/…` or `USER@HOST:PATH`.
    pub url: String,
    /// The newest commit of this branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit of this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The highest tag in this range, such as `^1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// This commit, by its whole hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The folder; absent = the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What a private repository is opened with: a secret that the hub keeps (docs/secrets.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<HubSecretRef>,
    /// Whose entry `known_hosts` says which SSH hosts are known; absent = the credentials' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts_ref: Option<HubSecretRef>,
}

/// Files of an OCI artifact: exactly one of `tag`, `semver` and `digest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciSource {
    /// The repository in its registry, `oci://…`.
    pub url: String,
    /// The artifact of this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The highest tag in this range, such as `^1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// This artifact, as `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The folder; absent = the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What a private registry is opened with: a secret that the hub keeps (docs/secrets.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<HubSecretRef>,
}

/// A kustomization, built by the hub. It uses what its source holds and nothing from elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KustomizeSource {
    /// A Git repository; `path` beside it names the folder. Exactly one of `git` and `oci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// An OCI artifact; `path` beside it names the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// The folder of the kustomization; absent = the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Images to replace, as kustomize writes them: `name`, `newName`, `newTag`, `digest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_schema")]
    pub images: Vec<Value>,
    /// Patches to make, as kustomize writes them: `patch`, `target`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "list_schema")]
    pub patches: Vec<Value>,
}

/// A renderer of the hub's own: a program that its operator registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSource {
    /// The name under which it is registered at the hub.
    pub name: String,
    /// What it is asked for, as its schema says. It is stored and shown as it is written: a password
    /// does not belong here. Absent = nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "values_schema")]
    pub params: Option<Value>,
}

/// What a component is made of, when the hub renders it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RenderedSource<'a> {
    /// A chart.
    Helm(&'a HelmSource),
    /// A folder of manifests in Git.
    Git(&'a GitSource),
    /// A folder of manifests in an OCI artifact.
    Oci(&'a OciSource),
    /// A kustomization.
    Kustomize(&'a KustomizeSource),
    /// What a program makes.
    Plugin(&'a PluginSource),
}

fn yes() -> bool {
    true
}

fn values_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn list_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}
