//! DaemonSets that are updated node by node: their revision is read, and their pods are evicted.

use bellwether_agent_core::{
    by_node::{NodePod, leaving},
    machine::InPlaceWant,
};
use bellwether_api::{
    number::IntOrPercent, reference::ObjectRef, workload_adapter::WorkloadAdapter,
};
use serde_json::{Value, json};

use super::{
    in_place::{is_of, is_ready, own_pods},
    scene::Scene,
    views,
};
use crate::sync::cluster::{Cluster, ClusterError};

const REVISION_LABEL: &str = "controller-revision-hash";

/// Writes into a DaemonSet which revision its template is of, where other kinds say so themselves.
/// `revisions` are the ControllerRevisions of its namespace, read after it.
pub fn name_revision(object: &mut Value, revisions: &[Value]) {
    let owner = views::uid(object);
    let newest = revisions
        .iter()
        .filter(|one| !owner.is_empty() && views::controller_uid(one) == owner)
        .max_by_key(|one| views::number(one, "/revision"));
    let label =
        newest.and_then(|one| views::string_map(one, "/metadata/labels").remove(REVISION_LABEL));
    if let Some(label) = label {
        object["status"]["updateRevision"] = json!(label);
    }
}

/// A pod that is to go, by name and uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goes {
    /// The name.
    pub name: String,
    /// The uid.
    pub uid: String,
    /// Whether it answers nobody, so that no budget counts it.
    pub broken: bool,
}

/// The pods of a DaemonSet that may go now; `old` is the revision that the run began with. Empty
/// unless its controller replaces no pod by itself and knows the version that pods are to have.
pub fn going(
    object: &Value,
    adapter: &WorkloadAdapter,
    pods: &[Value],
    want: &InPlaceWant,
    old: &str,
) -> Vec<Goes> {
    let Some(held) = want.partition else {
        return Vec::new();
    };
    let seen = views::number(object, &adapter.observed_generation)
        >= views::number(object, "/metadata/generation");
    let revision = views::text(object, &adapter.revision);
    let goes_back = want.replaces.is_some();
    let known = !revision.is_empty() && (revision == old) == goes_back;
    let field = adapter.partition.as_ref();
    let stands = field.is_some_and(|at| views::text(object, at) == "OnDelete");
    if !seen || !known || !stands {
        return Vec::new();
    }
    let own: Vec<&Value> = own_pods(object, pods).collect();
    let of_node: Vec<NodePod> = own
        .iter()
        .map(|pod| NodePod {
            name: views::name(pod),
            is_wanted: is_of(pod, adapter, &revision),
            ready: is_ready(pod),
        })
        .collect();
    let nodes = views::count(object, &adapter.replicas);
    let available = views::count(object, &adapter.available);
    let budget = object
        .pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable")
        .and_then(|value| serde_json::from_value::<IntOrPercent>(value.clone()).ok())
        .map_or(1, |budget| budget.ceil_of(nodes));
    let leaving = leaving(&of_node, held, nodes, available, budget);
    let find = |(name, broken): (&str, bool)| {
        let pod = own.iter().find(|pod| views::name(pod) == name)?;
        Some(Goes {
            name: name.to_owned(),
            uid: views::uid(pod),
            // On the way forward the user's own pods are broken ones, which their budget may protect.
            broken: broken && goes_back,
        })
    };
    let broken = leaving.broken.into_iter().map(|name| (name, true));
    let ready = leaving.ready.into_iter().map(|name| (name, false));
    broken.chain(ready).filter_map(find).collect()
}

impl Scene {
    /// Takes pods away, as far as disruption budgets allow it; returns what one of them has against it.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(super) async fn take_away(
        &self,
        cluster: &Cluster,
        pods: &[Goes],
    ) -> Result<Option<String>, ClusterError> {
        let mut refused = None;
        for pod in pods {
            let target = ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: Some(self.namespace.clone()),
                name: pod.name.clone(),
            };
            if pod.broken {
                cluster.delete(&target, Some(&pod.uid)).await?;
            } else if let Some(why) = cluster.evict(&target, &pod.uid).await? {
                refused = Some(format!("{target} may not be evicted: {why}"));
            }
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests;
