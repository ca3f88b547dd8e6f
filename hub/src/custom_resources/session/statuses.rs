//! Writing the statuses that are others now.

use bellwether_store::records::RecordKey;

use super::Session;
use crate::{
    custom_resources::{cache::kind_of, tell},
    http::Scene,
    telemetry::chain,
};

impl Session<'_> {
    /// Writes the statuses that are others now.
    pub(super) async fn tell(&mut self, is_young: bool) {
        if self.untold.is_empty() {
            return;
        }
        let scene = match Scene::load(self.app).await {
            Ok(scene) => scene,
            Err(error) => {
                tracing::debug!(error = chain(&error), "statuses wait for the database");
                return;
            }
        };
        for key in std::mem::take(&mut self.untold) {
            if let Err(error) = self.tell_one(&scene, &key, is_young).await {
                self.fail(key, error);
            }
        }
    }

    async fn tell_one(
        &mut self,
        scene: &Scene,
        key: &RecordKey,
        is_young: bool,
    ) -> Result<(), String> {
        let (Some(object), Some(outcome)) = (self.cache.get(key), self.outcomes.get(key)) else {
            return Ok(());
        };
        if object["metadata"]["generation"] != outcome.generation {
            return Ok(());
        }
        let standing = &outcome.standing;
        let wanted = tell::wanted(self.app, scene, key, &object, standing, is_young).await;
        let Some(status) = wanted.map_err(|error| error.text())? else {
            return Ok(());
        };
        match self
            .host
            .write_status(kind_of(key.kind), &object, status)
            .await
        {
            Ok(written) => {
                self.cache.put(key, &object, written);
                Ok(())
            }
            // The watch brings what it is now.
            Err(error) if error.is_late() => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }
}
