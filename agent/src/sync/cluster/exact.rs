//! Requests about one very object, or about its metadata alone.

use bellwether_api::reference::ObjectRef;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{Cluster, ClusterError, SYNC_MANAGER, merge::gone_is_none, within};

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
