//! Requests about one very object, or about its metadata alone.

use bellwether_api::reference::ObjectRef;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Cluster, ClusterError, ROLLOUT_MANAGER, SYNC_MANAGER, merge::gone_is_none, within};

impl Cluster {
    /// Merges a patch into an object if it still is exactly `live`, and gives what came out; absent =
    /// it is gone.
    ///
    /// # Errors
    /// The API server refuses, does not answer, or has another version of the object by now.
    pub async fn merge_exactly(
        &self,
        object: &ObjectRef,
        live: &Value,
        patch: &Value,
    ) -> Result<Option<Value>, ClusterError> {
        let mut patch = patch.clone();
        patch["metadata"]["resourceVersion"] = live
            .pointer("/metadata/resourceVersion")
            .cloned()
            .unwrap_or_default();
        gone_is_none(self.patch(SYNC_MANAGER, object, &patch).await)
    }

    /// Sets the size of a workload, by its scale alone; one that is gone already is no error.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn scale(&self, object: &ObjectRef, replicas: u32) -> Result<(), ClusterError> {
        let api = self
            .api(
                &object.api_version,
                &object.kind,
                object.namespace.as_deref(),
            )
            .await?;
        let params = PatchParams {
            field_manager: Some(ROLLOUT_MANAGER.into()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let name = object.to_string();
        let request = api.patch_scale(&object.name, &params, &patch);
        match self.writing("scale", &name, request).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lists the metadata of the pods with these labels that have not ended.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn pods_metadata(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let api = self.api("v1", "Pod", Some(namespace)).await?;
        let params = ListParams::default()
            .labels(labels)
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        let listed = within("list", "Pod", api.list_metadata(&params)).await?;
        let pods = listed.items.into_iter();
        Ok(pods.map(|pod| json!({"metadata": pod.metadata})).collect())
    }
}
