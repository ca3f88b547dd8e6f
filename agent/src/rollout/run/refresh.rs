//! The run's track, as it is now, and the commands that it is under.

use bellwether_agent_core::machine::RunState;
use bellwether_api::{
    bundle::Bundle,
    command::{AbortCause, Command},
    track::RolloutTrack,
};

use super::{Run, RunError, holds_edit, saved_state};
use crate::rollout::track::{Saved, command_of};

impl Run {
    /// Takes up what others have written into the track, and hands on what the hub commands. Costs no
    /// request while nobody but this agent has written it: every save is a compare-and-set, so that a
    /// change which no watch told of fails the next one. A state that another process saved meanwhile,
    /// or that this one saved without hearing so, is taken up: whoever decided from an older one would
    /// write over it.
    ///
    /// # Errors
    /// The API server does not answer, or somebody keeps writing the track.
    pub async fn refresh(
        &mut self,
        bundle: &Bundle,
        hub: Option<&Command>,
        end: Option<AbortCause>,
    ) -> Result<(), RunError> {
        for _ in 0..4 {
            if self.track_is_old && !self.read_track().await? {
                continue;
            }
            let command = command_of(
                bundle,
                &self.rollout.name,
                hub.cloned(),
                &self.track.spec.command,
                end,
            );
            if self.track.spec.command == command {
                return Ok(());
            }
            self.due = true;
            // Until the answer is there, it is not known what the track holds.
            self.track_is_old = true;
            if let Saved::Done(track) = self.tracks.command(&self.track, &command).await? {
                self.track_is_old = false;
                self.take_up(*track);
                return Ok(());
            }
        }
        Err(RunError::Contended {
            track: self.rollout.name.clone(),
        })
    }

    /// Reads the track. Gives whether it was there.
    async fn read_track(&mut self) -> Result<bool, RunError> {
        if let Some(track) = self.tracks.get(&self.rollout.name).await? {
            self.due |= track != self.track;
            self.take_up(track);
            self.track_is_old = false;
            return Ok(true);
        }
        // Gone with its finalizer: somebody forced it. The run's memory is ours: write it anew.
        let spec = self.track.spec.clone();
        if let Some(mut track) = self.tracks.create(&self.rollout.name, spec).await? {
            if let Some(status) = self.track.status.clone()
                && let Saved::Done(saved) = self.tracks.save(&track, status).await?
            {
                track = *saved;
            }
            self.track = track;
            self.due = true;
        }
        Ok(false)
    }

    fn take_up(&mut self, track: RolloutTrack) {
        let saved = saved_state(&track);
        if let Some(value) = saved.as_ref().filter(|_| saved != self.saved) {
            // Somebody has looked all the time, so that the time without progress counts as it is.
            match RunState::from_value(value) {
                Ok(state) => self.state = state,
                Err(error) => tracing::error!(
                    rollout.id = %self.of.run,
                    error = %crate::desired::chain(&error),
                    "what somebody else saved cannot be read; the run goes on from what is known"
                ),
            }
            // What was measured, or begins by itself, may belong to what is not the state any more.
            self.samples = None;
            self.measuring = None;
            self.correct_drift = !holds_edit(&track);
            self.saved = saved;
            self.taken_up = true;
            self.mark_due();
        }
        self.track = track;
    }

    /// Tells whether a state was taken up since the last call: what the cluster is to look like may be
    /// something else then.
    pub const fn was_taken_up(&mut self) -> bool {
        std::mem::replace(&mut self.taken_up, false)
    }
}
