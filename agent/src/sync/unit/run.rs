//! Bundles that come in by their rollouts.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_api::{
    application::DriftPolicy,
    bundle::Bundle,
    command::AbortCause,
    reference::ObjectRef,
    status::{FailureReason, TrackSummary},
    sync_record::SyncUnit,
};
use bellwether_proto::wire::Sample;
use jiff::Timestamp;

use super::{Pass, PassError, Unit, memory, run_of, targets};
use crate::{
    rollout::{self, Run, Tick, Versions},
    sync::{
        events::{self, News},
        foreign,
        keep::{Care, FirstLook, Wanted},
        shell::Shell,
    },
};

/// Shortest pause between two passes that nothing woke.
const SHORTEST: Duration = Duration::from_millis(50);
/// Decisions in one pass; more wait for the next, so that other applications get their turn.
const MAX_DECISIONS: usize = 16;

impl Unit {
    /// Drives the runs of a bundle.
    pub(super) async fn drive(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        previous: &str,
        abort: Option<AbortCause>,
    ) -> Result<Pass, PassError> {
        let versions = Versions {
            new: self.bundle(digest).await?,
            old: self.bundle(previous).await?,
        };
        if let Some(granted) = unit.digest.as_ref().filter(|granted| *granted != digest) {
            let _ = self.bundle(granted).await;
        }
        self.open_runs(unit, &versions).await?;
        for _ in 0..MAX_DECISIONS {
            self.command_runs(&versions, abort).await?;
            let wanted = self.run_objects(&versions).await?;
            let held = self.hold_run_objects(&versions, &wanted).await;
            // One object that is refused must not keep the run from its deadline, an abort, or from
            // taking the weight away: the decision is made on what is live, then the refusal told.
            let moved = self.decide_runs(&versions, &wanted).await?;
            self.take_over_events().await?;
            let over = self.runs.values().all(Run::is_over);
            if !over {
                held?;
            }
            if over {
                // What the runs held is let go of once more before they count as over.
                let wanted = self.run_objects(&versions).await?;
                if let Err(error) = self.hold_run_objects(&versions, &wanted).await
                    && !self.namespaces_end().await?
                {
                    return Err(error);
                }
                self.finish_runs(digest, &versions, &targets(&wanted))
                    .await?;
                return Ok(Pass::again());
            }
            if !moved {
                return Ok(Pass {
                    wake_in: self.next_wake(),
                    ..Pass::default()
                });
            }
            self.publish();
        }
        Ok(Pass::again())
    }

    pub(super) async fn open_runs(
        &mut self,
        unit: &SyncUnit,
        versions: &Versions,
    ) -> Result<(), PassError> {
        let of = run_of(&versions.new);
        self.runs
            .retain(|_, run| (run.of.run, run.of.attempt) == (of.run, of.attempt));
        for rollout in &versions.new.rollouts {
            if self.runs.contains_key(&rollout.name) || !versions.changes(rollout) {
                continue;
            }
            let client = self.shell.cluster.client();
            let mut run = Run::open(
                client,
                &versions.new,
                rollout,
                unit.generation,
                self.shell.clock.now(),
            )
            .await?;
            run.scene.config = versions.config_changes(rollout);
            self.runs.insert(rollout.name.clone(), run);
            // Another process may have applied anything since: nothing that was seen counts.
            self.keeper.forget();
        }
        self.counted_runs.set(self.runs.len());
        Ok(())
    }

    async fn command_runs(
        &mut self,
        versions: &Versions,
        abort: Option<AbortCause>,
    ) -> Result<(), PassError> {
        let hub = self.shell.desired.command(&self.application);
        // One that failed takes the others back with it: the release runs as a whole or not at all.
        let failed = self.runs.values().any(|run| run.failure().is_some());
        for run in self.runs.values_mut() {
            let end =
                abort.or((failed && run.failure().is_none()).then_some(AbortCause::RollbackAll));
            run.refresh(&versions.new, hub.clone(), end).await?;
        }
        Ok(())
    }

    /// What the runs want the user's objects to look like.
    async fn run_objects(&mut self, versions: &Versions) -> Result<Vec<Wanted>, PassError> {
        let (base, other) = self.base_of_runs(versions);
        let mut wanted = self.wanted(base).await?;
        if !self.runs_go_back() {
            // Deletions wait for the promotion: what only the old release has is held as it was.
            let named = targets(&wanted);
            let kept = self.wanted(other).await?;
            wanted.extend(
                kept.into_iter()
                    .filter(|want| !named.contains(&want.target)),
            );
            rollout::hold_config(self.runs.values(), &mut wanted);
        }
        for run in self.runs.values() {
            rollout::overlaid(run, versions, &mut wanted);
        }
        Ok(wanted)
    }

    fn runs_go_back(&self) -> bool {
        self.runs.values().any(Run::goes_back)
    }

    /// The release whose objects are held, and the other one.
    fn base_of_runs<'a>(&self, versions: &'a Versions) -> (&'a Arc<Bundle>, &'a Arc<Bundle>) {
        if self.runs_go_back() {
            (&versions.old, &versions.new)
        } else {
            (&versions.new, &versions.old)
        }
    }

    /// Applies what the runs want the cluster to look like, canaries included.
    async fn hold_run_objects(
        &mut self,
        versions: &Versions,
        wanted: &[Wanted],
    ) -> Result<(), PassError> {
        let drift = versions.new.sync.drift;
        let policy = if drift == DriftPolicy::Correct {
            drift
        } else {
            DriftPolicy::Off
        };
        let bundle = Arc::clone(self.base_of_runs(versions).0);
        let dirty = self.dirty.clone();
        // A route that names what could not be made would lose requests; the others go on.
        let mut refused = None;
        let mut held_back = BTreeSet::new();
        for run in self.runs.values_mut() {
            let held = run
                .hold_own_routes(&self.shell.cluster, versions, &dirty)
                .await;
            if let Err(error) = held {
                held_back.extend(run.scene.routes.iter().map(|route| route.target.clone()));
                refused.get_or_insert(error);
            }
        }
        let wanted = but_frozen(wanted, &held_back);
        let kept = self
            .keep(&bundle, &wanted, policy, FirstLook::Apply)
            .await?;
        if !kept.corrected.is_empty() {
            self.tell_drift(&bundle, &kept.corrected).await?;
        }
        for run in self.runs.values_mut() {
            run.hold_canary(&self.shell.cluster, versions, &dirty)
                .await?;
        }
        refused.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Lets every run decide; tells whether the cluster is to look different now.
    async fn decide_runs(
        &mut self,
        versions: &Versions,
        wanted: &[Wanted],
    ) -> Result<bool, PassError> {
        let delivered = targets(wanted);
        let applied: BTreeSet<ObjectRef> = wanted
            .iter()
            .filter(|want| self.keeper.holds(want))
            .map(|want| want.target.clone())
            .collect();
        let mut moved = false;
        let config_held_by = self.config_holders();
        for (name, run) in self.runs.iter_mut().filter(|(_, run)| !run.is_over()) {
            let live = Box::pin(run.scene.look(&self.shell.cluster)).await?;
            let mut edited = BTreeSet::new();
            for want in wanted.iter().filter(|want| want.care != Care::Policy) {
                let Some(object) = run.scene.live_of(&live, &want.target) else {
                    continue;
                };
                let added_to = want.target == run.scene.workload
                    && foreign::edited_since(object, run.began_at());
                if added_to
                    || self
                        .keeper
                        .is_edited(&self.shell.cluster, want, object)
                        .await?
                {
                    edited.insert(want.target.clone());
                }
            }
            let ports = run.scene.ports(&live, &run.rollout);
            let seen = rollout::Seen {
                workload: None,
                bundle: &versions.new,
                edited: &edited,
                delivered: &delivered,
                applied: &applied,
                config_held_by: config_held_by.get(name).map_or(&[], Vec::as_slice),
                meter: &self.shell.meter,
                cluster: &self.shell.cluster,
                hooks: &self.shell.hooks,
                notes: &self.notes,
                poke: &self.poke,
                service_port: ports.service,
                probe_port: ports.container,
                route_settle: self.shell.route_settle,
            };
            self.shell.figures.decisions.inc();
            let tick = run.decide(&live, seen, self.shell.clock.now()).await?;
            let now = self.shell.clock.now();
            run.clear_the_way(&self.shell.cluster, &live, now).await?;
            if !run.holds_edit() && !edited.is_empty() {
                for want in wanted.iter().filter(|want| edited.contains(&want.target)) {
                    self.keeper.forget_one(&want.target);
                    if want.target == run.scene.workload
                        && let Some(object) = run.scene.live_of(&live, &want.target)
                    {
                        self.shell
                            .cluster
                            .restore_template(&want.target, object, &want.object)
                            .await?;
                    }
                }
                moved = true;
            }
            if let (Some(least), Some(workload)) = (run.overlay().least_replicas, &live.workload) {
                let target = &run.scene.workload;
                self.shell.cluster.grow(target, workload, least).await?;
            }
            moved |= tick == Tick::Moved;
            hand_on_checks(&self.shell, &self.key, run);
        }
        Ok(moved)
    }

    /// By rollout, those that test configuration which it changes too and do not promote yet.
    fn config_holders(&self) -> BTreeMap<String, Vec<String>> {
        let holders = |run: &Run| {
            let others = self.runs.iter().filter(|(name, other)| {
                **name != run.rollout.name && !other.promotes() && run.shares_config_with(other)
            });
            others.map(|(name, _)| name.clone()).collect()
        };
        let all = self.runs.iter();
        all.map(|(name, run)| (name.clone(), holders(run)))
            .collect()
    }

    /// Tells whether the namespaces of all runs go away. Nothing can be created there any more, and
    /// a track that is kept until everything is as it was would keep its namespace for ever.
    async fn namespaces_end(&self) -> Result<bool, PassError> {
        for run in self.runs.values() {
            let namespace = ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: None,
                name: run.scene.namespace.clone(),
            };
            let live = self.shell.cluster.get(&namespace).await?;
            if live.is_some_and(|live| !rollout::is_deleting(&live)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn take_over_events(&self) -> Result<(), PassError> {
        self.remember(|unit| {
            for run in self.runs.values() {
                events::carry_over(unit, &run.rollout.name, run.of, run.events());
            }
        })
        .await?;
        Ok(())
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        let now = self.shell.clock.now();
        self.runs
            .values()
            .filter_map(Run::wake_at)
            .min()
            // Never at once: a decision that is due has been made.
            .map(|at| {
                Duration::try_from(at.duration_since(now))
                    .unwrap_or_default()
                    .max(SHORTEST)
            })
    }

    /// Remembers how the runs ended, and only then removes their tracks.
    async fn finish_runs(
        &mut self,
        digest: &str,
        versions: &Versions,
        objects: &BTreeSet<ObjectRef>,
    ) -> Result<(), PassError> {
        let summaries: Vec<TrackSummary> = self
            .runs
            .values()
            .filter_map(|run| run.summary().cloned())
            .collect();
        let failure = self.failure();
        let marked: BTreeSet<String> = self
            .runs
            .values()
            .filter(|run| {
                run.failure()
                    .is_some_and(|(reason, _)| marks_template(reason))
            })
            .filter_map(|run| versions.digest_of(&run.rollout))
            .collect();
        let why = failure
            .as_ref()
            .map(|(reason, message)| format!("{reason:?}: {message}"));
        let news = match &failure {
            None => News::info(
                "Succeeded",
                format!("revision {} runs", versions.new.revision),
            ),
            Some((reason, message)) => News::error(
                "Failed",
                format!(
                    "revision {} was taken back: {reason:?}: {message}",
                    versions.new.revision
                ),
            ),
        };
        self.tell(run_of(&versions.new), news, |unit| {
            memory::runs_over(unit, digest, objects, &summaries, &marked, why.as_deref());
        })
        .await?;
        for run in self.runs.values() {
            run.close().await?;
        }
        self.runs.clear();
        self.counted_runs.set(0);
        Ok(())
    }

    /// Why the runs failed: the first that failed by itself, not because of another.
    fn failure(&self) -> Option<(FailureReason, String)> {
        let failures: BTreeMap<bool, (FailureReason, String)> = self
            .runs
            .values()
            .filter_map(Run::failure)
            .map(|failure| (failure.0 == FailureReason::RollbackAll, failure))
            .collect();
        failures.into_values().next()
    }

    /// Removes tracks that a process left behind which died between remembering and removing.
    pub(super) async fn remove_left_tracks(&mut self, bundle: &Bundle) -> Result<(), PassError> {
        if self.tracks_removed {
            return Ok(());
        }
        for rollout in &bundle.rollouts {
            rollout::remove_left_track(self.shell.cluster.client(), bundle, rollout).await?;
        }
        self.tracks_removed = true;
        Ok(())
    }
}

/// What is wanted, with nothing written of the objects that are held back.
fn but_frozen<'a>(wanted: &'a [Wanted], held_back: &BTreeSet<ObjectRef>) -> Cow<'a, [Wanted]> {
    if held_back.is_empty() {
        return Cow::Borrowed(wanted);
    }
    let freeze = |want: &Wanted| Wanted {
        care: if held_back.contains(&want.target) {
            Care::Frozen
        } else {
            want.care
        },
        ..want.clone()
    };
    wanted.iter().map(freeze).collect()
}

/// Counts the checks that a run has made, and has their samples sent to the hub.
pub(super) fn hand_on_checks(shell: &Shell, key: &str, run: &mut Run) {
    if let Some(late) = run.take_lateness() {
        shell.figures.check_lateness.0.observe(late.as_secs_f64());
    }
    for measured in run.take_measured() {
        shell.figures.checks.inc();
        shell.samples.push(sample(key, run, measured));
    }
}

fn sample(key: &str, run: &Run, measured: rollout::Measured) -> Sample {
    let check = measured.check;
    Sample {
        key: key.to_owned(),
        rollout: run.rollout.name.clone(),
        metric: check.metric,
        run: run.of.run.to_string(),
        attempt: run.of.attempt,
        step: measured.step.unwrap_or(0),
        weight: u32::from(measured.weight),
        at_ms: check
            .at
            .parse::<Timestamp>()
            .map_or(0, |at| at.as_millisecond()),
        value: check.value.and_then(|value| value.parse().ok()),
        verdict: format!("{:?}", check.verdict),
        limit: check.limit,
    }
}

/// Tells whether a failure is the template's own fault, so that it is not tried again by itself.
pub(super) fn marks_template(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::FailedChecks
            | FailureReason::DeadlineExceeded
            | FailureReason::Manual
            | FailureReason::HookRollback
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superseded_templates_may_come_again() {
        assert!(marks_template(FailureReason::FailedChecks));
        assert!(marks_template(FailureReason::Manual));
        assert!(!marks_template(FailureReason::Superseded));
        assert!(!marks_template(FailureReason::RollbackAll));
        assert!(!marks_template(FailureReason::TargetGone));
    }
}
