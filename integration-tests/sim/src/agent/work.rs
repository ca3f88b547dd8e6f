//! The agent's work on its units: one decision a turn, saved and then done.

use std::rc::Rc;

use bellwether_agent_core::{
    machine::{Overlay, RunState},
    settled::TemplateVersion,
};
use bellwether_api::{
    bundle::{Bundle, BundleMode},
    command::Command,
    reference::ObjectRef,
    status::{Severity, UnitOutcome},
    track::RolloutTrackSpec,
};
use bellwether_store::Digest;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{api::Written, durable::Track, process::Agent, sharing::Sharing};
use crate::{
    Mutant,
    count::Counts,
    invariant::Broken,
    member::{Part, Wanted},
    scenario::{application, image_of, other_key},
};

/// How long a plain release may take until it runs.
const PLAIN_DEADLINE: SignedDuration = SignedDuration::from_secs(150);
/// Events that are kept for the hub at most; older ones are dropped.
pub const MAX_EVENTS: usize = 6;

impl Agent {
    /// Works on what it holds, and so does a second process if there is one. `truth` is the time that
    /// really passes.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn work(
        &mut self,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        self.work_alone(truth, mutant, counts)?;
        let Some(mut twin) = self.twin.take().filter(|_| self.alive) else {
            return Ok(());
        };
        counts.one("fault/two-agents");
        std::mem::swap(&mut self.volatile, &mut *twin);
        // Whoever looks for a second one finds one.
        self.twin = Some(twin);
        let worked = self.work_alone(truth, mutant, counts);
        if let Some(twin) = self.twin.as_mut().filter(|_| self.alive) {
            std::mem::swap(&mut self.volatile, &mut **twin);
        }
        worked
    }

    fn work_alone(
        &mut self,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let now = self.time(truth, mutant);
        self.keep_others(mutant);
        if self.durable.is_busy() {
            return self.drive(truth, mutant, counts);
        }
        match self.durable.granted() {
            None => {}
            Some((_, None)) => self.remove(now, mutant, counts),
            Some((generation, Some(digest))) if self.durable.decided != Some(digest) => {
                self.progress = (0, truth);
                self.whole_at = truth;
                self.sharing = Sharing::default();
                self.begin((generation, digest), now, mutant, counts);
            }
            Some(_) => self.follow(truth, mutant, counts),
        }
        Ok(())
    }

    /// The small applications beside the one under test: there while they are granted, and gone
    /// when a tombstone says so.
    fn keep_others(&mut self, mutant: Mutant) {
        if mutant == Mutant::AbsenceDeletes {
            let units = &self.durable.units;
            self.member.others.retain(|key| units.contains_key(key));
        }
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

    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Option<T> {
        let key = format!("{kind}/{}", application());
        let (_, digest) = self.durable.units.get(&key)?;
        serde_json::from_slice(self.durable.blobs.get(&digest.as_ref()?.0)?).ok()
    }

    /// A bundle that was decided on or granted.
    pub(super) fn bundle(&self, digest: Digest) -> Option<Rc<Bundle>> {
        let mut known = self.bundles.borrow_mut();
        if let Some(bundle) = known.get(&digest.0) {
            return Some(Rc::clone(bundle));
        }
        let bundle: Bundle = serde_json::from_slice(self.durable.blobs.get(&digest.0)?).ok()?;
        let bundle = Rc::new(bundle);
        known.insert(digest.0, Rc::clone(&bundle));
        Some(bundle)
    }

    pub(super) fn tell(
        &mut self,
        of: (Uuid, u32),
        at: Timestamp,
        news: (Severity, &str, &str),
        mutant: Mutant,
        counts: &mut Counts,
    ) {
        let acked = self.volatile.acked_event;
        self.durable.events.retain(|event| event.seq > acked);
        self.durable.push_event(of, at, news);
        self.happened.extend(self.durable.events.last().cloned());
        if mutant == Mutant::KeepEveryEvent {
            return;
        }
        let surplus = self.durable.events.len().saturating_sub(MAX_EVENTS);
        for event in self.durable.events.drain(..surplus) {
            counts.one("fault/event-dropped");
            self.dropped.insert(event.seq);
        }
    }

    /// Makes the user's objects those of one release, with no run. Tells whether they are known to be.
    fn put_plain(
        &mut self,
        image: &str,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> bool {
        let want = Wanted {
            overlay: &Overlay::none(TemplateVersion::New),
            old: image,
            new: image,
            config: image,
            passes_by: false,
            leaves_canary: false,
        };
        let mut parts = vec![Part::Workload, Part::Config];
        parts.extend(self.member.particulars.shards.then_some(Part::Shard));
        self.put_all(&parts, &want, truth, mutant, counts) == Written::Done
    }

    /// Looks at what was granted for the first time.
    fn begin(
        &mut self,
        (generation, digest): (u64, Digest),
        now: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) {
        let Some(bundle) = self.bundle(digest) else {
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
            let news = (Severity::Error, "FailedRevisionHeld", &*image);
            self.tell(of, now, news, mutant, counts);
        } else if plain {
            let news = (Severity::Info, "Applying", &*image);
            self.tell(of, now, news, mutant, counts);
        } else {
            durable.failed.remove(&image);
            let spec = track_spec(&bundle, generation);
            durable.track = Some(Track {
                state: RunState::new(&spec, now),
                old: self.member.image.clone(),
                new: image.clone(),
                spec,
                summary: None,
                version: 1,
                corrects: true,
                closed: false,
            });
            let news = (Severity::Info, "RolloutStarted", &*image);
            self.tell(of, now, news, mutant, counts);
        }
        self.dies("crash/agent/begin-after", counts);
    }

    /// Applies a plain release until it runs; one that does not in time goes back to what ran
    /// before.
    fn follow(&mut self, truth: Timestamp, mutant: Mutant, counts: &mut Counts) {
        let Some(bundle) = self.durable.decided.and_then(|one| self.bundle(one)) else {
            return;
        };
        if self.must_wait(truth) {
            return;
        }
        let until = *self
            .volatile
            .plain_until
            .get_or_insert(truth + PLAIN_DEADLINE);
        let applied = self.durable.applied_image.clone();
        let next = match self.durable.outcome {
            Some(UnitOutcome::Progressing) => {
                let image = image_of(bundle.components.iter().flat_map(|part| &part.objects));
                let put = self.put_plain(&image, truth, mutant, counts);
                if put && self.alive && self.member.runs(&image) {
                    (UnitOutcome::Succeeded, "")
                } else if truth < until {
                    return;
                } else if applied.is_empty() {
                    (UnitOutcome::Failed, "DeadlineExceeded")
                } else {
                    (UnitOutcome::RollingBack, "DeadlineExceeded")
                }
            }
            Some(UnitOutcome::RollingBack) => {
                let put = self.put_plain(&applied, truth, mutant, counts);
                if !put || truth < until && !self.member.runs(&applied) {
                    return;
                }
                (UnitOutcome::Failed, "DeadlineExceeded")
            }
            _ => {
                // What somebody deleted or changed is made again.
                let is = (&self.member.image, &self.member.config);
                let drifted = is != (&applied, &applied)
                    || self.member.lacks(&applied)
                    || !self.member.is_clean();
                if !applied.is_empty() && drifted {
                    counts.one("drift/corrected");
                    self.put_plain(&applied, truth, mutant, counts);
                }
                return;
            }
        };
        if self.alive && !self.dies("crash/agent/follow-before", counts) {
            let now = self.time(truth, mutant);
            self.conclude(&bundle, next, now, mutant, counts);
            self.dies("crash/agent/follow-after", counts);
        }
    }

    /// Remembers what became of a plain release.
    fn conclude(
        &mut self,
        bundle: &Bundle,
        next: (UnitOutcome, &str),
        now: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) {
        let (outcome, reason) = next;
        let of = (bundle.run, bundle.attempt);
        self.volatile.plain_until = None;
        self.durable.outcome = Some(outcome);
        reason.clone_into(&mut self.durable.reason);
        if outcome == UnitOutcome::Succeeded {
            self.durable.finished.insert(of);
            self.durable.applied_release = Some(bundle.release.clone());
            self.durable.applied_image.clone_from(&self.member.image);
            let news = (Severity::Info, "Succeeded", "");
            self.tell(of, now, news, mutant, counts);
        } else {
            let news = (Severity::Error, "Failed", reason);
            self.tell(of, now, news, mutant, counts);
        }
    }

    /// Takes the application away, since its tombstone has come.
    fn remove(&mut self, now: Timestamp, mutant: Mutant, counts: &mut Counts) {
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
        self.tell((Uuid::nil(), 0), now, news, mutant, counts);
        counts.one("agent/Removed");
        self.dies("crash/agent/removed-after", counts);
    }
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
