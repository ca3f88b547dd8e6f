//! Application: what runs where, and in which waves a new release moves through the fleet.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    analysis::{Range, TemplateRef},
    duration::Dur,
    health_rule::HealthRule,
    number::{IntOrPercent, Weight},
    overrides::Override,
    placement::PlacementPolicy,
    reference::ApplicationRef,
    rollout::RolloutSpec,
    secret::HubSecretKeyRef,
    selector::Selector,
    source::{GitSource, HelmSource, KustomizeSource, OciSource, RenderedSource},
    sync_policy::{DeletionPolicy, IgnoreRule},
};

/// What runs on which clusters, and in which waves a new release reaches them.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "Application",
    plural = "applications",
    shortname = "bwapp",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSpec {
    /// Which clusters get it.
    pub destination: Destination,
    /// How it chooses among them; absent = all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementPolicy>,
    /// Namespace for objects that name none; `default` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// Creates the target namespace where it is missing.
    #[serde(default = "default_true")]
    pub create_namespace: bool,
    /// The parts, each from one source.
    pub components: Vec<Component>,
    /// What differs from cluster to cluster, applied in this order: later wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// How the agent keeps the objects.
    #[serde(default)]
    pub sync: SyncPolicy,
    /// Applications that come first: it is granted in a cluster once they are healthy there, or, where
    /// one is not placed there, in every cluster that it is placed in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<ApplicationRef>,
    /// How a release moves through the fleet; empty = one wave of every cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// What a failed wave does to the rest; Halt, without waves Continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Names what is published. A change of the application while this stays is stored as a draft
    /// and not rolled; changing it rolls. Absent = every change rolls. The annotation
    /// `app.oam.dev/publishVersion` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_version: Option<String>,
    /// How many releases are kept; 10 unless set.
    #[serde(default = "default_history_limit")]
    pub history_limit: u32,
}

fn default_true() -> bool {
    true
}

fn default_history_limit() -> u32 {
    10
}

/// Which clusters get an application; at least one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// Members of this fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Clusters whose labels match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Clusters by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// One part of an application: exactly one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Unique within the application.
    pub name: String,
    /// Namespace for objects that name none; absent = the application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// Objects, inline. `bellwether apply` fills them from a directory when it is given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "objects_schema")]
    pub manifests: Option<Vec<serde_json::Value>>,
    /// A Helm chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmSource>,
    /// A folder of manifests in a Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// A folder of manifests in an OCI artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizeSource>,
    /// When objects of custom kinds of the component are healthy; empty = by their conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
    /// Those of the application's clusters that get it; absent = all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// What differs from cluster to cluster, after the application's overrides: these win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// How the agent keeps its objects; what is set wins over the application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<ComponentSync>,
    /// Components of the application that come first: its objects are applied once theirs are healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How the component's workload changes; `application` and `component` are left out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
}

impl ApplicationSpec {
    /// Returns the fleets that its destinations name, those of components included.
    pub fn fleets(&self) -> impl Iterator<Item = &str> {
        let components = self.components.iter();
        let own = components.filter_map(|component| component.destination.as_ref());
        std::iter::once(&self.destination)
            .chain(own)
            .filter_map(|one| one.fleet.as_deref())
    }

    /// Returns every override in the order in which they are applied: the application's, then those
    /// of its components, each for its component alone.
    #[must_use]
    pub fn all_overrides(&self) -> Vec<Override> {
        let own = self.overrides.iter().cloned();
        own.chain(self.components.iter().flat_map(Component::own_overrides))
            .collect()
    }
}

impl Component {
    /// Returns the component's own overrides, for it alone.
    #[must_use]
    pub fn own_overrides(&self) -> Vec<Override> {
        let narrowed = |one: &Override| Override {
            components: vec![self.name.clone()],
            ..one.clone()
        };
        self.overrides.iter().map(narrowed).collect()
    }

    /// Returns what the hub renders the component from; absent = its objects are written inline.
    #[must_use]
    pub fn rendered_source(&self) -> Option<RenderedSource<'_>> {
        let helm = self.helm.as_ref().map(RenderedSource::Helm);
        helm.or_else(|| self.git.as_ref().map(RenderedSource::Git))
            .or_else(|| self.oci.as_ref().map(RenderedSource::Oci))
            .or_else(|| self.kustomize.as_ref().map(RenderedSource::Kustomize))
    }
}

fn objects_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// How the agent keeps the objects of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncPolicy {
    /// How often sources are looked at for something new; 5m unless set. `0s` = never: the source is
    /// fetched when the component's source changes.
    #[serde(
        default = "default_interval",
        skip_serializing_if = "is_default_interval"
    )]
    pub interval: Dur,
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

impl Default for SyncPolicy {
    fn default() -> Self {
        Self {
            interval: default_interval(),
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
    /// As the application's `sync.prune`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// As the application's `sync.drift`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftPolicy>,
    /// As the application's `sync.adopt`; absent = that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptPolicy>,
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

/// A group of clusters that starts once the gates before it hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// Unique within the application.
    pub name: String,
    /// Clusters by label. The last wave may leave selector, clusters and percent out: it then takes
    /// every cluster of no earlier wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Clusters by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// A share of the destination's clusters, rounded up, of those that no other wave takes by
    /// selector or name and no earlier one by share. Which ones is the same for every release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Weight>,
    /// How many clusters may be under way at once; 1 unless set. A share is rounded down, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<IntOrPercent>,
    /// How many clusters may fail or stay unreachable and the wave still passes; 0 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<IntOrPercent>,
    /// What an unreachable cluster means.
    #[serde(default)]
    pub unreachable: UnreachablePolicy,
    /// The wave fails when no cluster of it finishes for this long while some are under way; absent =
    /// clusters have their own deadlines. It stands still while a human has suspended the run, the wave
    /// or a cluster, or is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Dur>,
    /// Gates that must hold before the first cluster starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Gate>,
    /// Gates that must hold after the last cluster succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Gate>,
}

impl Wave {
    /// Tells whether the wave takes every cluster of no earlier wave.
    #[must_use]
    pub const fn takes_the_rest(&self) -> bool {
        self.selector.is_none() && self.clusters.is_empty() && self.percent.is_none()
    }
}

/// What an unreachable cluster means for its wave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnreachablePolicy {
    /// The wave waits for it, unless maxFailures has room.
    #[default]
    Wait,
    /// The wave goes on and the cluster catches up when it returns.
    SkipAndCatchUp,
    /// It counts as failed.
    Fail,
}

/// A condition between waves: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// A human approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalGate>,
    /// Every cluster of the wave stays healthy and fresh for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Dur>,
    /// The time lies in a window that comes again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowGate>,
    /// The checks inside the clusters passed: after a wave in its own, before it in those of earlier
    /// waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<VerdictsGate>,
    /// A query of a Prometheus that the hub reaches lies within limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricGate>,
    /// An address that the hub reaches answers with 200, 201 or 202.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalGate>,
}

/// A query of a Prometheus that the hub reaches. It is asked every 10 seconds while the gate waits; no
/// value, several values and no answer keep it shut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricGate {
    /// Base URL of the Prometheus, as the hub reaches it; absent = the template's, then the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A MetricTemplate of type Prometheus, without secret unless `secretRef` stands beside it; excludes
    /// `query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// The query. `{{ namespace }}` is the target namespace, `{{ target }}` the application,
    /// `{{ interval }}` the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The limits, inclusive.
    pub range: Range,
    /// The window of `{{ interval }}`; 60s unless set.
    #[serde(default = "default_window")]
    pub window: Dur,
    /// The bearer token that is sent to the Prometheus, in a secret that the hub keeps; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<HubSecretKeyRef>,
}

fn default_window() -> Dur {
    Dur::from_secs(60)
}

/// An address that says whether a wave may go on. It is asked every 10 seconds while the gate waits;
/// redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalGate {
    /// The address, `http` or `https`.
    pub url: String,
    /// How long an answer may take; 10s unless set.
    #[serde(default = "default_external_timeout")]
    pub timeout: Dur,
    /// The bearer token that is sent, in a secret that the hub keeps; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<HubSecretKeyRef>,
}

fn default_external_timeout() -> Dur {
    Dur::from_secs(10)
}

/// A window of time that comes again and again, such as working hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowGate {
    /// When it opens: minute, hour, day of the month, month and day of the week, as cron writes it.
    pub schedule: String,
    /// The time zone of the schedule, such as `Europe/Berlin`; UTC unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How long it stays open.
    pub duration: Dur,
}

/// Clusters whose canaries proved the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerdictsGate {
    /// The share of clusters in which every metric of every Rollout passed its last check; 100 unless
    /// set. A cluster with no metrics, with unknown values, or that a human promoted past its checks
    /// does not count.
    #[serde(default = "default_quorum")]
    pub percent: Weight,
}

fn default_quorum() -> Weight {
    Weight::FULL
}

/// A human approves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalGate {
    /// Principals who may approve; empty = whoever may act on the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// How many different principals must approve; 1 unless set.
    #[serde(default = "default_approvals")]
    pub count: u32,
}

fn default_approvals() -> u32 {
    1
}

impl Default for ApprovalGate {
    fn default() -> Self {
        Self {
            by: Vec::new(),
            count: default_approvals(),
        }
    }
}

/// What a failed wave does to the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// No further cluster starts.
    Halt,
    /// Later waves start all the same.
    Continue,
    /// Every cluster that finished goes back to the previous release.
    RollbackAll,
}
