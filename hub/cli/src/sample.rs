//! Runs for the tests of the drawing code.

use bellwether_api::{
    number::Weight,
    reference::{NamespacedName, ObjectRef},
    status::{
        CheckResult, CurrentStep, Health, Phase, ReadyCount, TrackSummary, Verdict, WaitReason,
    },
    view::{ClusterPhase, ClusterView, GateView, RunPhase, RunView, WavePhase, WaveView},
};
use uuid::Uuid;

/// The time at which the samples are seen.
pub const NOW: &str = "2026-03-01T12:10:00Z";

fn track(weight: u32, phase: Phase) -> TrackSummary {
    TrackSummary {
        name: "web".into(),
        workload: ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        },
        phase,
        failure: None,
        message: String::new(),
        step: Some(1),
        steps: 5,
        current: CurrentStep {
            iterations: 1,
            ..CurrentStep::default()
        },
        weight: Weight::clamped(weight),
        observed_weight: Weight::clamped(weight),
        stable: ReadyCount {
            ready: 5,
            desired: 5,
        },
        canary: ReadyCount {
            ready: 1,
            desired: 1,
        },
        failed_checks: 0,
        failure_threshold: 2,
        checks: vec![CheckResult {
            metric: "request-success-rate".into(),
            value: Some("100".into()),
            stable: None,
            limit: ">= 99".into(),
            verdict: Verdict::Pass,
            reason: String::new(),
            ignored: false,
            at: "2026-03-01T12:09:50Z".into(),
        }],
        waiting_on: Vec::new(),
    }
}

fn cluster(name: &str, state: ClusterPhase) -> ClusterView {
    ClusterView {
        name: name.into(),
        state,
        attempt: 1,
        reachable: true,
        last_seen: Some("2026-03-01T12:06:00Z".into()),
        health: Health::Healthy,
        reason: String::new(),
        message: String::new(),
        tracks: Vec::new(),
        waiting_on: Vec::new(),
        since: None,
    }
}

fn wait(reason: &str, message: &str, on: Option<&str>) -> WaitReason {
    WaitReason {
        reason: reason.into(),
        message: message.into(),
        on: on.map(str::to_owned),
        since: Some("2026-03-01T12:08:00Z".into()),
        by_itself: None,
    }
}

fn wave(index: u32, name: &str, state: WavePhase, clusters: Vec<ClusterView>) -> WaveView {
    let done = clusters
        .iter()
        .filter(|c| c.state == ClusterPhase::Succeeded)
        .count();
    let failed = clusters
        .iter()
        .filter(|c| c.state == ClusterPhase::Failed)
        .count();
    WaveView {
        index,
        name: name.into(),
        state,
        done: u32::try_from(done).expect("few"),
        failed: u32::try_from(failed).expect("few"),
        total: u32::try_from(clusters.len()).expect("few"),
        max_concurrent: 2,
        max_failures: 0,
        gates: Vec::new(),
        clusters,
        started_at: None,
        finished_at: None,
        note: String::new(),
    }
}

/// A canary at 20 % in the second wave.
pub fn canary_under_way() -> RunView {
    let mut first = cluster("eu-edge-1", ClusterPhase::Succeeded);
    first.tracks = vec![TrackSummary {
        step: Some(4),
        ..track(0, Phase::Succeeded)
    }];
    first.since = Some("2026-03-01T12:04:00Z".into());
    let mut second = cluster("eu-west-1", ClusterPhase::Progressing);
    second.tracks = vec![track(20, Phase::Progressing)];
    second.waiting_on = vec![wait("Analysis", "next check in 10s", None)];
    second.since = Some("2026-03-01T12:08:00Z".into());
    let mut third = cluster("eu-west-2", ClusterPhase::Queued);
    third.attempt = 0;
    third.waiting_on = vec![wait("Concurrency", "one at a time", None)];
    let mut canary = wave(0, "canary", WavePhase::Passed, vec![first]);
    canary.started_at = Some("2026-03-01T12:00:00Z".into());
    canary.finished_at = Some("2026-03-01T12:06:00Z".into());
    let mut rest = wave(1, "rest", WavePhase::Running, vec![second, third]);
    rest.started_at = Some("2026-03-01T12:08:00Z".into());
    rest.gates = vec![GateView {
        kind: "approval".into(),
        after: true,
        passed: false,
        detail: "approval by sre, 0 of 1".into(),
    }];
    RunView {
        application: NamespacedName {
            namespace: "shop".into(),
            name: "web".into(),
        },
        run: Uuid::nil(),
        revision: 7,
        release: "ab".repeat(32),
        version: "2.4.1".into(),
        restores: None,
        from_revision: Some(6),
        from_version: "2.4.0".into(),
        state: RunPhase::Progressing,
        message: String::new(),
        done: 1,
        total: 3,
        percent: 40,
        waves: vec![canary, rest],
        waiting_on: vec![wait(
            "Analysis",
            "analysis request-success-rate, next check in 10s",
            Some("eu-west-1"),
        )],
        by: "ana".into(),
        reason: String::new(),
        created_at: "2026-03-01T12:00:00Z".into(),
        finished_at: None,
        observed_at: NOW.into(),
        sequence: 12,
    }
}

/// One wave of `count` clusters: half of them done, one failed, one under way, the others queued.
pub fn wide_run(count: usize) -> RunView {
    let mut view = canary_under_way();
    let clusters = (0..count)
        .map(|index| {
            let state = match index {
                7 => ClusterPhase::Failed,
                8 => ClusterPhase::Progressing,
                _ if index < count / 2 + 2 => ClusterPhase::Succeeded,
                _ => ClusterPhase::Queued,
            };
            let mut cluster = cluster(&format!("c-{index:02}"), state);
            if state == ClusterPhase::Failed {
                cluster.reason = "FailedChecks".into();
            }
            if state == ClusterPhase::Progressing {
                cluster.tracks = vec![track(20, Phase::Progressing)];
            }
            cluster
        })
        .collect();
    view.waves = vec![wave(0, "all", WavePhase::Running, clusters)];
    view
}
