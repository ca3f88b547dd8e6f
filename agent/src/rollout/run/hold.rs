//! What a run makes of the cluster beside the user's objects.

use super::{Run, RunError};
use crate::{
    rollout::{objects::Versions, scene::Live},
    sync::{cluster::Cluster, watch::Dirty},
};

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
        let want = self.overlay().canary;
        let in_force = self.state.split_is_in_force();
        self.own_routes
            .remove_unused(cluster, &self.scene, in_force)
            .await?;
        self.canary
            .hold(cluster, &self.scene, &self.track, versions, want, dirty)
            .await
    }

    /// Takes away what keeps a workload that is updated in place from going back. Call it with what
    /// was decided on.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn clear_the_way(&self, cluster: &Cluster, live: &Live) -> Result<(), RunError> {
        let want = self.overlay().in_place;
        Ok(self.scene.clear_the_way(cluster, live, &want).await?)
    }
}
