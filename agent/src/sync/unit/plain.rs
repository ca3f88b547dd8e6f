//! Bundles that come in at once, and bundles that are held.

use std::{collections::BTreeSet, time::Duration};

use bellwether_api::{
    application::DriftPolicy,
    bundle::Bundle,
    reference::ObjectRef,
    status::{Health, Severity, UnitOutcome, WaitReason},
    sync_record::SyncUnit,
};
use tokio::time::Instant;

use super::{
    Pass, PassError, Unit, memory,
    removal::{TERMINATING_PAUSE, has_surplus},
    run_of, targets, wait,
};
use crate::{
    clock::wall,
    desired::chain,
    sync::{
        events::{self, News},
        keep::FirstLook,
        shell::PLAIN_DEADLINE,
    },
};

impl Unit {
    /// Applies a bundle at once and waits until it is healthy.
    pub(super) async fn apply(&mut self, unit: &SyncUnit, digest: &str) -> Result<Pass, PassError> {
        let bundle = self.bundle(digest).await?;
        let wanted = self.wanted(&bundle).await?;
        let since = *self.plain_since.get_or_insert_with(Instant::now);
        self.opened.of(digest, &bundle, unit);
        let in_turn = self.in_turn(&wanted);
        self.keeper.set_goes_back(bundle.returns);
        let kept = match self
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
        let look_in = kept.look_in;
        if self.open_more(&bundle, &wanted).await? {
            // The time of those that come after others begins with their turn.
            self.plain_since = None;
            return Ok(Pass::again());
        }
        if self.is_whole(&bundle) && self.keeper.health() == Health::Healthy {
            if let Some(pass) = self.hooks_after(unit, digest, &bundle).await? {
                return Ok(pass);
            }
            self.succeed(&bundle, digest, &targets(&wanted)).await?;
            return Ok(Pass::again());
        }
        let limit = self.time_limit(&bundle, &wanted);
        let deadline = since + limit.as_std();
        if Instant::now() >= deadline {
            let waits: Vec<String> = self
                .waits_in_order(&bundle, &wanted)
                .into_iter()
                .map(|wait| wait.message)
                .collect();
            let why = format!("not healthy within {limit}: {}", waits.join("; "));
            return self
                .fail_plain(unit, digest, &bundle, "DeadlineExceeded", &why)
                .await;
        }
        Ok(Pass {
            waiting_on: self.waits_in_order(&bundle, &wanted),
            wake_in: sooner(look_in, deadline),
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

    pub(super) async fn fail_plain(
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
        self.plain_since = None;
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
        self.read_granted(unit).await;
        let wanted = self.wanted(&bundle).await?;
        let deadline = *self.plain_since.get_or_insert_with(Instant::now) + PLAIN_DEADLINE;
        self.keeper.set_goes_back(true);
        let kept = self
            .keep(&bundle, &wanted, DriftPolicy::Correct, FirstLook::Apply)
            .await?;
        let granted = unit.digest.as_deref().unwrap_or(digest);
        if self.keeper.health() != Health::Healthy && Instant::now() < deadline {
            self.delete_stuck_pods(granted, &wanted).await?;
            return Ok(Pass {
                waiting_on: self.unhealthy(),
                wake_in: sooner(kept.look_in, deadline),
                ..Pass::default()
            });
        }
        let failed = self.bundle(granted).await?;
        let news = News::info(
            "RolledBack",
            format!("revision {} runs again", bundle.revision),
        );
        // Why it failed was remembered when it did.
        let why = unit.reason.clone();
        self.tell(run_of(&failed), news, |unit| {
            memory::end(unit, granted, UnitOutcome::Failed, &why);
        })
        .await?;
        self.plain_since = None;
        Ok(Pass::again())
    }

    /// Holds a bundle: corrects drift, prunes what it lacks, keeps health fresh.
    pub(super) async fn hold(&mut self, unit: &SyncUnit, digest: &str) -> Result<Pass, PassError> {
        let bundle = self.bundle(digest).await?;
        self.read_granted(unit).await;
        self.remove_tracks_of([&unit.applied_digest, &unit.digest])
            .await?;
        let wanted = self.wanted(&bundle).await?;
        if has_surplus(unit, &bundle, &targets(&wanted)) {
            self.parted_with = None;
        }
        self.keeper.set_goes_back(false);
        let kept = self
            .keep(&bundle, &wanted, bundle.sync.drift, FirstLook::ByPolicy)
            .await;
        // Whatever rights somebody took away: what is deleted asks for none of them.
        let kept = match kept {
            Err(PassError::Cluster(error)) if !error.lacks_rights() => return Err(error.into()),
            Err(error @ PassError::Cluster(_)) => Err(error),
            kept => Ok(kept?),
        };
        if let Ok(kept) = &kept
            && !kept.corrected.is_empty()
        {
            self.tell_drift(&bundle, &kept.corrected).await?;
        }
        let wanted = targets(&wanted);
        self.leaving = self.part_with_surplus(unit, &bundle, &wanted).await?;
        self.parted_with = Some(digest.to_owned());
        let kept = kept?;
        let healed = unit.applied_digest.is_none()
            && unit.outcome == Some(UnitOutcome::Failed)
            && !unit.chart_hooks.has_failed(digest)
            && self.keeper.health() == Health::Healthy;
        if healed {
            self.succeed(&bundle, digest, &wanted).await?;
            return Ok(Pass::again());
        }
        let leaving = (!self.leaving.is_empty()).then_some(TERMINATING_PAUSE);
        Ok(Pass {
            wake_in: kept.look_in.into_iter().chain(leaving).min(),
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

    pub(super) async fn ensure_namespace(&mut self, bundle: &Bundle) -> Result<(), PassError> {
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

/// How long until objects are looked at again, or the deadline is over.
fn sooner(look_in: Option<Duration>, deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    Some(look_in.map_or(left, |wait| wait.min(left)))
}
