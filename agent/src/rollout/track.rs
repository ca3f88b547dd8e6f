//! The RolloutTrack of one run: read, created, saved by compare-and-set, removed.

use bellwether_agent_core::machine::{Decision, RunState};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    command::{Abort, AbortCause, Command},
    reference::{NamespacedName, ObjectRef},
    status::RunEvent,
    track::{RESTORE_FINALIZER, RolloutTrack, RolloutTrackSpec, RolloutTrackStatus},
};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::sync::cluster::{ClusterError, ROLLOUT_MANAGER, within};

/// Events that a track keeps at most; a unit that reads it says how many are missing.
const MAX_EVENTS: usize = 200;

/// The tracks of one namespace.
#[derive(Clone)]
pub struct Tracks {
    api: Api<RolloutTrack>,
    namespace: String,
}

/// How saving went.
pub enum Saved {
    /// It is durable.
    Done(Box<RolloutTrack>),
    /// Somebody wrote the track in between: look again, decide again.
    Outdated,
}

impl Tracks {
    /// The tracks of `namespace`.
    #[must_use]
    pub fn new(client: kube::Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
        }
    }

    /// Fetches a track; absent = there is none.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn get(&self, name: &str) -> Result<Option<RolloutTrack>, ClusterError> {
        within("get", &self.named(name), self.api.get_opt(name)).await
    }

    /// Creates a track; absent = another one of that name came first.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn create(
        &self,
        name: &str,
        spec: RolloutTrackSpec,
    ) -> Result<Option<RolloutTrack>, ClusterError> {
        let mut track = RolloutTrack::new(name, spec);
        track.metadata.finalizers = Some(vec![RESTORE_FINALIZER.to_owned()]);
        let params = PostParams {
            field_manager: Some(ROLLOUT_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match within(
            "create",
            &self.named(name),
            self.api.create(&params, &track),
        )
        .await
        {
            Ok(track) => Ok(Some(track)),
            Err(error) if error.code() == Some(409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the hub's command into a track.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn command(
        &self,
        track: &RolloutTrack,
        command: &Command,
    ) -> Result<Saved, ClusterError> {
        let mut track = track.clone();
        track.spec.command = command.clone();
        let name = track.name_any();
        let params = PostParams {
            field_manager: Some(ROLLOUT_MANAGER.to_owned()),
            ..PostParams::default()
        };
        saved(
            within(
                "write",
                &self.named(&name),
                self.api.replace(&name, &params, &track),
            )
            .await,
        )
    }

    /// Saves a decision, if nobody wrote the track since it was read.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn save(
        &self,
        track: &RolloutTrack,
        status: RolloutTrackStatus,
    ) -> Result<Saved, ClusterError> {
        let mut track = track.clone();
        track.status = Some(status);
        let name = track.name_any();
        let params = PostParams {
            field_manager: Some(ROLLOUT_MANAGER.to_owned()),
            ..PostParams::default()
        };
        saved(
            within(
                "write",
                &self.named(&name),
                self.api.replace_status(&name, &params, &track),
            )
            .await,
        )
    }

    /// Lets go of a track and deletes it.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn remove(&self, name: &str) -> Result<(), ClusterError> {
        let object = self.named(name);
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let params = PatchParams::default();
        match within("release", &object, self.api.patch(name, &params, &patch)).await {
            // Nothing else has held it.
            Ok(track) if track.metadata.deletion_timestamp.is_some() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => return Ok(()),
            Err(error) => return Err(error),
        }
        match within(
            "delete",
            &object,
            self.api.delete(name, &DeleteParams::default()),
        )
        .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn named(&self, name: &str) -> String {
        format!("RolloutTrack/{}/{name}", self.namespace)
    }
}

fn saved(written: Result<RolloutTrack, ClusterError>) -> Result<Saved, ClusterError> {
    match written {
        Ok(track) => Ok(Saved::Done(Box::new(track))),
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(Saved::Outdated),
        Err(error) => Err(error),
    }
}

/// What a track says of the run that a bundle brings in.
#[must_use]
pub fn spec_of(bundle: &Bundle, rollout: &BundleRollout, generation: u64) -> RolloutTrackSpec {
    RolloutTrackSpec {
        application: bundle.application.clone(),
        release: bundle.release.clone(),
        revision: bundle.revision,
        run: bundle.run,
        attempt: bundle.attempt,
        generation,
        mode: bundle.mode,
        workload: workload_of(bundle, rollout),
        plan: rollout.spec.clone(),
        command: Command::default(),
        local: None,
    }
}

/// The governed workload.
#[must_use]
pub fn workload_of(bundle: &Bundle, rollout: &BundleRollout) -> ObjectRef {
    let workload = &rollout.spec.workload;
    ObjectRef {
        api_version: workload.api_version.clone(),
        kind: workload.kind.clone(),
        namespace: Some(
            workload
                .namespace
                .clone()
                .unwrap_or_else(|| bundle.target_namespace.clone()),
        ),
        name: workload.name.clone(),
    }
}

/// The command that the run of one Rollout is under: the hub's if it names this run, and an end
/// that the agent itself knows of.
#[must_use]
pub fn command_of(
    bundle: &Bundle,
    rollout: &str,
    hub: Option<Command>,
    held: &Command,
    end: Option<AbortCause>,
) -> Command {
    let mut command = hub
        .filter(|command| command.run == bundle.run && command.attempt == bundle.attempt)
        .unwrap_or_default();
    command.run = bundle.run;
    command.attempt = bundle.attempt;
    command.complete.retain(|name| name == rollout);
    if let (None, Some(cause)) = (&command.abort, end) {
        let reason = match cause {
            AbortCause::Superseded => "a newer release was granted",
            AbortCause::Deleted => "the application was deleted",
            AbortCause::RollbackAll => "another workload of the application failed",
            AbortCause::Manual => "",
        };
        command.abort = Some(Abort {
            cause,
            by: "bellwether-agent".to_owned(),
            reason: reason.to_owned(),
        });
    }
    // An abort is sticky, whatever the hub says later.
    if command.abort.is_none() {
        command.abort.clone_from(&held.abort);
    }
    command
}

/// Tells whether a track belongs to an application.
#[must_use]
pub fn belongs_to(track: &RolloutTrack, application: &NamespacedName) -> bool {
    track.spec.application == *application
}

/// The state that a track holds, taken up at `now`; a fresh one when it holds none.
#[must_use]
pub fn state_of(track: &RolloutTrack, now: Timestamp) -> RunState {
    let Some(status) = &track.status else {
        return RunState::new(&track.spec, now);
    };
    match RunState::from_value(&status.state) {
        Ok(state) => state.taken_up(track.spec.plan.progress_deadline, now),
        Err(error) => {
            tracing::error!(
                rollout.id = %track.spec.run,
                error = %crate::desired::chain(&error),
                "the run's state cannot be read and the run starts over"
            );
            RunState::new(&track.spec, now)
        }
    }
}

/// What is saved of a decision; `at` = the time that people read of its events.
#[must_use]
pub fn status_of(track: &RolloutTrack, decision: &Decision, at: Timestamp) -> RolloutTrackStatus {
    let mut events: Vec<RunEvent> = track
        .status
        .as_ref()
        .map(|status| status.events.clone())
        .unwrap_or_default();
    let mut seq = events.last().map_or(0, |event| event.seq);
    for happening in &decision.events {
        seq += 1;
        let workload = Some(track.spec.workload.clone());
        events.push(happening.event(seq, at, track.spec.run, track.spec.attempt, workload));
    }
    let surplus = events.len().saturating_sub(MAX_EVENTS);
    events.drain(..surplus);
    RolloutTrackStatus {
        summary: decision.summary.clone(),
        state: decision.next.to_value(),
        executed: decision.next.executed.clone(),
        events,
    }
}

#[cfg(test)]
mod tests;
