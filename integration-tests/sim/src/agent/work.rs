//! The agent's work on its units: one decision a turn, saved and then done.

use bellwether_agent_core::machine::{Decision, Overlay, RunState, Stage, decide};
use bellwether_api::{
    bundle::{Bundle, BundleMode},
    command::{Abort, AbortCause, Command},
    reference::ObjectRef,
    status::{FailureReason, Severity, UnitOutcome},
    track::RolloutTrackSpec,
};
use bellwether_store::Digest;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    durable::{Durable, Track},
    measure::pretend,
    process::Agent,
};
use crate::{
    Mutant,
    count::Counts,
    invariant::{Broken, Edge, deadline_was_kept},
    scenario::{application, image_of, other_key},
};

/// How long a plain release may take until it runs.
const PLAIN_DEADLINE: SignedDuration = SignedDuration::from_secs(150);

impl Agent {
    /// Works on what it holds. `truth` is the time that really passes.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn work(
        &mut self,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let now = self.time(truth, mutant);
        self.keep_others();
        if self.durable.is_busy() {
            return self.drive(truth, mutant, counts);
        }
        match self.durable.granted() {
            None => {}
            Some((_, None)) => self.remove(now, counts),
            Some((generation, Some(digest))) if self.durable.decided != Some(digest) => {
                self.progress = (0, truth);
                self.begin(generation, digest, now, counts);
            }
            Some(_) => self.follow(truth, now, counts),
        }
        Ok(())
    }

    /// The small applications beside the one under test: there while they are granted, and gone
    /// when a tombstone says so.
    fn keep_others(&mut self) {
        let prefix = other_key(0);
        let prefix = prefix.trim_end_matches('0');
        for (key, (_, digest)) in &self.durable.units {
            if !key.starts_with(prefix) {
                continue;
            }
            if digest.is_some() {
                self.member.others.insert(key.clone());
            } else {
                self.member.others.remove(key);
            }
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Option<T> {
        let key = format!("{kind}/{}", application());
        let (_, digest) = self.durable.units.get(&key)?;
        serde_json::from_slice(self.durable.blobs.get(&digest.as_ref()?.0)?).ok()
    }

    fn tell(&mut self, of: (Uuid, u32), at: Timestamp, news: (Severity, &str, &str)) {
        let acked = self.volatile.acked_event;
        self.durable.events.retain(|event| event.seq > acked);
        self.durable.push_event(of, at, news);
        self.happened.extend(self.durable.events.last().cloned());
    }

    /// Looks at what was granted for the first time.
    fn begin(&mut self, generation: u64, digest: Digest, now: Timestamp, counts: &mut Counts) {
        let Some(bundle) = self.read::<Bundle>("application") else {
            return;
        };
        if self.dies("crash/agent/begin-before", counts) {
            return;
        }
        let image = image_of(bundle.components.iter().flat_map(|part| &part.objects));
        let plain = bundle.mode == BundleMode::Plain
            || self.durable.applied_image.is_empty()
            || self.member.image.is_empty()
            || self.member.image == image;
        // A template that failed is held until a human has it tried again.
        let held = !plain && bundle.attempt <= 1 && self.durable.failed.contains(&image);
        let durable = &mut self.durable;
        self.volatile.plain_until = None;
        durable.decided = Some(digest);
        durable.reason = String::new();
        durable.outcome = Some(UnitOutcome::Progressing);
        durable.track = None;
        let of = (bundle.run, bundle.attempt);
        if held {
            durable.outcome = Some(UnitOutcome::Failed);
            "Held".clone_into(&mut durable.reason);
            self.tell(of, now, (Severity::Error, "FailedRevisionHeld", &image));
        } else if plain {
            self.tell(of, now, (Severity::Info, "Applying", &image));
        } else {
            durable.failed.remove(&image);
            let spec = track_spec(&bundle, generation);
            durable.track = Some(Track {
                state: RunState::new(&spec, now),
                old: self.member.image.clone(),
                new: image.clone(),
                spec,
                summary: None,
            });
            self.tell(of, now, (Severity::Info, "RolloutStarted", &image));
        }
        self.dies("crash/agent/begin-after", counts);
    }

    /// Applies a plain release until it runs; one that does not in time goes back to what ran
    /// before.
    fn follow(&mut self, truth: Timestamp, now: Timestamp, counts: &mut Counts) {
        let Some(bundle) = self.read::<Bundle>("application") else {
            return;
        };
        let until = *self
            .volatile
            .plain_until
            .get_or_insert(truth + PLAIN_DEADLINE);
        let next = match self.durable.outcome {
            Some(UnitOutcome::Progressing) => {
                let image = image_of(bundle.components.iter().flat_map(|part| &part.objects));
                self.member.apply(&image);
                if self.member.runs(&image) {
                    (UnitOutcome::Succeeded, "")
                } else if truth < until {
                    return;
                } else if self.durable.applied_image.is_empty() {
                    (UnitOutcome::Failed, "DeadlineExceeded")
                } else {
                    (UnitOutcome::RollingBack, "DeadlineExceeded")
                }
            }
            Some(UnitOutcome::RollingBack) => {
                self.member.apply(&self.durable.applied_image);
                if truth < until && !self.member.runs(&self.durable.applied_image) {
                    return;
                }
                (UnitOutcome::Failed, "DeadlineExceeded")
            }
            _ => return,
        };
        if !self.dies("crash/agent/follow-before", counts) {
            self.conclude(&bundle, next, now);
            self.dies("crash/agent/follow-after", counts);
        }
    }

    /// Remembers what became of a plain release.
    fn conclude(&mut self, bundle: &Bundle, next: (UnitOutcome, &str), now: Timestamp) {
        let (outcome, reason) = next;
        let of = (bundle.run, bundle.attempt);
        self.volatile.plain_until = None;
        self.durable.outcome = Some(outcome);
        reason.clone_into(&mut self.durable.reason);
        if outcome == UnitOutcome::Succeeded {
            self.durable.finished.insert(of);
            self.durable.applied_release = Some(bundle.release.clone());
            self.durable.applied_image.clone_from(&self.member.image);
            self.tell(of, now, (Severity::Info, "Succeeded", ""));
        } else {
            self.tell(of, now, (Severity::Error, "Failed", reason));
        }
    }

    /// Takes the application away, since its tombstone has come.
    fn remove(&mut self, now: Timestamp, counts: &mut Counts) {
        let durable = &mut self.durable;
        let nothing = durable.decided.is_none() && self.member.image.is_empty();
        if nothing && durable.outcome == Some(UnitOutcome::Succeeded) {
            return;
        }
        if durable.outcome != Some(UnitOutcome::Removing) {
            if self.dies("crash/agent/removing-before", counts) {
                return;
            }
            self.durable.outcome = Some(UnitOutcome::Removing);
            if self.dies("crash/agent/removing-after", counts) {
                return;
            }
        }
        self.member.remove();
        if self.dies("crash/agent/removed-before", counts) {
            return;
        }
        let durable = &mut self.durable;
        durable.decided = None;
        durable.outcome = Some(UnitOutcome::Succeeded);
        durable.reason = String::new();
        durable.applied_release = None;
        durable.applied_image = String::new();
        durable.failed.clear();
        durable.track = None;
        let news = (Severity::Info, "Removed", "every object is gone");
        self.tell((Uuid::nil(), 0), now, news);
        counts.one("agent/Removed");
        self.dies("crash/agent/removed-after", counts);
    }

    /// Makes one decision on the run under way.
    fn drive(
        &mut self,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let now = self.time(truth, mutant);
        let Some(track) = self.durable.track.clone() else {
            return Ok(());
        };
        let mut spec = track.spec.clone();
        spec.command = self.command(&track.spec);
        let mut seen = self.member.observe(&track.old, &track.new);
        seen.samples = self.volatile.samples.take();
        pretend(&mut seen, mutant);
        let decision = decide(now, &spec, &track.state, &seen);
        let edge = Edge {
            spec: &spec,
            before: &track.state,
            decision: &decision,
            measured: &self.measured,
        };
        edge.check(&self.member, &track.new)?;
        let quiet = truth.duration_since(self.progress.1.max(self.began()));
        deadline_was_kept(&spec, &track.state, &decision, quiet)?;
        if decision.next.furthest > self.progress.0 {
            self.progress = (decision.next.furthest, truth);
        }
        counts.one(&format!("agent/{}", stage_name(&decision.next)));
        if self.dies("crash/agent/save-before", counts) {
            return Ok(());
        }
        let saved = save(&mut self.durable, &track, spec, &decision);
        for happening in &decision.events {
            let of = (saved.spec.run, saved.spec.attempt);
            let news = (happening.severity, happening.reason, &*happening.message);
            self.tell(of, now, news);
        }
        if self.dies("crash/agent/save-after", counts) {
            return Ok(());
        }
        let overlay = Overlay::of(&decision.next);
        self.member.overlay(&overlay, &track.old, &track.new);
        if let Some(request) = &decision.sample {
            self.volatile.samples = Some(self.measure(request, &saved, now, counts));
        }
        self.dies("crash/agent/apply-after", counts);
        Ok(())
    }

    /// The command that the run is under: the hub's, and an end that the agent knows of itself.
    fn command(&self, held: &RolloutTrackSpec) -> Command {
        let mut command = self
            .read::<Command>("command")
            .filter(|command| command.run == held.run && command.attempt == held.attempt)
            .unwrap_or_default();
        command.run = held.run;
        command.attempt = held.attempt;
        let end = match self.durable.granted() {
            Some((_, None)) => Some(AbortCause::Deleted),
            Some((_, digest)) if digest != self.durable.decided => Some(AbortCause::Superseded),
            _ => None,
        };
        if let (None, Some(cause)) = (&command.abort, end) {
            command.abort = Some(Abort {
                cause,
                by: "bellwether-agent".to_owned(),
                reason: String::new(),
            });
        }
        // An abort is sticky, whatever the hub says later.
        if command.abort.is_none() {
            command.abort.clone_from(&held.command.abort);
        }
        command
    }
}

/// Saves a decision with what becomes of the bundle; gives the track as it is then.
fn save(
    durable: &mut Durable,
    track: &Track,
    spec: RolloutTrackSpec,
    decision: &Decision,
) -> Track {
    let of = (spec.run, spec.attempt);
    match &decision.next.stage {
        Stage::Succeeded => {
            durable.outcome = Some(UnitOutcome::Succeeded);
            durable.finished.insert(of);
            durable.applied_release = Some(spec.release.clone());
            durable.applied_image.clone_from(&track.new);
        }
        Stage::Failed { failure } => {
            durable.outcome = Some(UnitOutcome::Failed);
            durable.reason = format!("{:?}", failure.reason);
            if marks_template(failure.reason) {
                durable.failed.insert(track.new.clone());
            }
        }
        Stage::RollingBack { .. } => durable.outcome = Some(UnitOutcome::RollingBack),
        _ => {}
    }
    let saved = Track {
        spec,
        state: decision.next.clone(),
        summary: Some(decision.summary.clone()),
        ..track.clone()
    };
    durable.track = Some(saved.clone());
    saved
}

/// Tells whether a failure is the template's own fault, so that it is not tried again by itself.
fn marks_template(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::FailedChecks
            | FailureReason::DeadlineExceeded
            | FailureReason::Manual
            | FailureReason::HookRollback
    )
}

fn track_spec(bundle: &Bundle, generation: u64) -> RolloutTrackSpec {
    let rollout = bundle
        .rollouts
        .first()
        .expect("every release of the simulation has one");
    RolloutTrackSpec {
        application: bundle.application.clone(),
        release: bundle.release.clone(),
        revision: bundle.revision,
        run: bundle.run,
        attempt: bundle.attempt,
        generation,
        mode: bundle.mode,
        workload: ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: rollout.spec.workload.namespace.clone(),
            name: rollout.spec.workload.name.clone(),
        },
        plan: rollout.spec.clone(),
        command: Command::default(),
        local: None,
    }
}

fn stage_name(state: &RunState) -> &'static str {
    match state.stage {
        Stage::Initializing => "Initializing",
        Stage::Pausing => "Pausing",
        Stage::Pinning => "Pinning",
        Stage::Step { .. } => "Step",
        Stage::Promoting { .. } => "Promoting",
        Stage::RollingBack { .. } => "RollingBack",
        Stage::Succeeded => "Succeeded",
        Stage::Failed { .. } => "Failed",
    }
}
