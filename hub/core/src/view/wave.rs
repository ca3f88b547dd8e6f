use bellwether_api::{
    application::Gate,
    view::{ClusterPhase as ShownCluster, ClusterView, GateView, WavePhase as Shown, WaveView},
};
use jiff::Timestamp;

use super::{cluster, count};
use crate::{
    plan::PlannedWave,
    run::{GateVerdict, Input, RunStatus, WavePhase, gates},
};

/// Name under which clusters are shown that joined after the plan was frozen.
const JOINED: &str = "joined";

pub(super) fn build_all(run: &Input<'_>) -> Vec<WaveView> {
    let mut waves: Vec<WaveView> = run
        .plan
        .waves
        .iter()
        .enumerate()
        .map(|(index, wave)| build(run, index, wave))
        .collect();
    let joined: Vec<ClusterView> = run
        .state
        .clusters
        .iter()
        .filter(|(_, cluster)| cluster.wave.is_none())
        .map(|(id, one)| cluster::build(run, *id, one, true))
        .collect();
    if !joined.is_empty() {
        waves.push(joined_wave(waves.len(), joined));
    }
    waves
}

fn build(run: &Input<'_>, index: usize, planned: &PlannedWave) -> WaveView {
    let state = &run.state.waves[index];
    let open = state.phase.is_open();
    let clusters: Vec<ClusterView> = planned
        .clusters
        .iter()
        .filter_map(|one| {
            run.state
                .clusters
                .get(&one.id)
                .map(|known| cluster::build(run, one.id, known, open))
        })
        .collect();
    let verdicts = gates(run, index);
    let started = state.phase.started();
    let finished = match state.phase {
        WavePhase::Passed { at, .. } | WavePhase::Failed { at, .. } => Some(at),
        _ => None,
    };
    let shown = phase(run, state.phase, &verdicts, planned.before.len());
    WaveView {
        index: count(index),
        name: planned.name.clone(),
        state: shown,
        done: number(&clusters, ShownCluster::Succeeded),
        failed: number(&clusters, ShownCluster::Failed),
        total: count(clusters.len()),
        max_concurrent: planned.max_concurrent,
        max_failures: planned.max_failures,
        gates: gate_views(run, index, planned, &verdicts),
        clusters,
        started_at: started.map(|at| at.to_string()),
        finished_at: finished.map(|at| at.to_string()),
        note: note(run, index, planned, shown),
    }
}

fn number(clusters: &[ClusterView], state: ShownCluster) -> u32 {
    count(
        clusters
            .iter()
            .filter(|cluster| cluster.state == state)
            .count(),
    )
}

fn phase(
    run: &Input<'_>,
    phase: WavePhase,
    verdicts: &[GateVerdict],
    gates_before: usize,
) -> Shown {
    let asks = |side: &[GateVerdict]| {
        side.iter()
            .any(|verdict| matches!(verdict, GateVerdict::Approval { .. }))
    };
    let soaks = |side: &[GateVerdict]| {
        side.iter().any(|verdict| {
            matches!(
                verdict,
                GateVerdict::Soak { .. } | GateVerdict::SoakStopped { .. }
            )
        })
    };
    let (before, after) = verdicts.split_at(gates_before);
    let going_back = matches!(
        run.state.status,
        RunStatus::RollingBack { .. } | RunStatus::Aborting { .. }
    );
    match phase {
        WavePhase::Failed { .. } if !going_back => Shown::Failed,
        WavePhase::Waiting | WavePhase::Opening { .. } if run.state.status.is_finished() => {
            Shown::Skipped
        }
        WavePhase::Waiting | WavePhase::Opening { .. } if going_back => Shown::Skipped,
        _ if going_back => Shown::RollingBack,
        WavePhase::Waiting => Shown::Waiting,
        WavePhase::Opening { .. } if asks(before) && !soaks(before) => Shown::WaitingApproval,
        WavePhase::Opening { .. } => Shown::Waiting,
        WavePhase::Running { .. } => Shown::Running,
        WavePhase::Settling { .. } if soaks(after) => Shown::Soaking,
        WavePhase::Settling { .. } if asks(after) => Shown::WaitingApproval,
        WavePhase::Settling { .. } => Shown::Running,
        WavePhase::Passed { .. } => Shown::Passed,
        WavePhase::Failed { .. } => Shown::Failed,
    }
}

fn gate_views(
    run: &Input<'_>,
    index: usize,
    planned: &PlannedWave,
    verdicts: &[GateVerdict],
) -> Vec<GateView> {
    let phase = run.state.waves[index].phase;
    let sides = planned
        .before
        .iter()
        .map(|gate| (gate, false))
        .chain(planned.after.iter().map(|gate| (gate, true)));
    sides
        .zip(verdicts)
        .map(|((gate, after), verdict)| {
            // A gate behind its wave was passed once and is not judged again.
            let behind = match phase {
                WavePhase::Waiting | WavePhase::Opening { .. } => false,
                WavePhase::Passed { .. } => true,
                _ => !after,
            };
            let judged = match phase {
                WavePhase::Opening { .. } => !after,
                WavePhase::Settling { .. } => after,
                _ => false,
            };
            GateView {
                kind: kind(gate).to_owned(),
                after,
                passed: behind || judged && *verdict == GateVerdict::Holds,
                detail: detail(gate, judged.then_some(verdict), run.now),
            }
        })
        .collect()
}

const fn kind(gate: &Gate) -> &'static str {
    if gate.approval.is_some() {
        "approval"
    } else if gate.window.is_some() {
        "window"
    } else if gate.verdicts.is_some() {
        "verdicts"
    } else if gate.metric.is_some() {
        "metric"
    } else if gate.external.is_some() {
        "external"
    } else {
        "soak"
    }
}

/// The host of an address; what follows it may be nobody's business.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// A gate as it is written.
fn written(gate: &Gate) -> String {
    if let Some(approval) = &gate.approval {
        return if approval.by.is_empty() {
            "approval".to_owned()
        } else {
            format!("approval by {}", approval.by.join(", "))
        };
    }
    if let Some(window) = &gate.window {
        let zone = window.time_zone.as_deref().unwrap_or("UTC");
        return format!("window {} {zone} for {}", window.schedule, window.duration);
    }
    if let Some(quorum) = &gate.verdicts {
        return format!("checks passed in {}%", quorum.percent);
    }
    if let Some(metric) = &gate.metric {
        let limit = match (&metric.range.min, &metric.range.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "anything".to_owned(),
        };
        return format!("metric {limit}");
    }
    if let Some(external) = &gate.external {
        return format!("answer of {}", host(&external.url));
    }
    gate.soak
        .map_or_else(String::new, |soak| format!("soak {soak}"))
}

fn detail(gate: &Gate, verdict: Option<&GateVerdict>, now: Timestamp) -> String {
    let mut text = written(gate);
    match verdict {
        Some(GateVerdict::Approval { given, needed, .. }) => {
            text.push_str(&format!(", {given} of {needed}"));
        }
        Some(GateVerdict::Soak { until }) => {
            let left = until.duration_since(now).as_secs().max(0);
            let left = bellwether_api::duration::Dur::from_secs(left.unsigned_abs());
            text.push_str(&format!(", {left} left"));
        }
        Some(GateVerdict::Answer { last, .. }) => {
            text.push_str(&format!(", {}", crate::run::answer(last.as_ref())));
        }
        Some(GateVerdict::Window { opens: Some(at) }) => {
            text.push_str(&format!(", opens at {at}"));
        }
        Some(GateVerdict::Window { opens: None }) => text.push_str(", never opens again"),
        Some(GateVerdict::Verdicts { passed, needed, .. }) => {
            text.push_str(&format!(", {passed} of {needed}"));
        }
        Some(GateVerdict::SoakStopped { clusters }) => {
            text.push_str(&format!(", stopped by {}", clusters.join(", ")));
        }
        Some(GateVerdict::Holds) | None => {}
    }
    text
}

/// What a wave that has not started comes after.
fn note(run: &Input<'_>, index: usize, planned: &PlannedWave, shown: Shown) -> String {
    if !matches!(shown, Shown::Waiting | Shown::WaitingApproval) {
        return String::new();
    }
    let mut parts = Vec::new();
    if let Some(earlier) = index.checked_sub(1).map(|one| &run.plan.waves[one]) {
        parts.push(format!("after {}", earlier.name));
        parts.extend(earlier.after.iter().map(|gate| detail(gate, None, run.now)));
    }
    parts.extend(
        planned
            .before
            .iter()
            .map(|gate| detail(gate, None, run.now)),
    );
    parts.join(" + ")
}

fn joined_wave(index: usize, clusters: Vec<ClusterView>) -> WaveView {
    let done = number(&clusters, ShownCluster::Succeeded);
    let total = count(clusters.len());
    WaveView {
        index: count(index),
        name: JOINED.to_owned(),
        state: if done == total {
            Shown::Passed
        } else {
            Shown::Running
        },
        done,
        failed: number(&clusters, ShownCluster::Failed),
        total,
        max_concurrent: 1,
        max_failures: total,
        gates: Vec::new(),
        clusters,
        started_at: None,
        finished_at: None,
        note: "joined after the plan was frozen".to_owned(),
    }
}
