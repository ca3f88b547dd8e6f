//! A run on objects that somebody else writes: what is live is the user's word, and the run changes
//! single fields of it by patches that take themselves back.

mod in_place;

use std::{collections::BTreeSet, sync::Arc};

use bellwether_agent_core::{
    adopted::{HELD_ANNOTATION, Held, Sight, laid, without_split, workload_hold},
    restore::handing_back,
    settled::DeploymentView,
};
use bellwether_api::{bundle::Bundle, reference::ObjectRef};
use serde_json::{Value, json};

use super::{
    objects::Versions,
    run::{Run, RunError},
    scene::{Live, Scene, find},
    views,
};
use crate::sync::{
    cluster::{Cluster, ClusterError, ROLLOUT_MANAGER, reference},
    watch::Dirty,
};

pub use in_place::{patch_in_place, recorded, sighted, stored};

const REPLICA_SET: &str = "ReplicaSet";

/// A Deployment as a decision sees it, whatever version it carries.
#[must_use]
pub fn workload_view(object: &Value) -> DeploymentView {
    views::deployment(
        object,
        bellwether_agent_core::settled::TemplateVersion::Other,
    )
}

/// The objects that a run begins with: the workload, every Service that selects its pods, and the
/// routes, as their owners have them.
#[must_use]
pub fn captured(scene: &Scene, live: &Live) -> Vec<Value> {
    let mut objects: Vec<Value> = live.workload.iter().cloned().collect();
    objects.extend(services(scene, live).cloned());
    objects.extend(live.routes.iter().flatten().cloned());
    for object in &mut objects {
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
    }
    objects
}

/// The Services that select the workload's pods, and the apex whatever it selects.
fn services<'a>(scene: &'a Scene, live: &'a Live) -> impl Iterator<Item = &'a Value> {
    let apex = scene.service.as_ref().map(|service| service.name.as_str());
    live.services.iter().filter(move |service| {
        !scene.is_own(service)
            && (scene.selects_canary(service) || apex == Some(views::name(service).as_str()))
    })
}

/// A captured bundle with Services and routes as their owners have them now.
#[must_use]
pub fn as_users(scene: &Scene, bundle: &Bundle, live: &Live) -> Arc<Bundle> {
    let mut bundle = bundle.clone();
    let mut fresh: Vec<Value> = services(scene, live).cloned().collect();
    for service in &mut fresh {
        if let Some(selector) = service
            .pointer_mut("/spec/selector")
            .and_then(Value::as_object_mut)
        {
            selector.remove(scene.pin_label());
        }
    }
    for (route, found) in scene.routes.iter().zip(&live.routes) {
        fresh.extend(found.as_ref().map(|found| without_split(route, found)));
    }
    let named: BTreeSet<ObjectRef> = fresh.iter().filter_map(reference).collect();
    for component in &mut bundle.components {
        let is_old = |object: &Value| reference(object).is_some_and(|at| named.contains(&at));
        component.objects.retain(|object| !is_old(object));
    }
    if let Some(component) = bundle.components.first_mut() {
        component.objects.extend(fresh);
    }
    Arc::new(bundle)
}

/// What was done to make live objects what a run wants.
#[derive(Clone, Debug, Default)]
pub struct Laying {
    /// Something was written: what was seen before is old.
    pub wrote: bool,
    /// The routes that carry what the run wants.
    pub carried: BTreeSet<ObjectRef>,
}

impl Run {
    /// Makes the user's objects and the run's own what the run wants, by the least of writes.
    ///
    /// # Errors
    /// The API server refuses or does not answer. What stands before is written.
    pub async fn lay(
        &mut self,
        cluster: &Cluster,
        versions: &Versions,
        live: &Live,
        dirty: &Dirty,
    ) -> Result<Laying, RunError> {
        let mut laying = Laying::default();
        laying.wrote |= self.hold_workload(cluster, versions, live).await?;
        laying.wrote |= self.pin_services(cluster, live).await?;
        self.hold_own_routes(cluster, versions, dirty).await?;
        self.lay_routes(cluster, live, &mut laying).await?;
        self.hold_canary(cluster, versions, dirty).await?;
        Ok(laying)
    }

    /// The templates of the run's two versions.
    #[must_use]
    pub fn templates(&self, versions: &Versions) -> [Value; 2] {
        [&versions.new, &versions.old].map(|bundle| {
            find(bundle, &self.scene.workload)
                .and_then(|object| object.pointer("/spec/template"))
                .cloned()
                .unwrap_or_default()
        })
    }

    async fn hold_workload(
        &self,
        cluster: &Cluster,
        versions: &Versions,
        live: &Live,
    ) -> Result<bool, ClusterError> {
        let Some(workload) = &live.workload else {
            return Ok(false);
        };
        if let Some(adapter) = &self.scene.adapter {
            return self.hold_in_place(cluster, versions, live, adapter).await;
        }
        let [new, old] = self.templates(versions);
        let sight = Sight::of(workload, &live.replica_sets);
        let hold = workload_hold(&sight, self.held(&new, &old), &self.overlay());
        if let Some(patch) = &hold.patch {
            patch_workload(cluster, &self.scene.workload, workload, patch).await?;
        }
        if let Some(name) = &hold.undo {
            undo(cluster, &self.scene.namespace, name).await?;
        }
        if hold.patch.is_some() || hold.undo.is_some() {
            return Ok(true);
        }
        self.grow_workload(cluster, workload).await
    }

    /// Gives the workload the pods that it needs before it gets requests back, where its autoscaler has
    /// taken them.
    async fn grow_workload(
        &self,
        cluster: &Cluster,
        workload: &Value,
    ) -> Result<bool, ClusterError> {
        let Some(least) = self.overlay().least_replicas else {
            return Ok(false);
        };
        let target = &self.scene.workload;
        cluster.grow(ROLLOUT_MANAGER, target, workload, least).await
    }

    async fn pin_services(&self, cluster: &Cluster, live: &Live) -> Result<bool, ClusterError> {
        let pins = self.overlay().pins;
        let mut wrote = false;
        for service in live.services.iter() {
            let name = views::name(service);
            if !self.state.pinned.contains(&name) || self.scene.is_own(service) {
                continue;
            }
            let wanted = pins.iter().find(|pin| pin.service == name);
            let wanted = wanted.map(|pin| pin.hash.clone());
            let label = self.scene.pin_label();
            let pinned = views::string_map(service, "/spec/selector").remove(label);
            if wanted == pinned {
                continue;
            }
            if let Some(target) = reference(service) {
                let patch = json!({"spec": {"selector": {label: wanted}}});
                merge(cluster, &target, service, &patch, Only::ThisObject).await?;
                wrote = true;
            }
        }
        Ok(wrote)
    }

    /// Routes are written all or none, but for taking a split off.
    async fn lay_routes(
        &self,
        cluster: &Cluster,
        live: &Live,
        laying: &mut Laying,
    ) -> Result<(), ClusterError> {
        let split = self.overlay().split;
        let mut due = Vec::new();
        for (route, found) in self.scene.routes.iter().zip(&live.routes) {
            let Some(found) = found else { continue };
            match laid(route, found, &split) {
                Ok(laid) => due.push((&route.target, found, laid.patch)),
                // Why it cannot is observed and told.
                Err(_) => return Ok(()),
            }
        }
        for (target, found, patch) in due {
            let Some(patch) = patch else {
                laying.carried.insert(target.clone());
                continue;
            };
            laying.wrote = true;
            if merge(cluster, target, found, &patch, Only::ThisVersion).await? {
                laying.carried.insert(target.clone());
            }
        }
        Ok(())
    }

    /// Hands the fields back that the run has written in objects of others, once they are as their
    /// owners want them; `old` is what they were like when it began.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or has newer versions of them.
    pub async fn hand_back(
        &self,
        cluster: &Cluster,
        old: &Bundle,
        live: &Live,
    ) -> Result<(), ClusterError> {
        let services = live
            .services
            .iter()
            .filter(|service| self.state.pinned.contains(&views::name(service)));
        let is_free = |workload: &&Value| {
            !views::string_map(workload, "/metadata/annotations").contains_key(HELD_ANNOTATION)
        };
        let workload = live.workload.iter().filter(is_free);
        let objects = services.chain(live.routes.iter().flatten()).chain(workload);
        for object in objects {
            if let Some(target) = reference(object) {
                disown(cluster, &target, object, find(old, &target)).await?;
            }
        }
        Ok(())
    }
}

/// Takes the run's name off the fields of an object that has its owner's values.
///
/// # Errors
/// The API server refuses, does not answer, or has a newer version of it.
pub async fn disown(
    cluster: &Cluster,
    target: &ObjectRef,
    live: &Value,
    original: Option<&Value>,
) -> Result<(), ClusterError> {
    if let Some(fields) = handing_back(live, original, ROLLOUT_MANAGER) {
        let patch = json!({"metadata": {"managedFields": fields}});
        cluster.merge_exactly(target, live, &patch).await?;
    }
    Ok(())
}

/// How sure a patch must be that nobody wrote in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    /// It is the same object: what the patch names is ours alone.
    ThisObject,
    /// It is exactly as it was read: the patch replaces what its owner writes.
    ThisVersion,
}

/// Merges a patch into an object that was read as `live`, as the run's field manager. Gives whether it
/// was taken; what somebody wrote in between is looked at first.
async fn merge(
    cluster: &Cluster,
    target: &ObjectRef,
    live: &Value,
    patch: &Value,
    only: Only,
) -> Result<bool, ClusterError> {
    let mut patch = patch.clone();
    let mut fields = vec!["uid"];
    if only == Only::ThisVersion {
        fields.push("resourceVersion");
    }
    for field in fields {
        let value = live.pointer(&format!("/metadata/{field}")).cloned();
        patch["metadata"][field] = value.unwrap_or_default();
    }
    match cluster.merge(target, &patch).await {
        Ok(merged) => Ok(merged.is_some()),
        Err(error) if error.code() == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a patch to a workload that was read as `live`. Gives whether it was taken.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn patch_workload(
    cluster: &Cluster,
    target: &ObjectRef,
    live: &Value,
    patch: &Value,
) -> Result<bool, ClusterError> {
    let only = if patch.pointer("/spec/template").is_some() {
        Only::ThisVersion
    } else {
        Only::ThisObject
    };
    merge(cluster, target, live, patch, only).await
}

/// Takes the pods of a ReplicaSet back.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn undo(cluster: &Cluster, namespace: &str, name: &str) -> Result<(), ClusterError> {
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: REPLICA_SET.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    };
    cluster.scale(&target, 0).await
}
