//! Pods that a run takes away, as far as their owners' disruption budgets allow it.

use std::time::Duration;

use bellwether_api::reference::ObjectRef;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::{Cluster, ClusterError};

/// How long one eviction may take. The client asks again by itself for as long as a disruption budget
/// has no room, and what is decided must not wait for that.
const EVICT_TIMEOUT: Duration = Duration::from_secs(3);

impl Cluster {
    /// Evicts that very pod; one that is gone already is no error. Returns what keeps it; `None` =
    /// nothing.
    ///
    /// # Errors
    /// The API server refuses for another reason than a disruption budget.
    pub async fn evict(&self, pod: &ObjectRef, uid: &str) -> Result<Option<String>, ClusterError> {
        let namespace = pod.namespace.as_deref();
        let api = self.api("v1", "Pod", namespace).await?;
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        });
        let params = PostParams::default();
        let name = pod.to_string();
        let asked =
            api.create_subresource::<Value, Value>("eviction", &pod.name, &params, &eviction);
        let Ok(answer) =
            tokio::time::timeout(EVICT_TIMEOUT, self.writing("evict", &name, asked)).await
        else {
            // Whether it went after all is seen when its pods are counted anew.
            return Ok(Some(
                "it was not let go in time; its disruption budget may have no room".to_owned(),
            ));
        };
        match answer {
            Ok(_) => Ok(None),
            // 409 = another pod has the name now: that one is gone.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(None),
            Err(error) if error.code() == Some(429) => Ok(Some(error.said())),
            Err(error) => Err(error),
        }
    }
}
