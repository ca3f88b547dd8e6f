//! Decisions: made on what is seen, saved, and followed.

use bellwether_agent_core::machine::{Decision, Stage, decide};
use bellwether_api::duration::Dur;
use jiff::Timestamp;

use super::{LastLook, Measured, Run, RunError, Tick, last_look::Changing, saved_state};
use crate::{
    clock::wall,
    rollout::{
        loads::canary_address,
        observe::Seen,
        reading::Reading,
        scene::{Known, Live},
        track::{Saved, status_of},
        views,
    },
    sync::cluster::ClusterError,
};

/// How long the answer of a check that began by itself is awaited before people are told that it is.
const PATIENCE: Dur = Dur::from_secs(1);

impl Run {
    /// Decides on what is live, and saves the decision.
    ///
    /// # Errors
    /// The API server does not answer; nothing follows from the decision then.
    pub async fn decide(
        &mut self,
        live: &Live,
        seen: Seen<'_>,
        now: Timestamp,
    ) -> Result<Tick, RunError> {
        self.collect();
        let observations = self.observations(live, &seen);
        let decision = decide(now, &self.track.spec, &self.state, &observations);
        self.canary_addresses.note(views::addresses(
            &observations.canary_endpoints,
            live.canary_service.as_ref(),
        ));
        let ports = self.scene.ports(live, &self.rollout);
        let look = LastLook {
            observations,
            canary_address: canary_address(live, ports.service),
            ports,
        };
        self.last_look = None;
        self.services = Some(self.services_of(&live.services));
        let tick = self.take(decision, &look, &seen, now).await?;
        self.due = tick == Tick::Moved;
        self.held_by = seen.config_held_by.to_vec();
        if tick == Tick::Same && seen.edited.is_empty() && self.state.is_judged() {
            self.last_look = Some(look);
        }
        Ok(tick)
    }

    /// Decides on what was seen last, if nothing that is watched has changed since and the decision
    /// only counts; gives nothing otherwise: what moves anything is to be decided on what is live.
    ///
    /// # Errors
    /// The API server does not answer; nothing follows from the decision then.
    pub async fn count(
        &mut self,
        seen: &Seen<'_>,
        now: Timestamp,
    ) -> Result<Option<Tick>, RunError> {
        self.collect();
        let Some(look) = self.last_look.take() else {
            return Ok(None);
        };
        let changing = Changing {
            config_held_by: seen.config_held_by.to_vec(),
            deleted: self.is_deleted(),
            samples: self.samples.clone(),
            hooks: self.calls.answers(),
        };
        let observations = look.with(changing);
        let decision = decide(now, &self.track.spec, &self.state, &observations);
        if !decision.only_counts(&self.state, self.correct_drift) {
            return Ok(None);
        }
        let tick = self.take(decision, &look, seen, now).await?;
        self.due = tick == Tick::Moved;
        self.held_by = seen.config_held_by.to_vec();
        if tick == Tick::Same {
            self.last_look = Some(look);
        }
        Ok(Some(tick))
    }

    /// Reads everything that a decision looks at.
    ///
    /// # Errors
    /// The API server refuses or does not answer: then nothing is known, and nothing is decided.
    pub async fn look(&self, reading: &Reading<'_>) -> Result<Live, ClusterError> {
        let begins = matches!(
            self.state.stage,
            Stage::Initializing | Stage::Pausing | Stage::Pinning
        );
        let pinned = &self.state.pinned;
        // On the heap: it reads many things at once.
        Box::pin(self.scene.look(reading, Known { pinned, begins })).await
    }

    fn collect(&mut self) {
        self.collect_samples();
        self.calls.collect();
    }

    /// Saves a decision, and has what follows done.
    async fn take(
        &mut self,
        mut decision: Decision,
        look: &LastLook,
        seen: &Seen<'_>,
        now: Timestamp,
    ) -> Result<Tick, RunError> {
        decision.summary.name.clone_from(&self.rollout.name);
        let before = self.bearing();
        let changed = decision.next != self.state
            || !decision.events.is_empty()
            || self.track.status.as_ref().map(|status| &status.summary) != Some(&decision.summary);
        if changed {
            let status = status_of(&self.track, &decision, wall());
            // Until the answer is there, it is not known what the track holds.
            (self.track_is_old, self.due) = (true, true);
            let Saved::Done(track) = self.tracks.save(&self.track, status).await? else {
                // Whatever was written may change the decision: it is made again.
                return Ok(Tick::Moved);
            };
            self.track_is_old = false;
            self.saved = saved_state(&track);
            self.track = *track;
            if let Some(version) = self.track.metadata.resource_version.clone() {
                seen.poke.wrote(self.track_ref(), version);
            }
        }
        self.aim(look, seen);
        self.measure(&decision, look, seen);
        self.follow(&decision, seen);
        self.load(&decision, look.canary_address.as_deref(), seen, now);
        for happening in &decision.events {
            tracing::info!(
                rollout.id = %self.of.run,
                rollout.name = self.rollout.name,
                reason = happening.reason,
                "{}", happening.message
            );
        }
        self.become_next(decision, now);
        Ok(if before == self.bearing() {
            Tick::Same
        } else {
            Tick::Moved
        })
    }

    fn become_next(&mut self, decision: Decision, now: Timestamp) {
        if decision.next.checks != self.state.checks {
            let (step, weight) = (self.state.step(), self.state.weight.percent());
            let checks = decision.next.checks.iter().cloned();
            self.measured.extend(checks.map(|check| Measured {
                step,
                weight,
                check,
            }));
        }
        if decision.next.check != self.state.check {
            self.samples = None;
        }
        // A check that begins by itself wakes the run with its answer.
        let begins_by_itself = decision
            .planned
            .as_ref()
            .filter(|planned| self.is_measuring(planned.request.check))
            .map(|planned| planned.due);
        self.wake_at = decision.wake_at.map(|at| {
            if begins_by_itself == Some(at) {
                at.checked_add(PATIENCE.as_signed()).unwrap_or(at)
            } else {
                at
            }
        });
        self.state = decision.next;
        self.decided_at = now;
        self.correct_drift = decision.correct_drift;
        self.summary = Some(decision.summary);
    }
}
