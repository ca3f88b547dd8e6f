//! One run of one governed workload, while the agent lives.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_agent_core::{
    canary_copy::CanaryCopyError,
    machine::{
        Decision, Observations, Overlay, RunState, SampleRequest, Samples, Stage, StepPart, decide,
    },
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    command::{AbortCause, Command, ExecutedCommand},
    reference::ObjectRef,
    status::{CheckResult, FailureReason, TrackSummary},
    track::RolloutTrack,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    calls::Calls,
    canary::Canary,
    loads::Loads,
    objects::Versions,
    observe::Seen,
    own_routes::OwnRoutes,
    scene::{Live, Scene},
    telling::Telling,
    track::{Saved, Tracks, belongs_to, command_of, spec_of, state_of, status_of},
    views,
};
use crate::{
    clock::wall,
    metrics::{Measurement, Probe, Subject},
    sync::{
        cluster::{Cluster, ClusterError},
        events::RunOf,
        watch::{Dirty, Wants, WatchKey},
    },
};

/// How soon a pod is evicted again that a disruption budget keeps.
const EVICT_AGAIN: SignedDuration = SignedDuration::from_secs(5);

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
    pub rollout: BundleRollout,
    /// Which run it is.
    pub of: RunOf,
    tracks: Tracks,
    pub(super) track: RolloutTrack,
    pub(super) state: RunState,
    /// The state as the track had it when it was read or saved last; absent = it had none.
    saved: Option<Value>,
    correct_drift: bool,
    summary: Option<TrackSummary>,
    began_at: Timestamp,
    wake_at: Option<Timestamp>,
    measuring: Option<(SampleRequest, JoinHandle<Samples>)>,
    pub(super) samples: Option<Samples>,
    probe: Option<Probe>,
    pub(super) calls: Calls,
    pub(super) telling: Telling,
    pub(super) loads: Loads,
    canary: Canary,
    pub(super) own_routes: OwnRoutes,
    measured: Vec<Measured>,
    /// How late the last check began.
    lateness: Option<Duration>,
    /// What keeps a pod from going; absent = nothing does.
    pub(super) blocked: Option<String>,
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
            rollout: rollout.clone(),
            of: RunOf {
                run: bundle.run,
                attempt: bundle.attempt,
            },
            tracks,
            summary: track.status.as_ref().map(|status| status.summary.clone()),
            saved: saved_state(&track),
            track,
            state,
            began_at,
            wake_at: None,
            measuring: None,
            samples: None,
            probe: None,
            calls: Calls::default(),
            telling: Telling::default(),
            loads: Loads::default(),
            canary: Canary::default(),
            own_routes: OwnRoutes::default(),
            measured: Vec::new(),
            lateness: None,
            blocked: None,
        })
    }

    /// Reads the track again and hands on what the hub commands. A state that another process saved
    /// meanwhile, or that this one saved without hearing so, is taken up: whoever decided from an
    /// older one would write over it.
    ///
    /// # Errors
    /// The API server does not answer, or somebody keeps writing the track.
    pub async fn refresh(
        &mut self,
        bundle: &Bundle,
        hub: Option<Command>,
        end: Option<AbortCause>,
    ) -> Result<(), RunError> {
        for _ in 0..4 {
            let found = self.tracks.get(&self.rollout.name).await?;
            let Some(track) = found else {
                // Gone with its finalizer: somebody forced it. The run's memory is ours: write it anew.
                let spec = self.track.spec.clone();
                if let Some(mut track) = self.tracks.create(&self.rollout.name, spec).await? {
                    if let Some(status) = self.track.status.clone()
                        && let Saved::Done(saved) = self.tracks.save(&track, status).await?
                    {
                        track = *saved;
                    }
                    self.track = track;
                }
                continue;
            };
            let command = command_of(
                bundle,
                &self.rollout.name,
                hub.clone(),
                &track.spec.command,
                end,
            );
            if track.spec.command == command {
                self.take_up(track);
                return Ok(());
            }
            if let Saved::Done(track) = self.tracks.command(&track, &command).await? {
                self.take_up(*track);
                return Ok(());
            }
        }
        Err(RunError::Contended {
            track: self.rollout.name.clone(),
        })
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
            // What was measured may belong to what is not the state any more.
            self.samples = None;
            self.correct_drift = !holds_edit(&track);
            self.saved = saved;
        }
        self.track = track;
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

    /// How late a check began that began since the last call.
    pub const fn take_lateness(&mut self) -> Option<Duration> {
        self.lateness.take()
    }

    /// Takes the checks that were made since the last call.
    pub fn take_measured(&mut self) -> Vec<Measured> {
        std::mem::take(&mut self.measured)
    }

    /// When to decide again although nothing was observed.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at
    }

    /// What wakes the run.
    #[must_use]
    pub fn interests(&self) -> BTreeMap<WatchKey, Wants> {
        let namespace = Some(self.scene.namespace.clone());
        let any = |api_version: &str, kind: &str| {
            let key = WatchKey {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace.clone(),
                name: None,
            };
            (key, Wants::Any)
        };
        // Every run saves its own all the time: another's is no reason to look.
        let track = ObjectRef {
            api_version: "bellwether.dev/v1alpha1".to_owned(),
            kind: "RolloutTrack".to_owned(),
            namespace: self.track.metadata.namespace.clone(),
            name: self.track.metadata.name.clone().unwrap_or_default(),
        };
        let own_track = Wants::Names([track.name.clone()].into());
        let own_track = (WatchKey::of(&track), own_track);
        let mut interests: BTreeMap<WatchKey, Wants> = if self.scene.adapter.is_some() {
            let workload = &self.scene.workload;
            [any(&workload.api_version, &workload.kind), own_track].into()
        } else {
            let made = [any("apps/v1", "Deployment"), any("apps/v1", "ReplicaSet")];
            made.into_iter().chain([own_track]).collect()
        };
        if self.scene.adapter.is_none() || self.scene.service.is_some() {
            interests.extend([
                any("v1", "Service"),
                any("discovery.k8s.io/v1", "EndpointSlice"),
            ]);
        }
        interests.extend(
            self.scene
                .routes
                .iter()
                .map(|route| &route.target)
                .chain(self.own_routes.watched())
                .map(|target| (WatchKey::of(target), Wants::Any)),
        );
        let copies = self.scene.config_copies();
        interests.extend(copies.map(|copy| (WatchKey::of(&copy), Wants::Any)));
        interests
    }

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
        self.collect_samples().await;
        self.calls.collect().await;
        let observations = self.observations(live, &seen);
        self.aim(&observations, &seen);
        let decision = decide(now, &self.track.spec, &self.state, &observations);
        if let Some(request) = &decision.sample {
            self.measure(
                request,
                views::addresses(&observations.canary_endpoints, live.canary_service.as_ref()),
                &seen,
                now,
            );
        }
        self.save(decision, live, &seen, now).await
    }

    async fn save(
        &mut self,
        mut decision: Decision,
        live: &Live,
        seen: &Seen<'_>,
        now: Timestamp,
    ) -> Result<Tick, RunError> {
        decision.summary.name.clone_from(&self.rollout.name);
        let before = (
            self.overlay(),
            self.correct_drift,
            self.goes_back(),
            self.is_over(),
            self.state.split_is_in_force(),
        );
        let changed = decision.next != self.state
            || !decision.events.is_empty()
            || self.track.status.as_ref().map(|status| &status.summary) != Some(&decision.summary);
        if changed {
            let status = status_of(&self.track, &decision, wall());
            match self.tracks.save(&self.track, status).await? {
                Saved::Done(track) => {
                    self.saved = saved_state(&track);
                    self.track = *track;
                }
                // Whatever was written may change the decision: it is made again.
                Saved::Outdated => return Ok(Tick::Moved),
            }
        }
        self.follow(&decision, seen);
        self.load(&decision, live, seen, now);
        for happening in &decision.events {
            tracing::info!(
                rollout.id = %self.of.run,
                rollout.name = self.rollout.name,
                reason = happening.reason,
                "{}", happening.message
            );
        }
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
        self.state = decision.next;
        self.correct_drift = decision.correct_drift;
        self.summary = Some(decision.summary);
        self.wake_at = decision.wake_at;
        let after = (
            self.overlay(),
            self.correct_drift,
            self.goes_back(),
            self.is_over(),
            self.state.split_is_in_force(),
        );
        Ok(if before == after {
            Tick::Same
        } else {
            Tick::Moved
        })
    }

    /// Lets the probe ask the canary's ready pods, where the plan measures by probe.
    fn aim(&mut self, observations: &Observations, seen: &Seen<'_>) {
        let tested = !self.state.split().is_none()
            || matches!(
                self.state.stage,
                Stage::Step {
                    part: StepPart::Analysing { .. } | StepPart::Gate { .. },
                    ..
                }
            );
        let wanted = tested && seen.meter.probes(&self.rollout.spec, seen.bundle);
        if !wanted {
            self.probe = None;
            return;
        }
        let Some(port) = seen.probe_port else { return };
        let targets: BTreeSet<String> = observations
            .canary_endpoints
            .ready
            .iter()
            .map(|address| host_port(address, port))
            .collect();
        self.probe
            .get_or_insert_with(|| seen.meter.probe())
            .aim(targets);
    }

    /// Starts a measurement, unless it is under way or answered already.
    fn measure(
        &mut self,
        request: &SampleRequest,
        canary_addresses: BTreeSet<String>,
        seen: &Seen<'_>,
        now: Timestamp,
    ) {
        let answered = self
            .samples
            .as_ref()
            .is_some_and(|samples| samples.check == request.check);
        let under_way = self
            .measuring
            .as_ref()
            .is_some_and(|(asked, _)| asked.check == request.check);
        if answered || under_way {
            return;
        }
        let subject = Subject {
            bundle: seen.bundle,
            plan: &self.rollout.spec,
            namespace: &self.scene.namespace,
            workload: &self.scene.workload.name,
            service: self
                .scene
                .service
                .as_ref()
                .map_or("", |service| service.name.as_str()),
            port: seen.service_port,
            canary_addresses,
            probe: self.probe.as_ref(),
        };
        self.lateness = self.check_due_at().map(|due| {
            let late = now.duration_since(due);
            Duration::try_from(late).unwrap_or_default()
        });
        let measurement = Measurement::new(&subject, request.clone(), now);
        let (meter, poke) = (seen.meter.clone(), std::sync::Arc::clone(seen.poke));
        let task = tokio::spawn(async move {
            let samples = meter.measure(measurement).await;
            poke.wake();
            samples
        });
        if let Some((_, old)) = self.measuring.replace((request.clone(), task)) {
            old.abort();
        }
    }

    /// When the check that is asked for was due; absent = the step had not come to its checks before.
    const fn check_due_at(&self) -> Option<Timestamp> {
        match &self.state.stage {
            Stage::Step {
                part:
                    StepPart::Analysing { next_check_at, .. } | StepPart::Gate { next_check_at, .. },
                ..
            } => Some(*next_check_at),
            _ => None,
        }
    }

    async fn collect_samples(&mut self) {
        if self
            .measuring
            .as_ref()
            .is_some_and(|(_, task)| task.is_finished())
            && let Some((_, task)) = self.measuring.take()
        {
            match task.await {
                Ok(samples) => self.samples = Some(samples),
                Err(error) => {
                    tracing::error!(rollout.id = %self.of.run, %error, "a measurement died")
                }
            }
        }
    }

    /// Makes the objects that the routes are about to name. Call it before the routes are written.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn hold_own_routes(
        &mut self,
        cluster: &Cluster,
        versions: &Versions,
        dirty: &Dirty,
    ) -> Result<(), RunError> {
        let bundle = if self.goes_back() {
            &versions.old
        } else {
            &versions.new
        };
        let split = self.overlay().split;
        self.own_routes
            .hold(cluster, &self.scene, &self.track, bundle, &split, dirty)
            .await
    }

    /// Makes the canary what the run wants of it, and takes away what the routes name no more.
    /// Call it after the routes are written.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn hold_canary(
        &mut self,
        cluster: &Cluster,
        versions: &Versions,
        dirty: &Dirty,
    ) -> Result<(), RunError> {
        let overlay = self.overlay();
        let in_force = self.state.split_is_in_force();
        self.own_routes
            .remove_unused(cluster, &self.scene, in_force)
            .await?;
        self.canary
            .hold(cluster, &self.scene, &self.track, versions, &overlay, dirty)
            .await
    }

    /// Takes away pods of a workload that is updated in place, which nobody else does. Call it with
    /// what was decided on, once the decision is saved.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn clear_the_way(
        &mut self,
        cluster: &Cluster,
        live: &Live,
        now: Timestamp,
    ) -> Result<(), RunError> {
        let Some(run) = self.state.in_place.as_ref().filter(|_| self.correct_drift) else {
            return Ok(());
        };
        let want = self.overlay().in_place;
        let scene = &self.scene;
        self.blocked = scene.clear_the_way(cluster, live, &want, &run.old).await?;
        if self.blocked.is_some() {
            // Nothing tells when a budget has room again.
            let again = now.saturating_add(EVICT_AGAIN).unwrap_or(now);
            self.wake_at = Some(self.wake_at.map_or(again, |at| at.min(again)));
        }
        Ok(())
    }

    /// Removes the track of a run that is over.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn close(&self) -> Result<(), RunError> {
        Ok(self.tracks.remove(&self.rollout.name).await?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.measuring {
            task.abort();
        }
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

fn host_port(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests;
