//! Application: what runs where, and in which waves a new release moves through the fleet.

mod sync;
mod wave;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    alert_provider::Alert,
    health_rule::HealthRule,
    overrides::Override,
    placement::PlacementPolicy,
    reference::ApplicationRef,
    rollout::RolloutSpec,
    selector::Selector,
    source::{GitSource, HelmSource, KustomizeSource, OciSource, PluginSource, RenderedSource},
};

pub use sync::{AdoptPolicy, ComponentSync, DriftPolicy, SyncPolicy};
pub use wave::{
    ApprovalGate, ExternalGate, Gate, MetricGate, OnFailure, UnreachablePolicy, VerdictsGate, Wave,
    WindowGate,
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
    /// A ServiceAccount of the target namespace: the agent applies the objects, and makes what its charts' hooks
    /// run, in its name, so that nothing comes in that it may not do. Absent = in the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
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
    /// Who is told of the events of its releases: what the hub says of waves, what clusters say of what they
    /// apply, and those of its rollouts that name nobody themselves; empty = whom the fleet names. At most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
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
    /// A ServiceAccount of the component's target namespace, in the place of the application's; absent = the
    /// application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
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
    /// A renderer that the hub's operator registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginSource>,
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
            .or_else(|| self.plugin.as_ref().map(RenderedSource::Plugin))
    }
}

fn objects_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}
