//! The run's track, as it is now, and the commands that it is under.

use bellwether_api::{
    bundle::Bundle,
    command::{AbortCause, Command},
};

use super::{Run, RunError};
use crate::rollout::track::{Saved, command_of};

impl Run {
    /// Takes up what others have written into the track, and hands on what the hub commands. Costs no
    /// request while nobody but this agent has written it: every save is a compare-and-set, so that a
    /// change which no watch told of fails the next one.
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
            match self.tracks.command(&self.track, &command).await? {
                Saved::Done(track) => {
                    self.track = *track;
                    return Ok(());
                }
                Saved::Outdated => self.track_is_old = true,
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
            self.track = track;
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
}
