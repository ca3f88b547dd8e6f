//! Bundles that come in at once, and bundles that are held.

use std::{collections::BTreeSet, sync::Arc};

use bellwether_agent_core::apply_order;
use bellwether_api::{
    application::DriftPolicy,
    bundle::Bundle,
    reference::ObjectRef,
    status::{Health, Severity, UnitOutcome, WaitReason},
    sync_record::SyncUnit,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Pass, PassError, Unit, memory, removal::TERMINATING_PAUSE, run_of, targets, wait};
use crate::{
    clock::wall,
    desired::chain,
    rollout,
    sync::{
        cluster::{ClusterError, reference},
        events::{self, News},
        keep::{FirstLook, Kept, Part, Wanted},
        shell::PLAIN_DEADLINE,
    },
};

impl Unit {
    /// The objects of a bundle as they are applied when no run is under way, in order.
    pub(super) async fn wanted(&self, bundle: &Bundle) -> Result<Vec<Wanted>, ClusterError> {
        let mut objects: Vec<(Arc<Part>, Value)> = Vec::new();
        for component in &bundle.components {
            let part = Arc::new(Part::of(component));
            let own = component.objects.iter().cloned();
            objects.extend(own.map(|object| (Arc::clone(&part), object)));
        }
        for (_, object) in &mut objects {
            self.name_namespace(bundle, object).await?;
        }
        let governed = rollout::governed_by(bundle);
        for (_, object) in &mut objects {
            if reference(object).is_some_and(|target| governed.contains(&target)) {
                *object = rollout::stamped(bundle, object);
            }
        }
        apply_order::sort_for_apply(&mut objects, |(_, object)| object);
        let wanted = |(part, object)| {
            let wanted = Wanted::new(object)?;
            Some(Wanted { part, ..wanted })
        };
        Ok(objects.into_iter().filter_map(wanted).collect())
    }

    /// Fills in the namespace of an object that needs one and names none.
    async fn name_namespace(
        &self,
        bundle: &Bundle,
        object: &mut Value,
    ) -> Result<(), ClusterError> {
        let text = |path: &str| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if !text("/metadata/namespace").is_empty() {
            return Ok(());
        }
        match self
            .shell
            .cluster
            .kind(text("/apiVersion"), text("/kind"))
            .await
        {
            Ok(kind) if kind.namespaced => {
                object["metadata"]["namespace"] = json!(bundle.target_namespace);
                Ok(())
            }
            Ok(_) | Err(ClusterError::NotServed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Applies a bundle at once and waits until it is healthy.
    pub(super) async fn apply(&mut self, unit: &SyncUnit, digest: &str) -> Result<Pass, PassError> {
        let bundle = self.bundle(digest).await?;
        let wanted = self.wanted(&bundle).await?;
        let deadline = *self
            .plain_deadline_at
            .get_or_insert_with(|| Instant::now() + PLAIN_DEADLINE);
        self.opened.of(digest, &bundle, unit);
        let in_turn = self.in_turn(&wanted);
        match self
            .keep(&bundle, &in_turn, DriftPolicy::Correct, FirstLook::Apply)
            .await
        {
            Err(PassError::Cluster(error)) if error.is_final() => {
                return self
                    .fail_plain(unit, digest, &bundle, "ApplyRejected", &error.answer())
                    .await;
            }
            kept => kept?,
        };
        if self.open_more(&bundle, &wanted).await? {
            // Each has as much time as all of them without an order.
            self.plain_deadline_at = None;
            return Ok(Pass::again());
        }
        if self.is_whole(&bundle) && self.keeper.health() == Health::Healthy {
            self.succeed(&bundle, digest, &targets(&wanted)).await?;
            return Ok(Pass::again());
        }
        if Instant::now() >= deadline {
            let waits: Vec<String> = self
                .waits_in_order(&bundle, &wanted)
                .into_iter()
                .map(|wait| wait.message)
                .collect();
            let why = format!("not healthy in time: {}", waits.join("; "));
            return self
                .fail_plain(unit, digest, &bundle, "DeadlineExceeded", &why)
                .await;
        }
        Ok(Pass {
            waiting_on: self.waits_in_order(&bundle, &wanted),
            wake_in: Some(deadline.saturating_duration_since(Instant::now())),
            ..Pass::default()
        })
    }

    async fn succeed(
        &self,
        bundle: &Bundle,
        digest: &str,
        objects: &BTreeSet<ObjectRef>,
    ) -> Result<(), PassError> {
        let news = News::info("Succeeded", format!("revision {} runs", bundle.revision));
        self.tell(run_of(bundle), news, |unit| {
            memory::applied(unit, digest, objects);
        })
        .await?;
        Ok(())
    }

    async fn fail_plain(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        bundle: &Bundle,
        reason: &'static str,
        why: &str,
    ) -> Result<Pass, PassError> {
        let outcome = if unit.applied_digest.is_some() {
            UnitOutcome::RollingBack
        } else {
            UnitOutcome::Failed
        };
        self.plain_deadline_at = None;
        self.tell(run_of(bundle), News::error(reason, why), |unit| {
            memory::end(unit, digest, outcome, &format!("{reason}: {why}"));
        })
        .await?;
        Ok(Pass::again())
    }

    /// Applies the bundle that ran before, after a plain update failed.
    pub(super) async fn go_back(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
    ) -> Result<Pass, PassError> {
        let bundle = self.bundle(digest).await?;
        let wanted = self.wanted(&bundle).await?;
        let deadline = *self
            .plain_deadline_at
            .get_or_insert_with(|| Instant::now() + PLAIN_DEADLINE);
        self.keep(&bundle, &wanted, DriftPolicy::Correct, FirstLook::Apply)
            .await?;
        if self.keeper.health() != Health::Healthy && Instant::now() < deadline {
            return Ok(Pass {
                waiting_on: self.unhealthy(),
                wake_in: Some(deadline.saturating_duration_since(Instant::now())),
                ..Pass::default()
            });
        }
        let granted = unit.digest.as_deref().unwrap_or(digest);
        let failed = self.bundle(granted).await?;
        let news = News::info(
            "RolledBack",
            format!("revision {} runs again", bundle.revision),
        );
        self.plain_deadline_at = None;
        // Why it failed was remembered when it did.
        let why = unit.reason.clone();
        self.tell(run_of(&failed), news, |unit| {
            memory::end(unit, granted, UnitOutcome::Failed, &why);
        })
        .await?;
        Ok(Pass::again())
    }

    /// Holds a bundle: corrects drift, prunes what it lacks, keeps health fresh.
    pub(super) async fn hold(&mut self, unit: &SyncUnit, digest: &str) -> Result<Pass, PassError> {
        let bundle = self.bundle(digest).await?;
        self.read_granted(unit).await;
        self.remove_left_tracks(&bundle).await?;
        let wanted = self.wanted(&bundle).await?;
        let kept = self
            .keep(&bundle, &wanted, bundle.sync.drift, FirstLook::ByPolicy)
            .await?;
        if !kept.corrected.is_empty() {
            self.tell_drift(&bundle, &kept.corrected).await?;
        }
        let wanted = targets(&wanted);
        self.leaving = self.part_with_surplus(unit, &bundle, &wanted).await?;
        let healed = unit.applied_digest.is_none()
            && unit.outcome == Some(UnitOutcome::Failed)
            && self.keeper.health() == Health::Healthy;
        if healed {
            self.succeed(&bundle, digest, &wanted).await?;
            return Ok(Pass::again());
        }
        Ok(Pass {
            wake_in: (!self.leaving.is_empty()).then_some(TERMINATING_PAUSE),
            ..Pass::default()
        })
    }

    /// Reads the granted bundle, which is only for reports; a refused content was never stored.
    pub(super) async fn read_granted(&mut self, unit: &SyncUnit) {
        if let Some(granted) = &unit.digest
            && let Err(error) = self.bundle(granted).await
        {
            tracing::debug!(unit.key = self.key, error = %chain(&error), "granted bundle is not at hand");
        }
    }

    pub(super) async fn tell_drift(
        &self,
        bundle: &Bundle,
        corrected: &[ObjectRef],
    ) -> Result<(), PassError> {
        self.shell
            .figures
            .drift_corrected
            .inc_by(corrected.len() as u64);
        let at = wall();
        self.remember(|unit| {
            for object in corrected {
                let news = News {
                    severity: Severity::Warn,
                    reason: "DriftCorrected",
                    object: Some(object.clone()),
                    message: format!("{object} was changed by somebody else and written back"),
                };
                events::push(unit, run_of(bundle), at, &news);
            }
        })
        .await?;
        Ok(())
    }

    /// Makes the cluster hold `wanted`, and listens to its objects.
    pub(super) async fn keep(
        &mut self,
        bundle: &Bundle,
        wanted: &[Wanted],
        drift: DriftPolicy,
        look: FirstLook,
    ) -> Result<Kept, PassError> {
        self.ensure_namespace(bundle).await?;
        match look {
            FirstLook::Apply => self.adopt_late(bundle, wanted).await?,
            FirstLook::Observe => {}
            FirstLook::ByPolicy => {
                let corrected = wanted
                    .iter()
                    .filter(|want| want.part.drift.unwrap_or(drift) == DriftPolicy::Correct);
                let corrected: Vec<Wanted> = corrected.cloned().collect();
                self.adopt_late(bundle, &corrected).await?;
            }
        }
        let dirty = std::mem::take(&mut self.dirty);
        let kept = self
            .keeper
            .keep(&self.shell.cluster, wanted, &dirty, drift, look)
            .await;
        if kept.is_err() {
            // What was not looked at yet is looked at the next time.
            self.dirty.add(dirty);
        }
        self.record_written(bundle).await?;
        let kept = kept?;
        self.listen_with_runs(wanted.iter().map(|want| &want.target));
        self.drifted.clone_from(&kept.drifted);
        Ok(kept)
    }

    async fn ensure_namespace(&mut self, bundle: &Bundle) -> Result<(), PassError> {
        if !bundle.create_namespace
            || self.namespace_known.as_ref() == Some(&bundle.target_namespace)
        {
            return Ok(());
        }
        self.shell
            .cluster
            .ensure_namespace(&bundle.target_namespace)
            .await?;
        self.namespace_known = Some(bundle.target_namespace.clone());
        Ok(())
    }

    pub(super) fn unhealthy(&self) -> Vec<WaitReason> {
        self.keeper
            .statuses()
            .into_iter()
            .filter(|status| status.health != Health::Healthy)
            .take(10)
            .map(|status| WaitReason {
                on: Some(status.object.to_string()),
                ..wait(
                    if status.reason.is_empty() {
                        "NotHealthy"
                    } else {
                        &status.reason
                    },
                    format!("{}: {}", status.object, status.message),
                )
            })
            .collect()
    }
}
