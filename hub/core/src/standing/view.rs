use bellwether_api::{
    reference::NamespacedName,
    status::{
        Health, PAUSED_AFTER_FAILURE, Phase, TrackSummary, UnitOutcome, UnitStatus, WaitReason,
    },
    view::{ClusterPhase, ClusterView, RunPhase, RunView, WavePhase, WaveView},
};
use jiff::Timestamp;
use uuid::Uuid;

/// One cluster that holds the grant.
#[derive(Clone, Debug)]
pub struct StandingCluster {
    /// Its name.
    pub name: String,
    /// Whether the hub hears from it now.
    pub reachable: bool,
    /// When the hub last heard from it; absent = never.
    pub last_heard: Option<Timestamp>,
    /// Its last report; absent = nothing yet.
    pub status: Option<UnitStatus>,
}

/// Why the hub does not do with a Rollout what its record says: a brake, or a destination or template that
/// cannot be used.
pub const STALLED: &str = "Stalled";

/// Shows the changes that are under way, or were last, as one run with one wave: changes in different
/// clusters know nothing of each other, and no budget holds over them. `stalled` = what keeps the hub from
/// doing what the record says.
#[must_use]
pub fn view(
    rollout: &NamespacedName,
    by: &str,
    created_at: Timestamp,
    clusters: &[StandingCluster],
    stalled: Option<&str>,
    now: Timestamp,
) -> RunView {
    let shown: Vec<ClusterView> = clusters.iter().map(cluster).collect();
    let count = |phase| number(shown.iter().filter(|one| one.state == phase).count());
    let (done, failed) = (count(ClusterPhase::Succeeded), count(ClusterPhase::Failed));
    let total = number(shown.len());
    let state = state(&shown);
    let stalled = stalled.map(|why| wait(STALLED, why.to_owned(), None));
    let of_clusters = shown.iter().flat_map(|one| one.waiting_on.iter().cloned());
    let mut waiting_on: Vec<WaitReason> = stalled.into_iter().chain(of_clusters).take(20).collect();
    if shown.is_empty() {
        waiting_on.push(wait(
            "NoClusters",
            "no registered cluster matches the destination; it is governed once one does".into(),
            None,
        ));
    }
    let newest = clusters
        .iter()
        .filter_map(|cluster| cluster.status.as_ref())
        .max_by_key(|status| status.run);
    let percents: u32 = shown.iter().map(percent).sum();
    RunView {
        application: rollout.clone(),
        run: newest.map_or_else(Uuid::nil, |status| status.run),
        revision: 0,
        release: newest
            .map(|status| status.release.clone())
            .unwrap_or_default(),
        version: newest
            .map(|status| status.release.chars().take(12).collect())
            .unwrap_or_default(),
        from_revision: None,
        from_version: String::new(),
        restores: None,
        state,
        message: String::new(),
        done,
        total,
        percent: u8::try_from(percents.checked_div(total).unwrap_or(0)).unwrap_or(100),
        waves: vec![wave(state, shown, (done, failed, total))],
        waiting_on,
        by: by.to_owned(),
        reason: String::new(),
        created_at: created_at.to_string(),
        finished_at: None,
        observed_at: now.to_string(),
        sequence: 0,
    }
}

fn wave(state: RunPhase, clusters: Vec<ClusterView>, counts: (u32, u32, u32)) -> WaveView {
    let (done, failed, total) = counts;
    WaveView {
        index: 0,
        name: "all".to_owned(),
        state: match state {
            RunPhase::Succeeded => WavePhase::Passed,
            RunPhase::Failed => WavePhase::Failed,
            RunPhase::RollingBack => WavePhase::RollingBack,
            RunPhase::WaitingApproval => WavePhase::WaitingApproval,
            _ => WavePhase::Running,
        },
        done,
        failed,
        total,
        max_concurrent: total,
        max_failures: total,
        gates: Vec::new(),
        clusters,
        started_at: None,
        finished_at: None,
        note: "changed in the clusters".to_owned(),
    }
}

fn state(clusters: &[ClusterView]) -> RunPhase {
    let any = |phases: &[ClusterPhase]| clusters.iter().any(|one| phases.contains(&one.state));
    if clusters.is_empty() {
        RunPhase::Pending
    } else if any(&[ClusterPhase::WaitingApproval]) {
        RunPhase::WaitingApproval
    } else if any(&[ClusterPhase::RollingBack]) {
        RunPhase::RollingBack
    } else if any(&[
        ClusterPhase::Progressing,
        ClusterPhase::Granted,
        ClusterPhase::Unreachable,
    ]) {
        RunPhase::Progressing
    } else if any(&[ClusterPhase::Suspended]) {
        RunPhase::Suspended
    } else if any(&[ClusterPhase::Failed]) {
        RunPhase::Failed
    } else {
        RunPhase::Succeeded
    }
}

fn cluster(cluster: &StandingCluster) -> ClusterView {
    let status = cluster.status.as_ref();
    let state = phase(cluster);
    let on = Some(format!("cluster/{}", cluster.name));
    let waiting_on = match (state, status) {
        (ClusterPhase::Succeeded | ClusterPhase::Failed, _) => Vec::new(),
        (ClusterPhase::Unreachable, _) => {
            let since = cluster.last_heard.map_or_else(
                || "the agent has never connected".to_owned(),
                |at| format!("not heard since {at}"),
            );
            vec![wait("ClusterUnreachable", since, on)]
        }
        (_, Some(status)) if !status.waiting_on.is_empty() => status.waiting_on.clone(),
        _ => {
            let message = "granted; the agent has not reported on it yet".to_owned();
            vec![wait("AgentSilent", message, on)]
        }
    };
    let tracks = status
        .map(|status| status.rollouts.clone())
        .unwrap_or_default();
    ClusterView {
        name: cluster.name.clone(),
        state,
        attempt: status.map_or(0, |status| status.attempt),
        reachable: cluster.reachable,
        last_seen: cluster.last_heard.map(|at| at.to_string()),
        health: status
            .filter(|_| cluster.reachable)
            .map_or(Health::Unknown, |status| status.health),
        reason: status
            .map(|status| word(&status.reason))
            .unwrap_or_default(),
        message: status
            .map(|status| status.reason.clone())
            .unwrap_or_default(),
        tracks,
        waiting_on,
        since: None,
    }
}

/// The CamelCase word before a reason's sentence; empty = it begins with none.
pub(super) fn word(reason: &str) -> String {
    let (word, _) = reason.split_once(':').unwrap_or_default();
    if word.contains(' ') {
        String::new()
    } else {
        word.to_owned()
    }
}

fn phase(cluster: &StandingCluster) -> ClusterPhase {
    let Some(status) = &cluster.status else {
        return if cluster.reachable {
            ClusterPhase::Granted
        } else {
            ClusterPhase::Unreachable
        };
    };
    if !cluster.reachable {
        return ClusterPhase::Unreachable;
    }
    match status.outcome {
        UnitOutcome::Succeeded | UnitOutcome::Removing => ClusterPhase::Succeeded,
        UnitOutcome::Failed | UnitOutcome::Refused => ClusterPhase::Failed,
        UnitOutcome::RollingBack => ClusterPhase::RollingBack,
        UnitOutcome::Progressing if status.rollouts.iter().any(asks) => {
            ClusterPhase::WaitingApproval
        }
        UnitOutcome::Progressing
            if status
                .rollouts
                .iter()
                .any(|track| track.phase == Phase::Suspended) =>
        {
            ClusterPhase::Suspended
        }
        UnitOutcome::Progressing => ClusterPhase::Progressing,
    }
}

fn asks(track: &TrackSummary) -> bool {
    let waits = |track: &TrackSummary| {
        let mut waits = track.waiting_on.iter();
        waits.any(|wait| matches!(wait.reason.as_str(), "Approval" | PAUSED_AFTER_FAILURE))
    };
    matches!(track.phase, Phase::Waiting | Phase::WaitingPromotion)
        || track.phase == Phase::Paused && waits(track)
}

fn percent(cluster: &ClusterView) -> u32 {
    match cluster.state {
        ClusterPhase::Succeeded => 100,
        ClusterPhase::Failed => 0,
        _ => cluster
            .tracks
            .first()
            .filter(|track| track.steps > 0)
            .map_or(0, |track| {
                (track.step.unwrap_or(0) * 100)
                    .checked_div(track.steps)
                    .unwrap_or(0)
            }),
    }
}

fn wait(reason: &str, message: String, on: Option<String>) -> WaitReason {
    WaitReason {
        reason: reason.to_owned(),
        message,
        on,
        since: None,
        by_itself: None,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
