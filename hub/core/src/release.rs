//! Releases: one immutable revision of what an application runs.

mod created;
mod divided;
mod error;
mod publish;
mod refused;
mod stored;
mod templates;
mod variants;
mod written;

use std::collections::BTreeMap;

use bellwether_api::{
    application::{ApplicationSpec, ComponentSync, Destination, SyncPolicy},
    chart_hook::ChartHook,
    health_rule::HealthRule,
    legacy::normalised,
    overrides::Override,
    rollout::{OnDeletion, RolloutSpec, WorkloadRef},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{placement::FrozenDivision, recipe::RenderedFrom};
use refused::{refuse_conflicts, refuse_no_verdicts, refuse_removal};

pub use divided::Undivided;
pub use error::ReleaseError;
pub use publish::{Published, is_draft};
pub use written::Written;

use variants::RolloutsChanged;

pub use variants::{OtherVariant, RenderedAs};

pub use templates::{TemplateError, Templates, fill, find};

/// Namespace of objects that name none where neither component nor application says.
pub const DEFAULT_TARGET_NAMESPACE: &str = "default";

/// An immutable release with its place in history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The release's identity.
    pub id: Uuid,
    /// Its number within the application, from 1.
    pub revision: u64,
    /// Digest of its content (hex SHA-256).
    pub digest: String,
    /// What it runs.
    pub content: ReleaseContent,
}

/// What a release runs; equal content is the same release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct ReleaseContent {
    /// Namespace for objects that name none.
    pub target_namespace: String,
    /// Whether agents create it.
    pub create_namespace: bool,
    /// The ServiceAccount there in whose name agents apply the objects; absent = in their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The parts, in the order of the application.
    #[serde(alias = "restrictedComponents")]
    pub components: Vec<ReleaseComponent>,
    /// The governed workloads, sorted by name; empty = everything changes at once.
    pub rollouts: Vec<ReleaseRollout>,
    /// How the objects are kept.
    pub sync: SyncPolicy,
    /// What differs from cluster to cluster, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// The version as which it was published; absent = every change is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_version: Option<String>,
    /// What replicas are divided by; absent = every cluster gets as many as are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<FrozenDivision>,
}

/// One part of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseComponent {
    /// Unique within the release.
    pub name: String,
    /// Namespace for objects that name none; absent = the release's.
    pub target_namespace: Option<String>,
    /// A ServiceAccount of its namespace, in the place of the release's; absent = the release's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The objects, as written. Of a rendered component, every object that some cluster gets: what
    /// each gets is rendered for it.
    pub objects: Vec<Value>,
    /// What the objects are rendered from; absent = they were written inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<RenderedFrom>,
    /// When objects of custom kinds are healthy; empty = by their conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
    /// The chart's hooks as one cluster gets them; empty in a release itself, where they follow from
    /// what it is rendered from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<ChartHook>,
    /// Those of the release's clusters that get it; absent = all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// How its objects are kept, where that differs from the release's `sync`; absent = nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<ComponentSync>,
    /// Components of the release that come first; empty = it waits for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// One governed workload of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRollout {
    /// Name of the Rollout record; of an inline one `<application>-<component>`.
    pub name: String,
    /// How it changes. What only steers a run (`suspend`, `historyLimit`) is cleared, so that
    /// touching it makes no release.
    pub spec: RolloutSpec,
    /// What a component rendered it as: it holds where that component renders it so. Absent = wherever the
    /// component is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_as: Option<RenderedAs>,
}

/// A Rollout record that names the application.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutRecord {
    /// Its name.
    pub name: String,
    /// Its spec.
    pub spec: RolloutSpec,
    /// What a component rendered it as; absent = somebody wrote it.
    pub rendered_as: Option<RenderedAs>,
}

/// What changed between the newest release and what the records say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: no new release.
    None,
    /// Only rollouts were taken away, every object is as it was. A run under way goes back first.
    RolloutsRemoved,
    /// Only clusters came for which a component renders a Rollout that it renders for no other.
    VariantsAdded,
    /// A new release.
    Content,
}

/// Builds the content of a release from the application and the Rollout records that name it.
///
/// # Errors
/// [`ReleaseError`] when rollouts contradict each other or name what no component renders.
pub fn content(
    application: &str,
    spec: &ApplicationSpec,
    records: &[RolloutRecord],
) -> Result<ReleaseContent, ReleaseError> {
    let target_namespace = spec
        .target_namespace
        .clone()
        .unwrap_or_else(|| DEFAULT_TARGET_NAMESPACE.to_owned());
    let mut components: Vec<ReleaseComponent> = spec
        .components
        .iter()
        .map(|component| ReleaseComponent {
            name: component.name.clone(),
            target_namespace: component.target_namespace.clone(),
            service_account: component.service_account.clone(),
            objects: component
                .manifests
                .iter()
                .flatten()
                .map(normalised)
                .collect(),
            rendered: None,
            health: component.health.clone(),
            hooks: Vec::new(),
            destination: component.destination.clone(),
            sync: component.sync.as_ref().and_then(as_kept),
            depends_on: component.depends_on.clone(),
        })
        .collect();
    let overrides = spec.all_overrides();
    let inline = spec.components.iter().filter_map(|component| {
        component.rollout.as_ref().map(|rollout| RolloutRecord {
            name: format!("{application}-{}", component.name),
            spec: RolloutSpec {
                component: Some(component.name.clone()),
                ..rollout.clone()
            },
            rendered_as: None,
        })
    });
    let mut rollouts: Vec<ReleaseRollout> = Vec::new();
    for record in inline.chain(records.iter().cloned()) {
        rollouts.push(governed(application, record, &components)?);
    }
    rollouts.sort_by(|a, b| (&a.name, &a.rendered_as).cmp(&(&b.name, &b.rendered_as)));
    refuse_conflicts(&rollouts)?;
    for rollout in &rollouts {
        let component = rollout.spec.component.as_deref().unwrap_or_default();
        created::add(&mut components, component, &rollout.spec);
    }
    refuse_no_verdicts(&spec.waves, &rollouts)?;
    refuse_removal(&overrides, &rollouts, &components, &target_namespace)?;
    Ok(ReleaseContent {
        target_namespace,
        create_namespace: spec.create_namespace,
        service_account: spec.service_account.clone(),
        components,
        rollouts,
        sync: SyncPolicy {
            // They say when releases are made, not how objects are kept.
            interval: SyncPolicy::default().interval,
            suspend: false,
            ..spec.sync.clone()
        },
        overrides,
        publish_version: spec.publish_version.clone(),
        division: None,
    })
}

/// A component's `sync` without when its source is looked at; absent = nothing is left.
fn as_kept(sync: &ComponentSync) -> Option<ComponentSync> {
    let kept = ComponentSync {
        interval: None,
        ..sync.clone()
    };
    (kept != ComponentSync::default()).then_some(kept)
}

fn governed(
    application: &str,
    record: RolloutRecord,
    components: &[ReleaseComponent],
) -> Result<ReleaseRollout, ReleaseError> {
    let RolloutRecord {
        name,
        mut spec,
        rendered_as,
    } = record;
    let component = match &spec.component {
        Some(wanted) => components
            .iter()
            .find(|one| one.name == *wanted)
            .ok_or_else(|| ReleaseError::NoSuchComponent {
                rollout: name.clone(),
                component: wanted.clone(),
            })?,
        None => components
            .iter()
            .find(|one| {
                one.objects
                    .iter()
                    .any(|object| is_workload(object, &spec.workload))
            })
            .ok_or_else(|| no_workload(&name, &spec.workload))?,
    };
    if !component
        .objects
        .iter()
        .any(|object| is_workload(object, &spec.workload))
    {
        return Err(no_workload(&name, &spec.workload));
    }
    spec.application = Some(application.to_owned());
    spec.component = Some(component.name.clone());
    spec.suspend = false;
    spec.history_limit = 0;
    Ok(ReleaseRollout {
        name,
        spec,
        rendered_as,
    })
}

fn no_workload(rollout: &str, workload: &WorkloadRef) -> ReleaseError {
    ReleaseError::NoSuchWorkload {
        rollout: rollout.to_owned(),
        kind: workload.kind.clone(),
        workload: workload.name.clone(),
    }
}

pub(crate) fn is_workload(object: &Value, workload: &WorkloadRef) -> bool {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    text("/apiVersion") == Some(workload.api_version.as_str())
        && text("/kind") == Some(workload.kind.as_str())
        && text("/metadata/name") == Some(workload.name.as_str())
        && match (text("/metadata/namespace"), workload.namespace.as_deref()) {
            (Some(written), Some(wanted)) => written == wanted,
            _ => true,
        }
}

impl ReleaseContent {
    /// Returns the content's digest: hex SHA-256 over its canonical JSON.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(canonical_json(&self.as_asked())))
    }

    /// The content without what follows from the rest of it: a cluster of another version is no
    /// other release.
    fn as_asked(&self) -> Self {
        let mut asked = self.clone();
        for component in &mut asked.components {
            if component.rendered.is_some() {
                component.objects.clear();
            }
        }
        for rollout in &mut asked.rollouts {
            rollout.rendered_as = None;
        }
        asked
    }

    /// Notes what components were rendered from, by their names.
    #[must_use]
    pub fn with_rendered(mut self, mut rendered: BTreeMap<String, RenderedFrom>) -> Self {
        for component in &mut self.components {
            component.rendered = rendered.remove(&component.name);
        }
        self
    }

    /// Tells whether a component is rendered for each cluster.
    #[must_use]
    pub fn is_rendered(&self) -> bool {
        self.components
            .iter()
            .any(|component| component.rendered.is_some())
    }

    /// Returns the content as one cluster gets it: with the hooks of its charts, by component.
    #[must_use]
    pub fn with_hooks(mut self, mut hooks: BTreeMap<String, Vec<ChartHook>>) -> Self {
        for component in &mut self.components {
            component.hooks = hooks.remove(&component.name).unwrap_or_default();
        }
        self
    }

    /// Tells whether an object is a Secret, or was rendered with values of secrets; such content is
    /// encrypted at rest.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.components.iter().any(|component| {
            let from = component.rendered.as_ref();
            let mut hooks = component.hooks.iter();
            from.is_some_and(|from| !from.recipe.values_from.is_empty())
                || component.objects.iter().any(is_secret)
                || hooks.any(|hook| is_secret(&hook.object))
        })
    }

    /// Names the rollouts that `next` lacks, when every one of them wants its run finished
    /// (`onDeletion: Complete`); empty = a run under way goes back.
    #[must_use]
    pub fn completes_without(&self, next: &Self) -> Vec<String> {
        // What is rendered follows from the clusters: nobody took it away.
        let removed = || {
            self.rollouts
                .iter()
                .filter(|rollout| rollout.rendered_as.is_none())
                .filter(|rollout| !next.rollouts.iter().any(|one| one.says(rollout)))
        };
        if removed().all(|rollout| rollout.spec.on_deletion == OnDeletion::Complete) {
            removed().map(|rollout| rollout.name.clone()).collect()
        } else {
            Vec::new()
        }
    }

    /// Compares with what the records say now.
    #[must_use]
    pub fn change_to(&self, next: &Self) -> Change {
        if !self.says_the_rest_of(next) {
            return Change::Content;
        }
        RolloutsChanged::between(&self.rollouts, &next.rollouts).change()
    }

    /// Tells whether both say the same but for their rollouts, and for what follows from the rest of them.
    fn says_the_rest_of(&self, next: &Self) -> bool {
        // Whoever adds a field says whether it counts.
        let Self {
            target_namespace,
            create_namespace,
            service_account,
            components,
            rollouts: _,
            sync,
            overrides,
            publish_version,
            division,
        } = self;
        let mut pairs = components.iter().zip(&next.components);
        (target_namespace, create_namespace) == (&next.target_namespace, &next.create_namespace)
            && service_account == &next.service_account
            && (sync, overrides) == (&next.sync, &next.overrides)
            && (publish_version, division) == (&next.publish_version, &next.division)
            && components.len() == next.components.len()
            && pairs.all(|(own, next)| own.says(next))
    }
}

impl ReleaseComponent {
    /// Tells whether both are the same component as it was asked for: what it is rendered as follows from that.
    fn says(&self, other: &Self) -> bool {
        let Self {
            name,
            target_namespace,
            service_account,
            objects,
            rendered,
            health,
            hooks,
            destination,
            sync,
            depends_on,
        } = self;
        (name, target_namespace) == (&other.name, &other.target_namespace)
            && service_account == &other.service_account
            && rendered == &other.rendered
            && (rendered.is_some() || objects == &other.objects)
            && (health, hooks) == (&other.health, &other.hooks)
            && (destination, sync, depends_on)
                == (&other.destination, &other.sync, &other.depends_on)
    }
}

/// Tells whether a Kubernetes object is a Secret.
#[must_use]
pub fn is_secret(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
}

/// Writes `value` as canonical JSON: keys of every object sorted, no white space.
pub(crate) fn canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Through a Value, whose objects are sorted maps: field order of structs does not count.
    let value = serde_json::to_value(value).expect("types of the API always serialise");
    serde_json::to_vec(&value).expect("a JSON value always serialises")
}

#[cfg(test)]
mod tests;
