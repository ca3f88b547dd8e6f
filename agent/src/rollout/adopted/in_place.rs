//! Workloads of others that are updated in place: what is seen of them, and what is written.

use bellwether_agent_core::{
    adopted::in_place::{
        InPlaceSight, Pod, Recorded, Wanted, as_standing, is_as_wanted, version, workload_hold,
    },
    settled::{DeploymentView, TemplateVersion},
};
use bellwether_api::{bundle::Bundle, reference::ObjectRef, workload_adapter::WorkloadAdapter};
use serde_json::Value;

use super::{Held, Only, Run, Versions, merge};
use crate::{
    rollout::{
        in_place::{is_ready, own_pods, workload},
        scene::{Live, find},
        views,
    },
    sync::cluster::{Cluster, ClusterError},
};

/// What is seen of a workload and of the pods that have its labels.
#[must_use]
pub fn sighted(
    object: &Value,
    adapter: &WorkloadAdapter,
    pods: &[Value],
    recorded: &[Recorded],
) -> InPlaceSight {
    let pod = |pod: &Value| Pod {
        name: views::name(pod),
        uid: views::uid(pod),
        label: views::string_map(pod, "/metadata/labels")
            .remove(adapter.revision_label())
            .unwrap_or_default(),
        ready: is_ready(pod),
    };
    let pods = own_pods(object, pods).map(pod).collect();
    InPlaceSight::of(object, adapter, pods, recorded)
}

/// Reads which versions a workload had; where its controller records none, the version of `before`, a
/// bundle that the agent stored while the workload stood still. Read it after the workload.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn recorded(
    cluster: &Cluster,
    object: &Value,
    adapter: &WorkloadAdapter,
    before: Option<&Bundle>,
) -> Result<Vec<Recorded>, ClusterError> {
    let namespace = views::text(object, "/metadata/namespace");
    let kind = "ControllerRevision";
    let revisions = cluster
        .list("apps/v1", kind, Some(&namespace), None)
        .await?;
    let mut recorded = Recorded::of(object, &revisions);
    if recorded.is_empty() {
        recorded.extend(before.and_then(|before| stored(before, object, adapter)));
    }
    Ok(recorded)
}

/// The version that a stored bundle has of a workload; absent = it has none, or does not say which.
#[must_use]
pub fn stored(before: &Bundle, object: &Value, adapter: &WorkloadAdapter) -> Option<Recorded> {
    let target = crate::sync::cluster::reference(object)?;
    let kept = find(before, &target)?;
    let name = views::text(kept, &adapter.revision);
    let template = kept.pointer("/spec/template")?;
    (!name.is_empty()).then(|| Recorded::kept(name, template))
}

/// Merges a patch into a workload that was read as `live`: what its owner wants is in it. Gives whether
/// it was taken.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn patch_in_place(
    cluster: &Cluster,
    target: &ObjectRef,
    live: &Value,
    patch: &Value,
) -> Result<bool, ClusterError> {
    merge(cluster, target, live, patch, Only::ThisVersion).await
}

/// A workload as a decision is to see it.
pub struct Shown {
    /// Its counts.
    pub view: DeploymentView,
    /// The object, where it is to be seen as another than it is.
    pub object: Option<Value>,
    /// Whether it is as the run wants it.
    pub is_as_wanted: bool,
}

impl Run {
    /// The workload of a run in place as a decision is to see it; absent = it is not there, or a copy
    /// runs beside it.
    #[must_use]
    pub fn shown_in_place(&self, versions: &Versions, live: &Live) -> Option<Shown> {
        let (adapter, object) = (self.scene.adapter.as_ref()?, live.workload.as_ref()?);
        let [new, old] = self.templates(versions);
        let held = self.held(&new, &old);
        let wanted = Wanted::from(&self.overlay());
        let sight = sighted(object, adapter, &live.own_pods, &live.recorded);
        let standing =
            as_standing(&sight, held).filter(|_| wanted.template == TemplateVersion::Old);
        let template = version(&sight, held, wanted);
        Some(Shown {
            view: workload(standing.as_ref().unwrap_or(object), adapter, template),
            object: standing,
            is_as_wanted: is_as_wanted(&sight, held, wanted),
        })
    }

    pub(super) fn held<'a>(&'a self, new: &'a Value, old: &'a Value) -> Held<'a> {
        Held {
            rollout: &self.rollout.name,
            new,
            old,
        }
    }

    pub(super) async fn hold_in_place(
        &self,
        cluster: &Cluster,
        versions: &Versions,
        live: &Live,
        adapter: &WorkloadAdapter,
    ) -> Result<bool, ClusterError> {
        let Some(object) = &live.workload else {
            return Ok(false);
        };
        let [new, old] = self.templates(versions);
        let sight = sighted(object, adapter, &live.own_pods, &live.recorded);
        let wanted = Wanted::from(&self.overlay());
        let Some(patch) = workload_hold(&sight, self.held(&new, &old), wanted) else {
            return Ok(false);
        };
        patch_in_place(cluster, &self.scene.workload, object, &patch).await?;
        Ok(true)
    }
}
