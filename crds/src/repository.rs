//! Repository: a Git repository of records.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{application::AdoptPolicy, duration::Dur, source::GitSource};

/// A Git repository of records, which the hub keeps its own in step with.
///
/// Every document in the `.yaml`, `.yml` and `.json` files below `git.path` is applied, all of them or
/// none; what comes from there is changed there alone.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "Repository",
    plural = "repositories",
    shortname = "bwrepo",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    /// Where the records are.
    pub git: GitSource,
    /// How often the hub looks; 1m unless set, 10s at least.
    #[serde(default = "default_interval")]
    pub interval: Dur,
    /// Namespace of documents that name none; `default` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether records are taken over that exist already and came from elsewhere.
    #[serde(default)]
    pub adopt: AdoptPolicy,
    /// Deletes records that came from here and are gone here. Without it they stay, and are named.
    #[serde(default)]
    pub prune: bool,
    /// Looks no more; what came from here still is changed here alone.
    #[serde(default)]
    pub suspend: bool,
}

fn default_interval() -> Dur {
    Dur::from_secs(60)
}
