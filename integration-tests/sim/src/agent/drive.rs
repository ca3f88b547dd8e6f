//! The run under way: the cluster is made what the run wants, looked at, decided on, and the decision
//! saved.

use bellwether_agent_core::machine::{Overlay, RunState, Stage, decide};
use bellwether_api::{
    command::{Abort, AbortCause, Command},
    status::{FailureReason, UnitOutcome},
    track::RolloutTrackSpec,
};
use jiff::Timestamp;
use rand::Rng;

use super::{
    api::Written,
    durable::Track,
    measure::pretend,
    process::{Agent, Memory, Prepared},
    unguarded,
};
use crate::{
    Mutant,
    count::Counts,
    invariant::{Broken, Edge, deadline_was_kept, follows},
    member::{Member, Wanted},
};

/// Passes in one turn, if the decision asks for another cluster at once.
const PASSES: usize = 2;

impl Agent {
    pub(super) fn drive(
        &mut self,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let now = self.time(truth, mutant);
        if self.must_wait(truth) || self.is_deaf(truth, now) {
            return Ok(());
        }
        for _ in 0..PASSES {
            let again = match self.volatile.prepared.take() {
                Some(prepared) => self.save(*prepared, truth, mutant, counts)?,
                None => self.pass(truth, mutant, counts)?,
            };
            if !again || !self.alive {
                break;
            }
        }
        Ok(())
    }

    /// Nothing wakes an agent whose watches are lost but its own alarm and what the hub says.
    fn is_deaf(&self, truth: Timestamp, now: Timestamp) -> bool {
        let lost = self.watch_lost.is_some_and(|until| truth < until) && !self.calm;
        let due = self.volatile.wake_at.is_some_and(|at| at <= now);
        let told = self.volatile.decided_at != Some(self.durable.generation);
        lost && !due && !told
    }

    /// What the process knows of the run: what is saved, unless it made that itself.
    fn recall(&mut self, now: Timestamp, mutant: Mutant, counts: &mut Counts) -> Option<Track> {
        let mut track = self.durable.track.clone()?;
        let of = (track.spec.run, track.spec.attempt);
        let known = self.volatile.memory.as_ref();
        let memory = known.filter(|memory| (memory.state.run, memory.state.attempt) == of);
        let saved = track.state.clone();
        match memory {
            Some(memory) if memory.saved == saved || mutant == Mutant::KeepOldMemory => {
                track.state = memory.state.clone();
            }
            // Somebody has looked all the time: what is saved is what is.
            Some(_) => counts.one("fault/track-changed"),
            None => {
                let deadline = track.spec.plan.progress_deadline;
                track.state = track.state.taken_up(deadline, now);
            }
        }
        self.volatile.memory = Some(Memory {
            state: track.state.clone(),
            saved,
        });
        Some(track)
    }

    /// One pass; tells whether another one is to follow at once.
    fn pass(
        &mut self,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<bool, Broken> {
        let now = self.time(truth, mutant);
        let Some(track) = self.recall(now, mutant, counts) else {
            return Ok(false);
        };
        let held = self.hold(&track, truth, mutant, counts);
        if held == Written::Died {
            return Ok(false);
        }
        if track.state.is_terminal() {
            if held == Written::Done && !self.dies("crash/agent/conclude-before", counts) {
                self.conclude_run(&track);
                self.dies("crash/agent/conclude-after", counts);
            }
            return Ok(false);
        }
        let Some((look, fresh)) = self.look(counts) else {
            return Ok(false);
        };
        let prepared = self.decide_on(&track, (&look, fresh), held, truth, mutant)?;
        self.volatile.wake_at = prepared.decision.wake_at;
        self.volatile.decided_at = Some(self.durable.generation);
        counts.one(&format!("agent/{}", stage_name(&prepared.decision.next)));
        counts.split(&prepared.decision.next);
        counts.replacing(&prepared.decision.next);
        counts.waits(&prepared.decision.waiting_on);
        if look.ordered.is_some() {
            counts.one(&format!("batch/{}", stage_name(&prepared.decision.next)));
        }
        // The answer to a save takes a while; whoever else is there may be faster.
        let slow =
            !self.calm && self.rng.random_range(0..100) < if self.twin.is_some() { 30 } else { 3 };
        if slow {
            self.volatile.prepared = Some(Box::new(prepared));
            return Ok(false);
        }
        self.save(prepared, truth, mutant, counts)
    }

    /// Makes the cluster what the run wants of it.
    fn hold(
        &mut self,
        track: &Track,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Written {
        let overlay = unguarded::overlay(track, mutant);
        let goes_back = matches!(
            track.state.stage,
            Stage::RollingBack { .. } | Stage::Failed { .. }
        );
        let overrules =
            goes_back || matches!(track.state.stage, Stage::Initializing | Stage::Succeeded);
        let parts = self.may_write(overrules, track.corrects, &overlay);
        let want = Wanted {
            overlay: &overlay,
            old: &track.old,
            new: &track.new,
            config: if goes_back { &track.old } else { &track.new },
            passes_by: goes_back,
            leaves_canary: mutant == Mutant::LeaveCanary,
        };
        let held = self.put_all(&parts, &want, truth, mutant, counts);
        if held == Written::Done && overrules {
            self.member.edit = None;
        }
        self.volatile.written = (held == Written::Done).then_some(overlay.in_place);
        held
    }

    fn decide_on(
        &mut self,
        track: &Track,
        (look, fresh): (&Member, bool),
        held: Written,
        truth: Timestamp,
        mutant: Mutant,
    ) -> Result<Prepared, Broken> {
        let now = self.time(truth, mutant);
        let mut spec = track.spec.clone();
        spec.command = self.command(&track.spec);
        let written = self
            .volatile
            .written
            .clone()
            .filter(|_| held == Written::Done);
        let mut seen = look.observe(&track.old, &track.new, written);
        seen.fresh = fresh;
        seen.untaken = self.untaken();
        seen.samples = self.volatile.samples.take();
        seen.hooks = self.answers((spec.run, spec.attempt), truth);
        pretend(&mut seen, track, mutant);
        let heard = unguarded::grant(&spec, mutant);
        let state = unguarded::state(&track.state, mutant);
        let mut decision = decide(now, heard.as_ref().unwrap_or(&spec), &state, &seen);
        if mutant == Mutant::ForgetBatch
            && let Some(run) = &mut decision.next.in_place
        {
            run.granted = run.granted.min(look.pods_of(&track.new).1);
        }
        let edge = Edge {
            spec: &spec,
            before: &track.state,
            decision: &decision,
            measured: &self.measured,
            passed: &self.passed,
            look,
            broken_for: truth.duration_since(self.whole_at.max(self.began())),
        };
        edge.check(&track.new)?;
        let quiet = truth.duration_since(self.progress.1.max(self.began()));
        deadline_was_kept(&spec, &track.state, &decision, quiet)?;
        Ok(Prepared {
            version: track.version,
            spec,
            live: look.replicas,
            whole: fresh && look.is_whole(&track.old),
            decision,
        })
    }

    /// Saves a decision, if nobody wrote the track since it was read, and follows it. Tells whether
    /// the cluster is to look different now.
    fn save(
        &mut self,
        prepared: Prepared,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<bool, Broken> {
        let Prepared {
            version,
            spec,
            live,
            whole,
            decision,
        } = prepared;
        if self.dies("crash/agent/save-before", counts) {
            return Ok(false);
        }
        let meddled = !self.calm && self.rng.random_range(0..100) < 2;
        let Some(track) = self.durable.track.as_mut() else {
            return Ok(false);
        };
        // Somebody annotates the track.
        track.version += u64::from(meddled);
        let same = (spec.run, spec.attempt) == (track.spec.run, track.spec.attempt);
        let current = same && !track.closed && track.version == version;
        if !(current || same && mutant == Mutant::IgnoreTrackVersion) {
            counts.one("fault/track-conflict");
            return Ok(true);
        }
        follows(&track.state, &decision.next)?;
        let moved = Overlay::of(&track.state) != decision.overlay || decision.next.is_terminal();
        track.version += 1;
        track.spec = spec.clone();
        track.state = decision.next.clone();
        track.summary = Some(decision.summary.clone());
        track.corrects = decision.correct_drift;
        let saved = track.clone();
        if whole {
            self.whole_at = truth;
        }
        self.sharing.decided(live, decision.overlay.replicas);
        if decision.next.furthest > self.progress.0 {
            self.progress = (decision.next.furthest, truth);
        }
        if matches!(decision.next.stage, Stage::RollingBack { .. }) {
            self.durable.outcome = Some(UnitOutcome::RollingBack);
        }
        let now = self.time(truth, mutant);
        for happening in &decision.events {
            let of = (spec.run, spec.attempt);
            let news = (happening.severity, happening.reason, &*happening.message);
            self.tell(of, now, news, mutant, counts);
        }
        if !self.calm && self.rng.random_range(0..100) < 2 {
            // Saved, but nobody here knows: nothing follows from it.
            counts.one("api/lost-save");
            return Ok(false);
        }
        if self.dies("crash/agent/save-after", counts) {
            return Ok(false);
        }
        self.volatile.memory = Some(Memory {
            state: decision.next.clone(),
            saved: decision.next.clone(),
        });
        self.call(&spec, &decision, truth, counts)?;
        if let Some(request) = &decision.sample {
            self.volatile.samples = Some(self.measure(request, &saved, now, counts));
        }
        self.member.clear_the_way(&decision.overlay, &saved.old);
        self.dies("crash/agent/follow-run-after", counts);
        Ok(moved)
    }

    /// Remembers how the run ended.
    fn conclude_run(&mut self, track: &Track) {
        let durable = &mut self.durable;
        let of = (track.spec.run, track.spec.attempt);
        match &track.state.stage {
            Stage::Failed { failure } => {
                durable.outcome = Some(UnitOutcome::Failed);
                durable.reason = format!("{:?}", failure.reason);
                if marks_template(failure.reason) {
                    durable.failed.insert(track.new.clone());
                }
            }
            _ => {
                durable.outcome = Some(UnitOutcome::Succeeded);
                durable.finished.insert(of);
                durable.applied_release = Some(track.spec.release.clone());
                durable.applied_image.clone_from(&track.new);
            }
        }
        if let Some(track) = &mut durable.track {
            track.closed = true;
            track.version += 1;
        }
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
