//! Workloads that are updated in place: what is read of them, and which pods stand in the way.

use bellwether_agent_core::{
    machine::{InPlaceView, InPlaceWant},
    settled::{DeploymentView, TemplateVersion},
};
use bellwether_api::{reference::ObjectRef, workload_adapter::WorkloadAdapter};
use serde_json::Value;

use super::{
    by_node,
    reading::Reading,
    scene::{Known, Live, Scene},
    views::{self, counted},
};
use crate::sync::cluster::{Cluster, ClusterError};

/// The labels by which a workload selects its pods, for a query; absent = it names none.
pub fn pod_selector(workload: &Value) -> Option<String> {
    let labels: Vec<String> = views::string_map(workload, "/spec/selector/matchLabels")
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    (!labels.is_empty()).then(|| labels.join(","))
}

/// The counts of a workload; `template` says which version it carries.
pub fn workload(
    object: &Value,
    adapter: &WorkloadAdapter,
    template: TemplateVersion,
) -> DeploymentView {
    let paused = adapter
        .paused
        .as_ref()
        .and_then(|pointer| object.pointer(pointer)?.as_bool());
    DeploymentView {
        uid: views::uid(object),
        generation: views::number(object, "/metadata/generation"),
        observed_generation: views::number(object, &adapter.observed_generation),
        replicas: object
            .pointer(&adapter.replicas)
            .map_or(1, |_| views::count(object, &adapter.replicas)),
        total: views::count(object, &adapter.total),
        updated: 0,
        ready: views::count(object, &adapter.ready),
        available: views::count(object, &adapter.available),
        paused: paused.unwrap_or(false),
        revision: views::text(object, &adapter.revision),
        template,
        update_takes: 0,
        unread: String::new(),
    }
}

/// What a decision looks at beside the counts of every kind.
pub fn view(
    object: &Value,
    adapter: &WorkloadAdapter,
    pods: &[Value],
    written: Option<InPlaceWant>,
) -> InPlaceView {
    let revision = views::text(object, &adapter.revision);
    let own: Vec<&Value> = own_pods(object, pods).collect();
    let new: Vec<&Value> = own
        .iter()
        .copied()
        .filter(|pod| is_of(pod, adapter, &revision))
        .collect();
    let ready_old = own
        .iter()
        .filter(|pod| !is_of(pod, adapter, &revision) && is_ready(pod))
        .count();
    let ready_new = new.iter().filter(|pod| is_ready(pod)).count();
    // Available pods that no ready pod of another version accounts for.
    let available = views::count(object, &adapter.available).saturating_sub(counted(ready_old));
    let troubled: Vec<Value> = new
        .iter()
        .filter(|pod| !is_ready(pod))
        .map(|pod| (*pod).clone())
        .collect();
    let field = adapter.partition.as_ref().and_then(|at| object.pointer(at));
    let partition = if adapter.by_node {
        // Nothing counts there: its controller holds every pod, and what was let go is evicted.
        let held = field.and_then(Value::as_str) == Some("OnDelete");
        written
            .as_ref()
            .filter(|_| held)
            .and_then(|want| want.partition)
    } else {
        field
            .and_then(Value::as_u64)
            .and_then(|count| u32::try_from(count).ok())
    };
    let observed = views::number(object, &adapter.observed_generation)
        >= views::number(object, "/metadata/generation");
    let kept = partition
        .filter(|_| adapter.by_ordinal && observed)
        .map_or(0, |partition| kept_new(object, &new, partition));
    let label = new.first().and_then(|pod| {
        views::string_map(pod, "/metadata/labels").remove(adapter.revision_label())
    });
    InPlaceView {
        label: label.unwrap_or_default(),
        written,
        partition,
        updated: updated(object, adapter, own.iter().copied()),
        updated_available: said(object, adapter.updated_available.as_ref())
            .unwrap_or(counted(ready_new).min(available)),
        kept_new: kept,
        trouble: views::trouble(object, &troubled),
    }
}

/// A count of the status; absent = the adapter names none.
fn said(object: &Value, pointer: Option<&String>) -> Option<u32> {
    pointer.map(|pointer| views::count(object, pointer))
}

/// Pods of the template's revision: as the status counts them, or those of its own pods by their label.
pub(super) fn updated<'a>(
    object: &Value,
    adapter: &WorkloadAdapter,
    own: impl Iterator<Item = &'a Value>,
) -> u32 {
    said(object, adapter.updated.as_ref()).unwrap_or_else(|| {
        let revision = views::text(object, &adapter.revision);
        let new = own.filter(|pod| is_of(pod, adapter, &revision));
        counted(new.count())
    })
}

/// New pods below the ordinal from which on pods are let go.
fn kept_new(object: &Value, new: &[&Value], partition: u32) -> u32 {
    let first = views::count(object, "/spec/ordinals/start");
    let is_kept = |pod: &&&Value| {
        let name = views::name(pod);
        let ordinal = name.rsplit_once('-').map(|(_, ordinal)| ordinal);
        let ordinal = ordinal.and_then(|ordinal| ordinal.parse::<u32>().ok());
        ordinal.is_some_and(|ordinal| ordinal < first.saturating_add(partition))
    };
    counted(new.iter().filter(is_kept).count())
}

/// Pods for which the controller of a workload waits although they are to go: of another revision
/// than the one that all are to have again, and not ready. Empty unless the controller has seen that
/// they are to have it.
pub fn pods_in_the_way<'a>(
    object: &Value,
    adapter: &WorkloadAdapter,
    pods: &'a [Value],
    want: &InPlaceWant,
) -> Vec<&'a Value> {
    let Some(revision) = want
        .replaces
        .as_ref()
        .filter(|_| adapter.waits_for_broken_pods)
    else {
        return Vec::new();
    };
    let seen = views::number(object, &adapter.observed_generation)
        >= views::number(object, "/metadata/generation");
    if !seen || views::text(object, &adapter.revision) != *revision {
        return Vec::new();
    }
    own_pods(object, pods)
        .filter(|pod| !is_of(pod, adapter, revision) && !is_ready(pod))
        .collect()
}

/// Pods whose controller is the workload, but for those that stop already.
pub(super) fn own_pods<'a>(object: &Value, pods: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    let owner = views::uid(object);
    pods.iter().filter(move |pod| {
        !owner.is_empty() && views::controller_uid(pod) == owner && !views::is_deleting(pod)
    })
}

/// Tells whether a pod's label says that it is of a revision.
pub(super) fn is_of(pod: &Value, adapter: &WorkloadAdapter, revision: &str) -> bool {
    let labels = views::string_map(pod, "/metadata/labels");
    let label = labels.get(adapter.revision_label());
    label.is_some_and(|label| names(label, revision))
}

/// Some kinds write a revision whole into the label, some without the workload's name before it.
pub(super) fn names(label: &str, revision: &str) -> bool {
    let short = revision
        .strip_suffix(label)
        .is_some_and(|rest| rest.ends_with('-'));
    !label.is_empty() && (label == revision || short)
}

pub(super) fn is_ready(pod: &Value) -> bool {
    views::condition(pod, "Ready").is_some_and(|ready| views::text(ready, "/status") == "True")
}

impl Scene {
    /// Reads what a run in place looks at: the workload, its pods, and what may stand in the way.
    ///
    /// # Errors
    /// The API server refuses or does not answer: then nothing is known, and nothing is decided.
    pub(super) async fn look_in_place(
        &self,
        reading: &Reading<'_>,
        known: Known<'_>,
    ) -> Result<Live, ClusterError> {
        let cluster = reading.cluster;
        let namespace = Some(self.namespace.as_str());
        let (mut workload, space, autoscalers) = tokio::try_join!(
            cluster.get(&self.workload),
            reading.namespace(&self.namespace),
            self.autoscalers(reading),
        )?;
        let pods = match &mut workload {
            // Its revisions have pods, and it says itself what became of them.
            Some(workload) if !self.is_by_revision() => {
                let selector = pod_selector(workload);
                if self.adapter.as_ref().is_some_and(|adapter| adapter.by_node) {
                    let kind = "ControllerRevision";
                    // Not shared: they are of use only if they were read after the workload.
                    let revisions = cluster.list("apps/v1", kind, namespace, None).await?;
                    by_node::name_revision(workload, &revisions);
                }
                cluster
                    .list("v1", "Pod", namespace, selector.as_deref())
                    .await?
            }
            _ => Vec::new(),
        };
        let mut live = match &self.service {
            Some(_) => Box::pin(self.look_at_traffic(reading, known)).await?,
            None => Live::default(),
        };
        live.workload = workload;
        live.namespace = space;
        live.own_pods = pods;
        live.autoscalers = autoscalers;
        Ok(live)
    }

    /// Takes away the pods that the run lets go where the controller replaces none, and deletes those
    /// for which it would wait for ever; a pod made anew meanwhile is left alone. `old` is the revision
    /// that the run began with. Returns what keeps a pod from going.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(super) async fn clear_the_way(
        &self,
        cluster: &Cluster,
        live: &Live,
        want: &InPlaceWant,
        old: &str,
    ) -> Result<Option<String>, ClusterError> {
        let (Some(adapter), Some(workload)) = (&self.adapter, &live.workload) else {
            return Ok(None);
        };
        if adapter.by_node {
            let going = by_node::going(workload, adapter, &live.own_pods, want, old);
            return Box::pin(self.take_away(cluster, &going)).await;
        }
        for pod in pods_in_the_way(workload, adapter, &live.own_pods, want) {
            let target = ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: Some(self.namespace.clone()),
                name: views::name(pod),
            };
            cluster.delete(&target, Some(&views::uid(pod))).await?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
