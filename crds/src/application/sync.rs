//! How the agent keeps the objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::default_true;
use crate::{
    duration::Dur,
    sync_policy::{DeletionPolicy, IgnoreRule},
};

/// How the agent keeps the objects of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncPolicy {
    /// Nothing that is stored or that sources bring is released while it is set, and sources are not looked
    /// at. What runs stays as it is and is kept so, a run under way goes on, and whoever joins gets what
    /// runs; a rollback is a human's word, and made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How often sources are looked at for something new; 5m unless set. `0s` = never: the source is
    /// fetched when the component's source changes.
    #[serde(
        default = "default_interval",
        skip_serializing_if = "is_default_interval"
    )]
    pub interval: Dur,
    /// How long a component that no Rollout brings in may take to be healthy once it is applied; 10m unless
    /// set. Then the release has failed in that cluster, and what ran before comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Dur>,
    /// Deletes objects that a release no longer has, adopted ones included, once the release has
    /// succeeded.
    #[serde(default = "default_true")]
    pub prune: bool,
    /// What happens when somebody changes an object in the cluster.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Whether objects that exist already are taken over. When the release that took one over is
    /// taken back, the object gets back what it had and stays.
    #[serde(default)]
    pub adopt: AdoptPolicy,
    /// What becomes of the objects when the application is deleted, or leaves the cluster.
    #[serde(default, skip_serializing_if = "DeletionPolicy::is_default")]
    pub deletion: DeletionPolicy,
    /// Deletes an object and makes it anew where a release changes a field of it that cannot be
    /// changed. Never a PersistentVolumeClaim, PersistentVolume, Namespace or
    /// CustomResourceDefinition, nor a workload that a Rollout governs, nor what bears the annotation
    /// `bellwether.dev/protect: "true"`; nor anything that the agent did not make.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Fields that are left to whoever else writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

fn default_interval() -> Dur {
    Dur::from_secs(300)
}

// What was written before there were sources stays the same text, and the same release.
fn is_default_interval(interval: &Dur) -> bool {
    *interval == default_interval()
}

/// How long a component may take to be healthy where nobody says.
const DEFAULT_TIMEOUT_S: u64 = 600;

impl SyncPolicy {
    /// Returns how long a component may take to be healthy.
    #[must_use]
    pub fn timeout(&self) -> Dur {
        self.timeout.unwrap_or(Dur::from_secs(DEFAULT_TIMEOUT_S))
    }
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self {
            suspend: false,
            interval: default_interval(),
            timeout: None,
            prune: true,
            drift: DriftPolicy::default(),
            adopt: AdoptPolicy::default(),
            deletion: DeletionPolicy::default(),
            force: false,
            ignore: Vec::new(),
        }
    }
}

/// How the agent keeps the objects of one component, where it differs from the application's `sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentSync {
    /// As the application's `sync.interval`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Dur>,
    /// As the application's `sync.timeout`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Dur>,
    /// As the application's `sync.prune`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// As the application's `sync.drift`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftPolicy>,
    /// As the application's `sync.adopt`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptPolicy>,
    /// What becomes of the component's objects when the application is deleted or leaves the cluster, or when
    /// the component itself does; absent = the application's `sync.deletion` where the application goes, and
    /// `prune` where the component does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,
    /// As the application's `sync.force`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
    /// In the place of the application's `sync.ignore`, all of it; absent = that, empty = nothing is left to
    /// others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<IgnoreRule>>,
}

/// What happens when somebody changes an object in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is written back.
    #[default]
    Correct,
    /// It is shown and left.
    Report,
    /// Nothing.
    Off,
}

/// Whether objects that exist already are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptPolicy {
    /// Never.
    Never,
    /// When applying would change nothing.
    #[default]
    IfIdentical,
    /// Always.
    Always,
}
