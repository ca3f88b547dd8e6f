//! What people see of a run, put together from its plan, its state and the agents' reports.

mod cluster;
mod wave;

use bellwether_api::{
    reference::NamespacedName,
    view::{ClusterPhase, ClusterView, RunPhase, RunView, WavePhase, WaveView},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    release::{Release, ReleaseContent},
    run::{Input, RunStatus, explain},
};

/// What a view is made from, beside the run itself.
#[derive(Clone, Copy, Debug)]
pub struct ViewInput<'a> {
    /// The application.
    pub application: &'a NamespacedName,
    /// The release that is brought in.
    pub release: &'a Release,
    /// The release that ran before; absent = this is the first.
    pub from: Option<&'a Release>,
    /// The run as decisions see it. Actions are not looked at.
    pub run: Input<'a>,
    /// Who made the release.
    pub by: &'a str,
    /// Why; empty when nothing was said.
    pub reason: &'a str,
    /// The revision that the release restores; absent = it is what the records said.
    pub restores: Option<u64>,
    /// When the run was made.
    pub created_at: Timestamp,
    /// Rises with every change of the run.
    pub sequence: u64,
}

/// Builds the view of a run.
#[must_use]
pub fn build(input: &ViewInput<'_>) -> RunView {
    let run = &input.run;
    let waves = wave::build_all(run);
    let clusters: Vec<&ClusterView> = waves.iter().flat_map(|wave| &wave.clusters).collect();
    let done = clusters
        .iter()
        .filter(|one| one.state == ClusterPhase::Succeeded)
        .count();
    let (waiting_on, _) = explain(run);
    let status = &run.state.status;
    let (message, reason) = words(status, input.reason);
    RunView {
        application: input.application.clone(),
        run: run.run.id,
        revision: input.release.revision,
        release: input.release.digest.clone(),
        version: version(&input.release.content),
        restores: input.restores,
        from_revision: input.from.map(|from| from.revision),
        from_version: input
            .from
            .map(|from| version(&from.content))
            .unwrap_or_default(),
        state: phase(run, &waves),
        message,
        done: count(done),
        total: count(clusters.len()),
        percent: percent(status, &clusters),
        waves,
        waiting_on,
        by: input.by.to_owned(),
        reason,
        created_at: input.created_at.to_string(),
        finished_at: status.finished_at().map(|at| at.to_string()),
        observed_at: run.now.to_string(),
        sequence: input.sequence,
    }
}

/// Returns the waves of a run with their clusters; late joiners form a last one of their own.
#[must_use]
pub fn waves(run: &Input<'_>) -> Vec<WaveView> {
    wave::build_all(run)
}

/// Returns where a run stands, in the word that people see and that is stored beside the state.
#[must_use]
pub fn phase_of(run: &Input<'_>) -> RunPhase {
    phase(run, &wave::build_all(run))
}

fn phase(run: &Input<'_>, waves: &[WaveView]) -> RunPhase {
    match &run.state.status {
        RunStatus::Halted { .. } => RunPhase::Halted,
        RunStatus::Aborting { .. } | RunStatus::RollingBack { .. } => RunPhase::RollingBack,
        RunStatus::Succeeded { .. } => RunPhase::Succeeded,
        RunStatus::Failed { .. } => RunPhase::Failed,
        RunStatus::Aborted { .. } => RunPhase::Aborted,
        RunStatus::Superseded { .. } => RunPhase::Superseded,
        RunStatus::Progressing => progressing(run, waves),
    }
}

fn progressing(run: &Input<'_>, waves: &[WaveView]) -> RunPhase {
    if run.suspended_by_spec || run.state.suspended.is_some() {
        return RunPhase::Suspended;
    }
    let clusters = || waves.iter().flat_map(|wave| &wave.clusters);
    let moves = clusters().any(|cluster| {
        matches!(
            cluster.state,
            ClusterPhase::Granted | ClusterPhase::Progressing | ClusterPhase::RollingBack
        )
    });
    let asks = clusters().any(|cluster| cluster.state == ClusterPhase::WaitingApproval)
        || waves
            .iter()
            .any(|wave| wave.state == WavePhase::WaitingApproval);
    if moves {
        RunPhase::Progressing
    } else if asks {
        RunPhase::WaitingApproval
    } else if waves.iter().any(|wave| wave.state == WavePhase::Soaking) {
        RunPhase::Soaking
    } else if clusters().all(|cluster| cluster.attempt == 0) {
        RunPhase::Pending
    } else {
        RunPhase::Progressing
    }
}

/// The sentence on the state, and whose words end the run.
fn words(status: &RunStatus, release_reason: &str) -> (String, String) {
    let own = release_reason.to_owned();
    match status {
        RunStatus::Failed { message, .. } => (message.clone(), own),
        RunStatus::Aborted { by, reason, .. } | RunStatus::Aborting { by, reason, .. } => (
            format!("ended by {by}"),
            if reason.is_empty() {
                own
            } else {
                reason.clone()
            },
        ),
        RunStatus::Superseded { revision, .. } => {
            (format!("revision {revision} took its place"), own)
        }
        RunStatus::RollingBack { .. } => (
            "every cluster goes back to the release it had before".to_owned(),
            own,
        ),
        _ => (String::new(), own),
    }
}

/// Whole percent over clusters and their steps.
fn percent(status: &RunStatus, clusters: &[&ClusterView]) -> u8 {
    if matches!(status, RunStatus::Succeeded { .. }) || clusters.is_empty() {
        return 100;
    }
    let sum: u64 = clusters.iter().map(|one| per_mille(one)).sum();
    let percent = sum / (10 * u64::try_from(clusters.len()).unwrap_or(u64::MAX)).max(1);
    // Only a run that has ended well is complete.
    u8::try_from(percent.min(99)).unwrap_or(99)
}

fn per_mille(cluster: &ClusterView) -> u64 {
    if matches!(
        cluster.state,
        ClusterPhase::Succeeded | ClusterPhase::Skipped
    ) {
        return 1000;
    }
    let under_way = matches!(
        cluster.state,
        ClusterPhase::Progressing | ClusterPhase::Suspended | ClusterPhase::WaitingApproval
    );
    if !under_way {
        return 0;
    }
    let of_tracks = cluster.tracks.iter().map(|track| {
        let steps = u64::from(track.steps) + 1;
        track
            .step
            .map_or(0, |step| (u64::from(step) + 1).min(steps) * 1000 / steps)
    });
    of_tracks.min().unwrap_or(0)
}

/// Returns what people call a release: the image tag of the first governed workload, or else of
/// the first Deployment; empty when there is none.
#[must_use]
pub fn version(content: &ReleaseContent) -> String {
    let objects = || {
        content
            .components
            .iter()
            .flat_map(|component| &component.objects)
    };
    let text = |object: &'_ Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let governed = content.rollouts.iter().find_map(|rollout| {
        let workload = &rollout.spec.workload;
        objects().find(|object| {
            text(object, "/kind") == workload.kind
                && text(object, "/metadata/name") == workload.name
        })
    });
    governed
        .or_else(|| objects().find(|object| text(object, "/kind") == "Deployment"))
        .map(|object| tag(&text(object, "/spec/template/spec/containers/0/image")))
        .unwrap_or_default()
}

fn tag(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((_, tag)) if !tag.contains('/') => tag.to_owned(),
        _ => String::new(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
