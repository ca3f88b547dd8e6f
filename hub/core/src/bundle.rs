//! From a release to what one cluster is sent.

mod size;

use std::{borrow::Cow, collections::BTreeSet};

use bellwether_api::{
    bundle::{Bundle, BundleComponent, BundleMode, BundleRollout},
    chart_hook::ChartHook,
    cluster_template::ClusterValues,
    fleet::FleetDefaults,
    reference::NamespacedName,
    rollout::{RolloutSpec, WorkloadRef},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use size::{Likeness, likeness, may_be_too_large, unlike};

use crate::{
    addons::Fleets,
    cluster_defaults::defaults_in,
    components::{after, present},
    overrides::{Autoscaled, OverrideError, in_cluster, lay_shares},
    placement::ClusterFacts,
    release::{Release, ReleaseComponent, ReleaseContent, ReleaseRollout},
};

/// What a bundle is built from.
#[derive(Clone, Copy, Debug)]
pub struct BundleInput<'a> {
    /// The application.
    pub application: &'a NamespacedName,
    /// The release.
    pub release: &'a Release,
    /// The run that grants it.
    pub run: Uuid,
    /// Which try of the run in this cluster, from 1.
    pub attempt: u32,
    /// How it replaces the release before.
    pub mode: BundleMode,
    /// Whether the cluster had the release before the run, and gets it back.
    pub returns: bool,
    /// The cluster.
    pub cluster: &'a ClusterFacts,
    /// Defaults of the destination's fleet, with what the application says in their place; empty without
    /// either.
    pub fleet: &'a FleetDefaults,
    /// Every fleet, for the destinations of components.
    pub fleets: &'a Fleets,
}

/// A bundle with its canonical bytes, which are its blob's content.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// `serde_json` of the bundle.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub digest: [u8; 32],
    /// Whether an object is a Secret.
    pub has_secret: bool,
}

/// Builds what the cluster is sent: every object with its overrides and its namespace, every rollout
/// with its defaults, traffic and metrics as the cluster and then the fleet says.
///
/// # Errors
/// An override does not fit what it changes in this cluster.
pub fn build(input: BundleInput<'_>) -> Result<EncodedBundle, OverrideError> {
    let content = &input.release.content;
    let components = components(content, input.cluster, input.fleets)?;
    let there: BTreeSet<String> = components.iter().map(|one| one.name.clone()).collect();
    let governs_here = |rollout: &&ReleaseRollout| {
        let component = rollout.spec.component.as_deref();
        component.is_none_or(|name| there.contains(name))
            && !runs_nowhere(rollout, content, &components)
    };
    // Nothing is said where it changes nothing.
    let has_account = components.iter().any(|one| one.service_account.is_some());
    let defaults = defaults_in(input.cluster, input.fleet);
    let rollouts = content
        .rollouts
        .iter()
        .filter(governs_here)
        .map(|rollout| planned(rollout, content, &defaults))
        .collect();
    let bundle = Bundle {
        application: input.application.clone(),
        release: input.release.digest.clone(),
        revision: input.release.revision,
        run: input.run,
        attempt: input.attempt,
        mode: input.mode,
        target_namespace: content.target_namespace.clone(),
        create_namespace: content.create_namespace,
        components,
        rollouts,
        sync: content.sync.clone(),
        metrics: defaults.metrics.clone(),
        alerts: input.fleet.alerts.clone(),
        returns: input.returns && has_account,
    };
    let bytes = serde_json::to_vec(&bundle).expect("types of the API always serialise");
    let digest = Sha256::digest(&bytes).into();
    Ok(EncodedBundle {
        bundle,
        bytes,
        digest,
        has_secret: content.has_secret(),
    })
}

/// Tells whether the division leaves a governed workload no pods in the cluster: there is nothing to
/// compare a new version with, and it is taken as it is.
fn runs_nowhere(
    rollout: &ReleaseRollout,
    content: &ReleaseContent,
    components: &[BundleComponent],
) -> bool {
    let (spec, name) = (&rollout.spec, rollout.spec.component.as_deref());
    let mut objects = components
        .iter()
        .filter(|one| name.is_none_or(|name| one.name == name))
        .flat_map(|one| &one.objects);
    content.division.is_some()
        && objects.any(|object| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
            text("/kind") == Some(spec.workload.kind.as_str())
                && text("/metadata/name") == Some(spec.workload.name.as_str())
                && replicas == Some(0)
        })
}

/// Returns what a cluster gets of a release: every object with its overrides and its namespace.
///
/// # Errors
/// An override does not fit what it changes in this cluster.
pub fn components(
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    fleets: &Fleets,
) -> Result<Vec<BundleComponent>, OverrideError> {
    let cluster_kinds = cluster_scoped_kinds(content);
    let autoscaled = match content.division {
        Some(_) => Autoscaled::of(content),
        None => Autoscaled::default(),
    };
    let there = present(content, cluster, fleets);
    there
        .iter()
        .map(|component| {
            let kinds = (&cluster_kinds, &autoscaled);
            let filled = filled(component, content, cluster, kinds)?;
            Ok(BundleComponent {
                depends_on: after(component, content, &there),
                ..filled
            })
        })
        .collect()
}

fn namespace_of<'a>(component: &'a ReleaseComponent, content: &'a ReleaseContent) -> &'a str {
    component
        .target_namespace
        .as_deref()
        .unwrap_or(&content.target_namespace)
}

/// The ServiceAccount in whose name a component is applied: it lies where whoever names it puts objects.
fn account_of(component: &ReleaseComponent, content: &ReleaseContent) -> Option<NamespacedName> {
    let (namespace, name) = match &component.service_account {
        Some(own) => (namespace_of(component, content), own),
        None => (
            content.target_namespace.as_str(),
            content.service_account.as_ref()?,
        ),
    };
    Some(NamespacedName {
        namespace: namespace.to_owned(),
        name: name.clone(),
    })
}

fn filled(
    component: &ReleaseComponent,
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    (cluster_kinds, autoscaled): (&BTreeSet<(String, String)>, &Autoscaled),
) -> Result<BundleComponent, OverrideError> {
    let namespace = namespace_of(component, content);
    let values = ClusterValues {
        name: &cluster.name,
        labels: &cluster.labels,
    };
    let mut objects = Cow::Borrowed(&component.objects);
    if content.division.is_some() {
        let place = (component.name.as_str(), namespace);
        lay_shares(content, autoscaled, place, &cluster.name, objects.to_mut());
    }
    let overridden = in_cluster(
        &content.overrides,
        values,
        &component.name,
        namespace,
        &objects,
    )?;
    let fill = |mut object: Value| {
        if !is_cluster_scoped(&object, cluster_kinds)
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            let written = metadata
                .get("namespace")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if written.is_empty() {
                metadata.insert("namespace".to_owned(), Value::from(namespace));
            }
        }
        object
    };
    let mut hooks = Vec::new();
    for hook in &component.hooks {
        let own = std::slice::from_ref(&hook.object);
        let overridden = in_cluster(&content.overrides, values, &component.name, namespace, own)?;
        // An override may remove it.
        hooks.extend(overridden.objects.into_iter().map(|object| ChartHook {
            object: fill(object),
            ..hook.clone()
        }));
    }
    Ok(BundleComponent {
        name: component.name.clone(),
        objects: overridden.objects.into_iter().map(fill).collect(),
        health: component.health.clone(),
        hooks,
        depends_on: Vec::new(),
        sync: component.sync.clone(),
        service_account: account_of(component, content),
    })
}

fn planned(
    rollout: &ReleaseRollout,
    content: &ReleaseContent,
    defaults: &FleetDefaults,
) -> BundleRollout {
    let mut spec = rollout.spec.clone();
    spec.workload.namespace = Some(workload_namespace(&spec, content));
    defaults.fill(&mut spec);
    BundleRollout {
        name: rollout.name.clone(),
        spec,
    }
}

/// Returns the namespace in which a rollout's workload lies: as the rollout, else the workload's own manifest,
/// else its component, else the application says.
pub(crate) fn workload_namespace(spec: &RolloutSpec, content: &ReleaseContent) -> String {
    if let Some(namespace) = &spec.workload.namespace {
        return namespace.clone();
    }
    let name = spec.component.as_deref();
    let component = name.and_then(|name| content.components.iter().find(|one| one.name == name));
    let fallback = component.map_or(content.target_namespace.as_str(), |one| {
        namespace_of(one, content)
    });
    written_namespace(component, &spec.workload)
        .unwrap_or(fallback)
        .to_owned()
}

/// The workload's own manifest wins over the component's namespace.
fn written_namespace<'a>(
    component: Option<&'a ReleaseComponent>,
    workload: &WorkloadRef,
) -> Option<&'a str> {
    let text = |object: &'a Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    component?
        .objects
        .iter()
        .find(|object| {
            text(object, "/kind") == Some(workload.kind.as_str())
                && text(object, "/metadata/name") == Some(workload.name.as_str())
        })
        .and_then(|object| text(object, "/metadata/namespace"))
        .filter(|namespace| !namespace.is_empty())
}

/// Kinds of Kubernetes itself that live in no namespace, as (group, kind).
const CLUSTER_SCOPED: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("networking.k8s.io", "IngressClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
];

fn group_and_kind(object: &Value) -> (&str, &str) {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    (group, text("kind"))
}

fn is_cluster_scoped(object: &Value, own: &BTreeSet<(String, String)>) -> bool {
    let (group, kind) = group_and_kind(object);
    CLUSTER_SCOPED.contains(&(group, kind)) || own.contains(&(group.to_owned(), kind.to_owned()))
}

/// Kinds that the release itself defines as cluster-scoped.
fn cluster_scoped_kinds(content: &ReleaseContent) -> BTreeSet<(String, String)> {
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    content
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .filter(|object| group_and_kind(object).1 == "CustomResourceDefinition")
        .filter(|object| text(object, "/spec/scope") == "Cluster")
        .map(|object| {
            (
                text(object, "/spec/group"),
                text(object, "/spec/names/kind"),
            )
        })
        .collect()
}

#[cfg(test)]
mod division_tests;
#[cfg(test)]
mod tests;
