//! Patches by merge, whoever they are made for.

use bellwether_api::reference::ObjectRef;
use kube::api::{Patch, PatchParams};
use serde_json::Value;

use super::{Cluster, ClusterError, ROLLOUT_MANAGER, SYNC_MANAGER, to_value};
use crate::sync::foreign;

impl Cluster {
    /// Merges a patch into an object and gives what came out; absent = it is gone.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn merge(
        &self,
        object: &ObjectRef,
        patch: &Value,
    ) -> Result<Option<Value>, ClusterError> {
        gone_is_none(self.patch(ROLLOUT_MANAGER, object, patch).await)
    }

    /// Makes the live pod template of a workload the one of `wanted`, whoever owns what in it.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn restore_template(
        &self,
        object: &ObjectRef,
        live: &Value,
        wanted: &Value,
    ) -> Result<(), ClusterError> {
        if let Some(patch) = foreign::template_patch(live, wanted) {
            self.patch(SYNC_MANAGER, object, &patch).await?;
        }
        Ok(())
    }

    /// Merges a patch into an object as `manager`, in the name of whoever objects are applied as, and gives what
    /// came out.
    pub(super) async fn patch(
        &self,
        manager: &str,
        object: &ObjectRef,
        patch: &Value,
    ) -> Result<Value, ClusterError> {
        let api = self.acting_api(object).await?;
        let params = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let name = self.written(object);
        let patch = Patch::Merge(patch);
        let patched = self
            .writing("patch", &name, api.patch(&object.name, &params, &patch))
            .await
            .map_err(|error| error.of_write(&object.kind))?;
        to_value(patched, object)
    }
}

/// Takes an object that is not there for none, and not for an error.
pub(super) fn gone_is_none(
    patched: Result<Value, ClusterError>,
) -> Result<Option<Value>, ClusterError> {
    match patched {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
