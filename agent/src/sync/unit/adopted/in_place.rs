//! Workloads of others that are updated in place, while no run is under way.

use std::sync::Arc;

use bellwether_agent_core::adopted::{
    Look,
    in_place::{
        InPlaceSight, Recorded, adapter_of, completed, freed, hold, look_in_place, released,
    },
};
use bellwether_api::{
    bundle::Bundle, reference::ObjectRef, standing_grant::StandingGrant, status::Severity,
    sync_record::SyncUnit, workload_adapter::WorkloadAdapter,
};
use serde_json::Value;

use super::{
    LATER, NO_RUN, Pass, PassError, SOON, Unit, about,
    begin::{Changed, packed, put},
    memory, waiting,
};
use crate::{
    desired::{ContentError, readable},
    rollout,
};

/// A workload in place as it was seen at one look.
struct Seen {
    target: ObjectRef,
    live: Value,
    sight: InPlaceSight,
}

/// How a workload in place of a grant keeps its pods back; absent = a copy runs beside it.
pub(super) fn adapter(grant: &StandingGrant) -> Option<WorkloadAdapter> {
    grant.spec.strategy.batch.as_ref()?;
    WorkloadAdapter::of(&grant.spec.workload)
}

impl Unit {
    pub(super) async fn rest_in_place(
        &mut self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        target: &ObjectRef,
        adapter: &WorkloadAdapter,
    ) -> Result<Pass, PassError> {
        let before = self.before(unit).await?;
        let Some(seen) = self.see(target, Some(adapter), before.as_deref()).await? else {
            let why = format!("{target} does not exist");
            self.remember(memory::unknown).await?;
            return Ok(waiting("WorkloadMissing", why, LATER));
        };
        let look = look_in_place(&seen.sight, memory::is_known(unit));
        let moves = matches!(look, Look::Undo { .. } | Look::Bypassed | Look::Settling);
        if moves
            && seen.sight.is_held()
            && self.holds_failed(unit, grant, target, &seen.live).await?
        {
            return Ok(Pass::default());
        }
        match look {
            Look::Catch => self.catch_in_place(grant, &seen).await,
            Look::Undo { .. } => self.take_pods_back(&seen).await,
            Look::Completes => self.complete(grant, &seen).await,
            Look::Stands => Box::pin(self.begin_in_place(unit, grant, &seen)).await,
            Look::Release => {
                self.free_in_place(&seen).await?;
                let message = format!("{target} has the template of its pods again");
                self.tell(NO_RUN, about(target, "Released", message), |_| {})
                    .await?;
                Ok(Pass::again())
            }
            Look::Bypassed => {
                self.free_in_place(&seen).await?;
                let why = format!(
                    "Bypassed: pods of {target} run the new version already, or it is the one that was \
                     complete before, or nobody has recorded the one before; the update goes on without \
                     its Rollout"
                );
                self.leave_alone(unit, &why, "Bypassed", Severity::Warn)
                    .await
            }
            Look::PausedByOthers => {
                let why = format!(
                    "WorkloadPaused: whoever writes {target} says by themselves which pods change"
                );
                self.leave_alone(unit, &why, "WorkloadPaused", Severity::Info)
                    .await
            }
            Look::Rest => {
                rollout::disown(&self.shell.cluster, target, &seen.live, None).await?;
                self.remember(memory::at_rest).await?;
                self.keep_version(unit, grant, &seen, before.as_deref())
                    .await
            }
            Look::Settling => Ok(waiting(
                "Settling",
                format!("{target} is not seen as held yet, or pods of it are missing"),
                SOON,
            )),
            Look::NotSettled => Ok(waiting(
                "NotSettled",
                format!("{target} changes; it is governed once it stands still"),
                LATER,
            )),
        }
    }

    /// What the agent stored while the workload stood still, or what the last run brought in; absent =
    /// there is none, or it can never be read.
    async fn before(&mut self, unit: &SyncUnit) -> Result<Option<Arc<Bundle>>, ContentError> {
        let Some(digest) = &unit.applied_digest else {
            return Ok(None);
        };
        readable(self.bundle(digest).await)
    }

    /// Reads a workload, its pods, and the versions that it had. `adapter` absent = what is known of its
    /// kind, or noted on it.
    async fn see(
        &mut self,
        target: &ObjectRef,
        adapter: Option<&WorkloadAdapter>,
        before: Option<&Bundle>,
    ) -> Result<Option<Seen>, PassError> {
        let cluster = Arc::clone(&self.shell.cluster);
        let live = cluster.get(target).await?;
        let live = live.filter(|live| !rollout::is_deleting(live));
        self.note_workload(target, live.as_ref());
        let Some(live) = live else {
            return Ok(None);
        };
        let Some(adapter) = adapter.cloned().or_else(|| adapter_of(&live)) else {
            return Ok(None);
        };
        let namespace = target.namespace.as_deref();
        let selector = rollout::pod_selector(&live);
        let pods = cluster
            .list("v1", "Pod", namespace, selector.as_deref())
            .await?;
        // After both: a version that is newer than the workload beside it is never taken for its own.
        let recorded = rollout::recorded(&cluster, &live, &adapter, before).await?;
        Ok(Some(Seen {
            sight: rollout::sighted(&live, &adapter, &pods, &recorded),
            target: target.clone(),
            live,
        }))
    }

    /// Holds a workload that carries a new template. Before anything else: every moment may change a pod.
    async fn catch_in_place(
        &mut self,
        grant: &StandingGrant,
        seen: &Seen,
    ) -> Result<Pass, PassError> {
        let target = &seen.target;
        let Some(patch) = hold(&seen.sight, &grant.rollout.name) else {
            return Ok(Pass::again());
        };
        let cluster = &self.shell.cluster;
        if rollout::patch_in_place(cluster, target, &seen.live, &patch).await? {
            if let Some(adopted) = &mut self.adopted {
                adopted.caught = true;
            }
            let message = format!("{target} changed: it is held, and its update is taken over");
            self.tell(NO_RUN, about(target, "TakenOver", message), |_| {})
                .await?;
        }
        Ok(Pass::again())
    }

    /// Has its controller count the version before as complete, so that pods which come are of that one.
    async fn complete(&self, grant: &StandingGrant, seen: &Seen) -> Result<Pass, PassError> {
        let target = &seen.target;
        if let Some(patch) = completed(&seen.sight, &grant.rollout.name) {
            rollout::patch_in_place(&self.shell.cluster, target, &seen.live, &patch).await?;
        }
        let why =
            format!("the controller of {target} does not count the version before as complete");
        Ok(waiting("Settling", why, SOON))
    }

    /// Takes back pods that were made before the hold: its controller makes them anew, of the version
    /// before.
    async fn take_pods_back(&self, seen: &Seen) -> Result<Pass, PassError> {
        let target = &seen.target;
        let made = seen.sight.current.iter().flat_map(|version| &version.pods);
        let mut names = Vec::new();
        for pod in made.filter(|pod| !pod.ready) {
            let object = ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: target.namespace.clone(),
                name: pod.name.clone(),
            };
            self.shell.cluster.delete(&object, Some(&pod.uid)).await?;
            names.push(pod.name.clone());
        }
        let message = format!("{} were made before the hold; they go", names.join(", "));
        self.tell(NO_RUN, about(target, "PodsTakenBack", message), |_| {})
            .await?;
        let why = format!("{target} takes pods back");
        Ok(waiting("Settling", why, SOON))
    }

    async fn begin_in_place(
        &mut self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        seen: &Seen,
    ) -> Result<Pass, PassError> {
        let Some((stable, template)) = seen.sight.stable() else {
            return Ok(Pass::again());
        };
        let changed = Changed {
            target: &seen.target,
            live: &seen.live,
            stable: template,
            revision: Some((&seen.sight.adapter.revision, &stable.revision)),
        };
        Box::pin(self.begin_adopted(unit, grant, &changed)).await
    }

    /// Lets a held workload go on with the template that it has.
    async fn free_in_place(&self, seen: &Seen) -> Result<(), PassError> {
        if let Some(patch) = freed(&seen.sight) {
            let cluster = &self.shell.cluster;
            rollout::patch_in_place(cluster, &seen.target, &seen.live, &patch).await?;
        }
        Ok(())
    }

    /// Lets go of a workload that is not governed any more; gives whether something was written.
    pub(super) async fn let_in_place_go(
        &mut self,
        unit: &SyncUnit,
        target: &ObjectRef,
    ) -> Result<bool, PassError> {
        let before = self.before(unit).await?;
        let Some(seen) = self.see(target, None, before.as_deref()).await? else {
            return Ok(false);
        };
        let cluster = &self.shell.cluster;
        if let Some(patch) = released(&seen.sight) {
            rollout::patch_in_place(cluster, target, &seen.live, &patch).await?;
            return Ok(true);
        }
        rollout::disown(cluster, target, &seen.live, None).await?;
        Ok(false)
    }

    /// Stores what a workload that stands still is, where its controller records no versions: an update
    /// goes back to it.
    async fn keep_version(
        &mut self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        seen: &Seen,
        before: Option<&Bundle>,
    ) -> Result<Pass, PassError> {
        let Seen { live, sight, .. } = seen;
        let revision = live
            .pointer(&sight.adapter.revision)
            .and_then(Value::as_str);
        let stands = sight.marks.is_observed && sight.current.is_some() && revision.is_some();
        let kept = before.and_then(|before| rollout::stored(before, live, &sight.adapter));
        let now = revision.map(|name| Recorded::kept(name.to_owned(), &sight.template));
        let is_kept = kept.is_some() && kept == now;
        if !stands || is_kept || sight.is_recorded_by_controller {
            return Ok(Pass::default());
        }
        let template = super::begin::digest_of_template(live);
        let mut bundle = self.bundle_of(unit, grant, &template).await?;
        bundle.revision = bundle.revision.saturating_sub(1);
        put(&mut bundle, vec![live.clone()]);
        let Some(blob) = packed(&bundle) else {
            return Ok(Pass::default());
        };
        let digest = hex::encode(blob.digest);
        let desired = self.shell.desired.clone();
        desired
            .update_naming(&self.key, &blob, |unit| {
                unit.applied_digest = Some(digest.clone());
            })
            .await?;
        self.bundles.insert(digest, Arc::new(bundle));
        Ok(Pass::default())
    }
}
