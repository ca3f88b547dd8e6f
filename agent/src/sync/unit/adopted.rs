//! A Rollout of a workload that somebody else delivers: watches it, takes its updates over, and brings
//! them in by runs.
//!
//! The unit's `applied_digest` names what the last run began from, `running_digest` what the run under
//! way brings in: two bundles that the agent captured from live objects.

mod begin;
mod drive;
mod in_place;
mod memory;
mod status;

pub(crate) use memory::is_known;

use std::{sync::Arc, time::Duration};

use bellwether_agent_core::{
    adopted::{Look, Sight, look, owed, pause, release},
    health::{self, CustomHealth},
};
use bellwether_api::{
    reference::ObjectRef,
    rollout::WorkloadRef,
    standing_grant::StandingGrant,
    status::{ObjectStatus, Severity, UnitOutcome},
    sync_record::{HeldObject, SyncUnit},
};
use serde_json::Value;
use uuid::Uuid;

use super::{Pass, PassError, RunOf, Unit, interests, wait};
use crate::{
    desired::ContentError,
    rollout,
    sync::{events::News, watch::Dirty},
};
use begin::Changed;

/// How soon a change of ours is looked at again that nothing may tell of.
const SOON: Duration = Duration::from_millis(300);
/// How soon something that somebody else must mend is looked at again.
const LATER: Duration = Duration::from_secs(5);

/// What is known of a workload that somebody else delivers, while the agent lives.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// The grant with its digest; absent = it was not read yet, or there is none.
    pub(super) grant: Option<(String, Arc<StandingGrant>)>,
    /// The workload's health; absent = it was not looked at yet.
    workload: Option<ObjectStatus>,
    /// The change that is held was paused by the agent, after it had been written.
    caught: bool,
}

#[cfg(test)]
impl Adopted {
    /// One whose grant was read already.
    pub(super) fn granted(digest: &str, grant: StandingGrant) -> Self {
        Self {
            grant: Some((digest.to_owned(), Arc::new(grant))),
            ..Self::default()
        }
    }
}

/// A workload as it was seen at one look.
struct Looked {
    target: ObjectRef,
    live: Value,
    sight: Sight,
}

/// An event that belongs to no run.
pub(super) const NO_RUN: RunOf<'static> = RunOf {
    run: Uuid::nil(),
    attempt: 0,
    alerts: &[],
};

impl Unit {
    pub(super) async fn pass_adopted(&mut self, unit: &SyncUnit) -> Result<Pass, PassError> {
        let grant = match &unit.digest {
            Some(digest) => match self.grant(digest).await {
                Ok(grant) => Some(grant),
                // A content that was refused when it came was never stored.
                Err(ContentError::Absent { .. }) if unit.outcome == Some(UnitOutcome::Refused) => {
                    return Ok(Pass::default());
                }
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        if let (Some(running), Some(previous)) = (&unit.running_digest, &unit.applied_digest) {
            let driven = self.drive_adopted(unit, grant.as_deref(), running, previous);
            return Box::pin(driven).await;
        }
        self.dirty = Dirty::default();
        self.remove_tracks_of([&unit.applied_digest, &None]).await?;
        match grant {
            // Its Rollout is gone and its last run is over: nothing more is begun.
            Some(grant) if grant.ends() => {
                if unit.objects.is_empty() {
                    return Ok(Pass::default());
                }
                self.let_workload_go(unit).await
            }
            Some(grant) => Box::pin(self.rest(unit, &grant)).await,
            None => self.let_workload_go(unit).await,
        }
    }

    async fn grant(&mut self, digest: &str) -> Result<Arc<StandingGrant>, ContentError> {
        let known = self.adopted.as_ref().and_then(|one| one.grant.as_ref());
        if let Some((of, grant)) = known
            && of == digest
        {
            return Ok(Arc::clone(grant));
        }
        let grant = Arc::new(self.shell.desired.grant(digest).await?);
        if let Some(adopted) = &mut self.adopted {
            adopted.grant = Some((digest.to_owned(), Arc::clone(&grant)));
        }
        Ok(grant)
    }

    /// Looks at the workload while no run is under way.
    async fn rest(&mut self, unit: &SyncUnit, grant: &StandingGrant) -> Result<Pass, PassError> {
        let target = workload_of(&grant.spec.workload);
        self.listen(interests(std::iter::once(&target)));
        if let Some(owner) = self.taken().get(&target) {
            let why = format!("{target} belongs to {owner} already");
            self.settle_on(unit, UnitOutcome::Refused, &why, "Refused", Severity::Error)
                .await?;
            return Ok(waiting("Refused", why, LATER));
        }
        if !unit.objects.iter().any(|held| held.is(&target)) {
            // What is left of a workload that the plan named before is its owner's again.
            if !unit.objects.is_empty() {
                return self.let_workload_go(unit).await;
            }
            let named = HeldObject::from(target.clone());
            self.remember(|unit| unit.objects = vec![named.clone()])
                .await?;
        }
        if let Some(adapter) = in_place::adapter(grant) {
            return Box::pin(self.rest_in_place(unit, grant, &target, &adapter)).await;
        }
        let Some(looked) = self.look_at(&target).await? else {
            let why = format!("{target} does not exist");
            self.remember(memory::unknown).await?;
            return Ok(waiting("WorkloadMissing", why, LATER));
        };
        self.answer(unit, grant, &looked).await
    }

    /// Reads the workload and its ReplicaSets.
    async fn look_at(&mut self, target: &ObjectRef) -> Result<Option<Looked>, PassError> {
        let cluster = Arc::clone(&self.shell.cluster);
        let namespace = target.namespace.as_deref();
        // In this order: a ReplicaSet that is newer than the template beside it would look like one of
        // the version before.
        let sets = cluster
            .list(&target.api_version, "ReplicaSet", namespace, None)
            .await?;
        let live = cluster.get(target).await?;
        let live = live.filter(|live| !rollout::is_deleting(live));
        self.note_workload(target, live.as_ref());
        Ok(live.map(|live| Looked {
            target: target.clone(),
            sight: Sight::of(&live, &sets),
            live,
        }))
    }

    fn note_workload(&mut self, target: &ObjectRef, live: Option<&Value>) {
        let status = health::of(target, live, &CustomHealth::default());
        if let Some(adopted) = &mut self.adopted {
            adopted.workload = Some(status);
        }
    }

    async fn answer(
        &mut self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        looked: &Looked,
    ) -> Result<Pass, PassError> {
        let target = &looked.target;
        match look(&looked.sight, memory::is_known(unit)) {
            Look::Catch => self.catch(grant, looked).await,
            Look::Undo { replica_set } => self.take_back(target, &replica_set).await,
            Look::Stands => match looked.sight.others.first() {
                Some(stable) => {
                    let changed = Changed {
                        target,
                        live: &looked.live,
                        stable: &stable.template,
                        revision: None,
                    };
                    Box::pin(self.begin_adopted(unit, grant, &changed)).await
                }
                None => Ok(Pass::again()),
            },
            Look::Release => {
                self.free(looked).await?;
                let message = format!("{target} has the template of its pods again");
                self.tell(NO_RUN, about(target, "Released", message), |_| {})
                    .await?;
                Ok(Pass::again())
            }
            Look::Bypassed => {
                self.free(looked).await?;
                let why = format!(
                    "Bypassed: pods of the new version of {target} serve already; the update goes \
                     on without its Rollout"
                );
                self.leave_alone(unit, &why, "Bypassed", Severity::Warn)
                    .await
            }
            Look::PausedByOthers => {
                let why = format!("WorkloadPaused: {target} was paused by whoever writes it");
                self.leave_alone(unit, &why, "WorkloadPaused", Severity::Info)
                    .await
            }
            Look::Completes => {
                if let Some(patch) = owed(&looked.sight, &grant.rollout.name) {
                    let cluster = &self.shell.cluster;
                    rollout::patch_workload(cluster, target, &looked.live, &patch).await?;
                }
                Ok(Pass::again())
            }
            Look::Rest => {
                rollout::disown(&self.shell.cluster, target, &looked.live, None).await?;
                self.remember(memory::at_rest).await?;
                Ok(Pass::default())
            }
            Look::Settling => Ok(waiting(
                "Settling",
                format!("{target} is not seen as paused yet, or pods of another version end"),
                SOON,
            )),
            Look::NotSettled => Ok(waiting(
                "NotSettled",
                format!("{target} changes; it is governed once it stands still"),
                LATER,
            )),
        }
    }

    /// Pauses a workload that carries a new template. Before anything else: every moment may make a pod.
    async fn catch(&mut self, grant: &StandingGrant, looked: &Looked) -> Result<Pass, PassError> {
        let target = &looked.target;
        if let Some(patch) = pause(&looked.sight, &grant.rollout.name) {
            rollout::patch_workload(&self.shell.cluster, target, &looked.live, &patch).await?;
            if let Some(adopted) = &mut self.adopted {
                adopted.caught = true;
            }
            let message = format!("{target} changed: it is paused, and its update is taken over");
            self.tell(NO_RUN, about(target, "TakenOver", message), |_| {})
                .await?;
        }
        Ok(Pass::again())
    }

    /// Takes back pods that were made before the pause.
    async fn take_back(&self, target: &ObjectRef, set: &str) -> Result<Pass, PassError> {
        let namespace = target.namespace.clone().unwrap_or_default();
        rollout::undo(&self.shell.cluster, &namespace, set).await?;
        let message = format!("pods of ReplicaSet {set} were made before the pause; they go");
        self.tell(NO_RUN, about(target, "PodsTakenBack", message), |_| {})
            .await?;
        let why = format!("{target} takes pods back");
        Ok(waiting("Settling", why, SOON))
    }

    async fn leave_alone(
        &self,
        unit: &SyncUnit,
        why: &str,
        word: &'static str,
        severity: Severity,
    ) -> Result<Pass, PassError> {
        self.settle_on(unit, UnitOutcome::Succeeded, why, word, severity)
            .await?;
        Ok(Pass::default())
    }

    /// Lets a held workload go on with the template that it has.
    async fn free(&self, looked: &Looked) -> Result<(), PassError> {
        let Looked {
            target,
            live,
            sight,
        } = looked;
        if let Some(mut patch) = release(sight) {
            // What serves already stays: only the pause goes.
            if let Some(spec) = patch.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("template");
            }
            rollout::patch_workload(&self.shell.cluster, target, live, &patch).await?;
        }
        Ok(())
    }

    /// Lets go of a workload that is not governed any more: what was held off stays off.
    async fn let_workload_go(&mut self, unit: &SyncUnit) -> Result<Pass, PassError> {
        for held in &unit.objects {
            let target = held.object();
            if target.kind != "Deployment" {
                if self.let_in_place_go(unit, &target).await? {
                    return Ok(Pass::again());
                }
                continue;
            }
            let Some(looked) = self.look_at(&target).await? else {
                continue;
            };
            let cluster = &self.shell.cluster;
            if let Some(patch) = release(&looked.sight) {
                rollout::patch_workload(cluster, &target, &looked.live, &patch).await?;
                return Ok(Pass::again());
            }
            rollout::disown(cluster, &target, &looked.live, None).await?;
        }
        self.listen(std::collections::BTreeMap::new());
        if let Some(adopted) = &mut self.adopted {
            *adopted = Adopted::default();
        }
        if unit.objects.is_empty() && unit.outcome == Some(UnitOutcome::Succeeded) {
            return Ok(Pass::default());
        }
        let news = News::info("Removed", "nothing is governed any more");
        self.tell(NO_RUN, news, memory::let_go).await?;
        // The plan may name another workload by now.
        Ok(Pass {
            again: unit.digest.is_some(),
            ..Pass::default()
        })
    }

    /// Remembers how a workload is held, and tells of it once.
    async fn settle_on(
        &self,
        unit: &SyncUnit,
        outcome: UnitOutcome,
        why: &str,
        word: &'static str,
        severity: Severity,
    ) -> Result<(), PassError> {
        if unit.outcome == Some(outcome) && unit.reason == why {
            return Ok(());
        }
        let news = News {
            severity,
            reason: word,
            object: unit.objects.first().map(HeldObject::object),
            message: why.to_owned(),
        };
        self.tell(NO_RUN, news, |unit| memory::settle_on(unit, outcome, why))
            .await?;
        Ok(())
    }
}

fn workload_of(workload: &WorkloadRef) -> ObjectRef {
    ObjectRef {
        api_version: workload.api_version.clone(),
        kind: workload.kind.clone(),
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
    }
}

fn waiting(reason: &str, why: String, wake_in: Duration) -> Pass {
    Pass {
        waiting_on: vec![wait(reason, why)],
        wake_in: Some(wake_in),
        ..Pass::default()
    }
}

fn about(target: &ObjectRef, word: &'static str, message: String) -> News {
    News {
        object: Some(target.clone()),
        ..News::info(word, message)
    }
}
