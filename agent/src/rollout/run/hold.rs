//! What a run makes of the cluster beside the user's objects.

use jiff::{SignedDuration, Timestamp};

use super::{Run, RunError};
use crate::{
    rollout::{objects::Versions, scene::Live},
    sync::{cluster::Cluster, watch::Dirty},
};

/// How soon a pod is evicted again that a disruption budget keeps.
const EVICT_AGAIN: SignedDuration = SignedDuration::from_secs(5);

impl Run {
    /// Makes the objects that the routes are about to name. Call it before the routes are written.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn hold_own_routes(
        &mut self,
        cluster: &Cluster,
        versions: &Versions,
        dirty: &Dirty,
    ) -> Result<(), RunError> {
        let bundle = if self.goes_back() {
            &versions.old
        } else {
            &versions.new
        };
        let split = self.overlay().split;
        self.own_routes
            .hold(cluster, &self.scene, &self.track, bundle, &split, dirty)
            .await
    }

    /// Makes the canary what the run wants of it, and takes away what the routes name no more.
    /// Call it after the routes are written.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn hold_canary(
        &mut self,
        cluster: &Cluster,
        versions: &Versions,
        dirty: &Dirty,
    ) -> Result<(), RunError> {
        let overlay = self.overlay();
        let in_force = self.state.split_is_in_force();
        self.own_routes
            .remove_unused(cluster, &self.scene, in_force)
            .await?;
        self.canary
            .hold(cluster, &self.scene, &self.track, versions, &overlay, dirty)
            .await
    }

    /// Takes away pods of a workload that is updated in place, which nobody else does. Call it with
    /// what was decided on, once the decision is saved.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn clear_the_way(
        &mut self,
        cluster: &Cluster,
        live: &Live,
        now: Timestamp,
    ) -> Result<(), RunError> {
        let Some(run) = self.state.in_place.as_ref().filter(|_| self.correct_drift) else {
            return Ok(());
        };
        let want = self.overlay().in_place;
        let scene = &self.scene;
        self.blocked = scene.clear_the_way(cluster, live, &want, &run.old).await?;
        if self.blocked.is_some() {
            // Nothing tells when a budget has room again, and only a look tries it.
            let again = now.saturating_add(EVICT_AGAIN).unwrap_or(now);
            self.wake_at = Some(self.wake_at.map_or(again, |at| at.min(again)));
            self.forget_look();
        }
        Ok(())
    }
}
