//! One run of one governed workload, while the agent lives.

mod checks;
mod decide;
mod due;
mod hold;
mod interests;
mod last_look;
mod refresh;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bellwether_agent_core::{
    canary_copy::CanaryCopyError,
    machine::{Overlay, RunState, Samples, Stage},
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    command::ExecutedCommand,
    reference::ObjectRef,
    status::{CheckResult, FailureReason, TrackSummary},
    track::RolloutTrack,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    calls::Calls,
    canary::Canary,
    loads::Loads,
    own_routes::OwnRoutes,
    scene::Scene,
    telling::Telling,
    track::{Tracks, belongs_to, spec_of, state_of},
};
use crate::{
    metrics::Probe,
    sync::{cluster::ClusterError, events::RunOf, watch::Poke},
};
use checks::{Addresses, Measuring};
use last_look::LastLook;

/// Why a run could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server refused or did not answer.
    #[error("failed to work on a run's objects")]
    Cluster(#[from] ClusterError),
    /// A track of that name is another application's.
    #[error("failed to take track {track}: it belongs to application {owner}")]
    Taken {
        /// The track.
        track: String,
        /// The application.
        owner: String,
    },
    /// The canary cannot be made of the user's objects.
    #[error("failed to make a canary of the user's objects")]
    Copy(#[from] CanaryCopyError),
    /// Somebody keeps writing the track.
    #[error("failed to save a decision: track {track} is written by somebody else")]
    Contended {
        /// The track.
        track: String,
    },
}

/// What one decision has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// The cluster is to look different now.
    Moved,
    /// Nothing but what is known of it.
    Same,
}

/// One run, while the agent lives.
pub struct Run {
    /// What it has to do with.
    pub scene: Scene,
    /// Its name and plan.
    pub rollout: Arc<BundleRollout>,
    /// Which run it is.
    pub of: RunOf<'static>,
    tracks: Tracks,
    pub(super) track: RolloutTrack,
    /// Somebody else may have written the track since it was read, or this process without hearing so.
    track_is_old: bool,
    pub(super) state: RunState,
    /// The state as the track had it when it was read or saved last; absent = it had none.
    saved: Option<Value>,
    correct_drift: bool,
    summary: Option<TrackSummary>,
    began_at: Timestamp,
    wake_at: Option<Timestamp>,
    decided_at: Timestamp,
    /// Something that was not decided on has happened.
    due: bool,
    last_look: Option<LastLook>,
    /// By name, the versions of the Services that concerned the run at its last look; absent = there
    /// was none.
    services: Option<BTreeMap<String, String>>,
    held_by: Vec<String>,
    measuring: Option<Measuring>,
    pub(super) samples: Option<Samples>,
    probe: Option<Arc<Probe>>,
    pub(super) calls: Calls,
    pub(super) telling: Telling,
    pub(super) loads: Loads,
    pub(super) canary: Canary,
    pub(super) own_routes: OwnRoutes,
    measured: Vec<Measured>,
    /// Number of the last event that was told.
    told: u64,
    /// How late the last check began.
    lateness: Option<Duration>,
    /// What keeps a pod from going; absent = nothing does.
    pub(super) blocked: Option<String>,
    canary_addresses: Addresses,
    /// The state is one that another process saved: what it wants is not known outside yet.
    taken_up: bool,
}

/// One check of one metric, for people to look at.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The step, from 0; absent = before the first.
    pub step: Option<u32>,
    /// The weight in percent.
    pub weight: u8,
    /// The check.
    pub check: CheckResult,
}

impl Run {
    /// Takes a run up where it stands, or starts it.
    ///
    /// # Errors
    /// The API server does not answer, or another application's track has the name.
    pub async fn open(
        client: kube::Client,
        bundle: &Bundle,
        rollout: &BundleRollout,
        generation: u64,
        now: Timestamp,
    ) -> Result<Self, RunError> {
        let scene = Scene::of(bundle, rollout);
        let tracks = Tracks::new(client, &scene.namespace);
        let spec = spec_of(bundle, rollout, generation);
        let track = loop {
            match tracks.get(&rollout.name).await? {
                Some(track) if !belongs_to(&track, &bundle.application) => {
                    return Err(RunError::Taken {
                        track: rollout.name.clone(),
                        owner: track.spec.application.to_string(),
                    });
                }
                Some(track) if (track.spec.run, track.spec.attempt) == (spec.run, spec.attempt) => {
                    break track;
                }
                // Of a run that is over: only its removal was cut off.
                Some(_) => tracks.remove(&rollout.name).await?,
                None => {
                    if let Some(track) = tracks.create(&rollout.name, spec.clone()).await? {
                        break track;
                    }
                }
            }
        };
        let began_at = track
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(now, |created| created.0);
        let state = state_of(&track, now);
        Ok(Self {
            scene,
            correct_drift: !holds_edit(&track),
            rollout: Arc::new(rollout.clone()),
            of: RunOf {
                run: bundle.run,
                attempt: bundle.attempt,
                alerts: &[],
            },
            tracks,
            summary: track.status.as_ref().map(|status| status.summary.clone()),
            saved: saved_state(&track),
            track,
            track_is_old: false,
            state,
            began_at,
            wake_at: None,
            decided_at: now,
            due: true,
            last_look: None,
            services: None,
            held_by: Vec::new(),
            measuring: None,
            samples: None,
            probe: None,
            calls: Calls::default(),
            telling: Telling::default(),
            loads: Loads::default(),
            canary: Canary::default(),
            own_routes: OwnRoutes::default(),
            measured: Vec::new(),
            told: 0,
            lateness: None,
            blocked: None,
            canary_addresses: Addresses::default(),
            taken_up: false,
        })
    }

    /// Whether the run has passed its tests and is not going back.
    #[must_use]
    pub fn promotes(&self) -> bool {
        matches!(self.state.stage, Stage::Promoting { .. } | Stage::Succeeded)
    }

    /// Whether both runs change the same configuration.
    #[must_use]
    pub fn shares_config_with(&self, other: &Self) -> bool {
        let own: BTreeSet<_> = self.scene.config_targets().collect();
        other
            .scene
            .config_targets()
            .any(|target| own.contains(&target))
    }

    /// What the cluster is to look like.
    #[must_use]
    pub fn overlay(&self) -> Overlay {
        Overlay::of(&self.state)
    }

    /// When the run began here, by the clock of the API server.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// Whether a human's edit is held, so that nothing is written.
    #[must_use]
    pub fn holds_edit(&self) -> bool {
        !self.correct_drift
    }

    /// Whether the objects are to be those of the release before.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        matches!(
            self.state.stage,
            Stage::RollingBack { .. } | Stage::Failed { .. }
        )
    }

    /// Whether the run is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.is_terminal()
    }

    /// Why the run went back; absent = it did not.
    #[must_use]
    pub fn failure(&self) -> Option<(FailureReason, String)> {
        match &self.state.stage {
            Stage::RollingBack { failure, .. } | Stage::Failed { failure } => {
                Some((failure.reason, failure.message.clone()))
            }
            _ => None,
        }
    }

    /// Where the run stands, for people; absent = nothing was decided yet.
    #[must_use]
    pub fn summary(&self) -> Option<&TrackSummary> {
        self.summary.as_ref()
    }

    /// The one-shot commands that were answered last.
    #[must_use]
    pub fn executed(&self) -> &[ExecutedCommand] {
        &self.state.executed
    }

    /// Events of the track, oldest first.
    #[must_use]
    pub fn events(&self) -> &[bellwether_api::status::RunEvent] {
        self.track
            .status
            .as_ref()
            .map_or(&[], |status| status.events.as_slice())
    }

    /// Tells whether there are events that were not told yet.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.last_event() > self.told
    }

    /// Takes note that every event was told.
    pub fn told(&mut self) {
        self.told = self.last_event();
    }

    fn last_event(&self) -> u64 {
        self.events().last().map_or(0, |event| event.seq)
    }

    /// How late a check began that began since the last call.
    pub const fn take_lateness(&mut self) -> Option<Duration> {
        self.lateness.take()
    }

    /// Takes the checks that were made since the last call.
    pub fn take_measured(&mut self) -> Vec<Measured> {
        std::mem::take(&mut self.measured)
    }

    /// Its track.
    pub(super) fn track_ref(&self) -> ObjectRef {
        ObjectRef {
            api_version: "bellwether.dev/v1alpha1".to_owned(),
            kind: "RolloutTrack".to_owned(),
            namespace: self.track.metadata.namespace.clone(),
            name: self.track.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Removes the track of a run that is over.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn close(&self, poke: &Poke) -> Result<(), RunError> {
        poke.forget(&self.track_ref());
        Ok(self.tracks.remove(&self.rollout.name).await?)
    }
}

/// The state as a track has it.
fn saved_state(track: &RolloutTrack) -> Option<Value> {
    let status = track.status.as_ref();
    status.map(|status| status.state.clone())
}

/// Whether the last decision on a track held a human's edit.
fn holds_edit(track: &RolloutTrack) -> bool {
    let waits = track
        .status
        .iter()
        .flat_map(|status| &status.summary.waiting_on);
    waits.into_iter().any(|wait| wait.reason == "ForeignEdit")
}

#[cfg(test)]
mod tests;
