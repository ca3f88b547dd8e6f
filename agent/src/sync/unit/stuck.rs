//! Pods in the way of a plain release that goes back.

use std::sync::Arc;

use bellwether_agent_core::stuck_pods::stuck_pods;
use bellwether_api::{reference::ObjectRef, status::Severity};

use super::{PassError, Unit, run_of};
use crate::{
    rollout::{pod_selector, uid},
    sync::{cluster::reference, events::News, keep::Wanted},
};

impl Unit {
    /// Deletes the pods for which the controllers of StatefulSets would wait for ever; `failed` names
    /// the release that goes back.
    pub(super) async fn delete_stuck_pods(
        &mut self,
        failed: &str,
        wanted: &[Wanted],
    ) -> Result<(), PassError> {
        for want in wanted {
            let target = &want.target;
            if (target.api_version.as_str(), target.kind.as_str()) != ("apps/v1", "StatefulSet") {
                continue;
            }
            self.delete_pods_of(failed, target).await?;
        }
        Ok(())
    }

    async fn delete_pods_of(&mut self, failed: &str, target: &ObjectRef) -> Result<(), PassError> {
        let cluster = Arc::clone(&self.shell.cluster);
        let Some(live) = cluster.get(target).await? else {
            return Ok(());
        };
        // Without labels it would select any pod; the API server takes no such StatefulSet.
        let Some(selector) = pod_selector(&live) else {
            return Ok(());
        };
        let namespace = target.namespace.as_deref();
        let pods = cluster
            .list("v1", "Pod", namespace, Some(&selector))
            .await?;
        for pod in stuck_pods(&live, &pods) {
            let Some(at) = reference(pod) else { continue };
            cluster.delete(&at, Some(&uid(pod))).await?;
            let news = News {
                severity: Severity::Warn,
                reason: "BrokenPodDeleted",
                message: format!(
                    "{at} of the version that failed was not ready, and {target} would have waited \
                     for it for ever"
                ),
                object: Some(at),
            };
            let bundle = self.bundle(failed).await?;
            self.tell(run_of(&bundle), news, |_| {}).await?;
        }
        Ok(())
    }
}
