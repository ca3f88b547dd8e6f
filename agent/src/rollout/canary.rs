//! The canary copy: made, resized and taken away again.

use bellwether_agent_core::{
    canary_copy::{
        add_metadata, canary_adapted, canary_daemon_set, canary_deployment, canary_service,
        revision_service,
    },
    machine::{CanaryWant, Overlay},
    tracked_config,
};
use bellwether_api::{application::DriftPolicy, reference::ObjectRef, track::RolloutTrack};
use kube::Resource as _;
use serde_json::{Value, json};

use super::{
    objects::Versions,
    run::RunError,
    scene::{Scene, find},
    views,
};
use crate::sync::{
    cluster::{Cluster, ClusterError, ROLLOUT_MANAGER},
    keep::{FirstLook, Keeper, Wanted},
    watch::Dirty,
};

/// What is known of a run's canary.
pub struct Canary {
    keeper: Keeper,
    /// Neither object exists.
    gone: bool,
    /// The cluster took the last of what was wanted.
    held: bool,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            keeper: Keeper::new(ROLLOUT_MANAGER),
            gone: false,
            held: false,
        }
    }
}

impl Canary {
    /// Makes the cluster hold the canary that is wanted, or the Service of the new version's pods where
    /// no copy is made.
    pub async fn hold(
        &mut self,
        cluster: &Cluster,
        scene: &Scene,
        track: &RolloutTrack,
        versions: &Versions,
        overlay: &Overlay,
        dirty: &Dirty,
    ) -> Result<(), RunError> {
        self.held = false;
        let mut objects = match (overlay.canary, &overlay.new_pods) {
            (Some(want), _) => copies(scene, versions, want)?,
            (None, Some(revision)) => of_revision(scene, versions, revision)?,
            (None, None) => return Ok(self.remove(cluster, scene).await?),
        };
        let plan = track.spec.plan.service.as_ref();
        if let Some(words) = plan.and_then(|service| service.canary.as_ref()) {
            let services = objects.iter_mut().filter(|one| one["kind"] == "Service");
            services.for_each(|service| add_metadata(service, words));
        }
        let mut wanted = Vec::new();
        for object in objects {
            let Some(want) = Wanted::new(owned(object, track)) else {
                continue;
            };
            if self.gone || !self.keeper.holds(&want) {
                // Another's object of that name is never taken over; the run sees it and says so.
                let live = cluster.get(&want.target).await?;
                if live.is_some_and(|live| !scene.is_own(&live)) {
                    if scene.config_copies().any(|copy| copy == want.target) {
                        // Pods that read it would test somebody else's content.
                        return Ok(());
                    }
                    continue;
                }
            }
            wanted.push(want);
        }
        self.gone = false;
        if overlay
            .canary
            .is_some_and(|want| goes_with_its_pods(scene, want))
        {
            remove_own(cluster, scene, &scene.canary).await?;
        }
        let policy = DriftPolicy::Correct;
        self.keeper
            .keep(cluster, &wanted, dirty, policy, FirstLook::Apply)
            .await
            .map_err(ClusterError::from)?;
        self.held = true;
        Ok(())
    }

    /// Whether the cluster took all of it when it was written last.
    pub const fn is_held(&self) -> bool {
        self.held
    }

    async fn remove(&mut self, cluster: &Cluster, scene: &Scene) -> Result<(), ClusterError> {
        if self.gone {
            return Ok(());
        }
        self.keeper.forget();
        let mut gone = true;
        // Its configuration goes last, after the pods that read it.
        let copy = scene.adapter.is_none().then(|| scene.canary.clone());
        let targets = [copy, scene.canary_service.clone()]
            .into_iter()
            .flatten()
            .chain(scene.config_copies());
        for target in targets {
            gone &= remove_own(cluster, scene, &target).await?;
        }
        self.gone = gone;
        Ok(())
    }
}

/// Deletes an object if this run made it; tells whether nothing of this run is left of it.
pub(super) async fn remove_own(
    cluster: &Cluster,
    scene: &Scene,
    target: &ObjectRef,
) -> Result<bool, ClusterError> {
    let Some(live) = cluster.get(target).await?.filter(|live| scene.is_own(live)) else {
        return Ok(true);
    };
    if !views::is_deleting(&live) {
        cluster.delete(target, Some(&views::uid(&live))).await?;
    }
    Ok(false)
}

/// A size of none is not for every kind that an adapter tells of, as its definition may have a least one: such
/// a copy is deleted where others lose their pods first.
const fn goes_with_its_pods(scene: &Scene, want: CanaryWant) -> bool {
    scene.copy_adapter.is_some() && want.replicas == 0
}

fn copies(scene: &Scene, versions: &Versions, want: CanaryWant) -> Result<Vec<Value>, RunError> {
    let mut copies: Vec<Value> = scene
        .config
        .iter()
        .filter_map(|change| tracked_config::copy(change, &scene.label))
        .collect();
    // The Service first: pods find it, and the route may name it as soon as it is written.
    if let Some(service) = scene
        .service
        .as_ref()
        .and_then(|service| find(&versions.new, service))
    {
        copies.push(canary_service(service, &scene.label)?);
    }
    let workload = versions.governed(&versions.new, &scene.workload);
    if let Some(workload) = workload.filter(|_| !goes_with_its_pods(scene, want)) {
        let mut copy = if let Some(adapter) = &scene.copy_adapter {
            canary_adapted(&workload, adapter, &scene.label, want.replicas)?
        } else if scene.is_per_node() {
            canary_daemon_set(&workload, &scene.label, want.replicas > 0)?
        } else {
            canary_deployment(&workload, &scene.label, want.replicas)?
        };
        tracked_config::use_copies(&mut copy["spec"]["template"], &scene.config);
        copies.push(copy);
    }
    for copy in &mut copies {
        copy["metadata"]["namespace"] = json!(scene.namespace);
    }
    Ok(copies)
}

/// The Service of the new version's pods where no copy is made.
fn of_revision(scene: &Scene, versions: &Versions, revision: &str) -> Result<Vec<Value>, RunError> {
    let service = scene.service.as_ref();
    let found = service.and_then(|service| find(&versions.new, service));
    let (Some(service), Some(adapter)) = (found, &scene.adapter) else {
        return Ok(Vec::new());
    };
    let label = (adapter.revision_label(), revision);
    let mut made = revision_service(service, &scene.label, label)?;
    made["metadata"]["namespace"] = json!(scene.namespace);
    Ok(vec![made])
}

/// Adds what ties a copy to its run: the track as owner, so that nothing outlives it.
pub(super) fn owned(mut object: Value, track: &RolloutTrack) -> Value {
    if let Some(uid) = &track.metadata.uid {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": RolloutTrack::api_version(&()),
            "kind": RolloutTrack::kind(&()),
            "name": track.metadata.name,
            "uid": uid,
        }]);
    }
    object
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
