//! Why a run does not move, and what ends that. Pure.

use std::collections::BTreeSet;

use bellwether_api::{
    call::{Condition, Remedy, Why},
    status::{PAUSED_AFTER_FAILURE, WEIGHT_BY_HAND, WaitReason},
    view::{ClusterPhase, ClusterView, RunPhase, RunView, WavePhase},
};

/// Reasons that are shown at most.
const MAX_REASONS: usize = 20;

/// Explains a run.
#[must_use]
pub fn why(view: &RunView) -> Why {
    let clusters: Vec<&ClusterView> = view.waves.iter().flat_map(|wave| &wave.clusters).collect();
    let because = because(view, &clusters);
    let first = because.first();
    Why {
        headline: headline(view, first),
        since: first.and_then(|wait| wait.since.clone()),
        queued: count(&clusters, ClusterPhase::Queued),
        not_this: not_this(view, &clusters),
        do_one_of: remedies(view, &clusters),
        by_itself: by_itself(&because),
        because,
    }
}

/// Names the clusters of an unfinished run whose metrics do not answer, as `silent` says of a
/// cluster by its name: checks that are read there stay Unknown.
pub fn unmeasured(view: &RunView, silent: impl Fn(&str) -> Option<Condition>) -> Vec<WaitReason> {
    if view.state.is_terminal() {
        return Vec::new();
    }
    view.waves
        .iter()
        .flat_map(|wave| &wave.clusters)
        .filter(|cluster| cluster.state != ClusterPhase::Succeeded)
        .filter_map(|cluster| {
            Some(WaitReason {
                reason: "MetricsUnreachable".to_owned(),
                message: format!(
                    "its metrics do not answer: {}",
                    silent(&cluster.name)?.message
                ),
                on: Some(cluster.name.clone()),
                since: None,
                by_itself: None,
            })
        })
        .take(MAX_REASONS)
        .collect()
}

fn count(clusters: &[&ClusterView], phase: ClusterPhase) -> u32 {
    let count = clusters
        .iter()
        .filter(|cluster| cluster.state == phase)
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn because(view: &RunView, clusters: &[&ClusterView]) -> Vec<WaitReason> {
    let mut found: Vec<WaitReason> = Vec::new();
    // A cluster says it of itself, and the hub of the cluster.
    let bare = |on: &Option<String>| {
        on.as_deref()
            .map(|on| on.rsplit('/').next().unwrap_or(on).to_owned())
    };
    let mut add = |wait: &WaitReason| {
        let known = found.iter().any(|known| {
            known.reason == wait.reason
                && (bare(&known.on) == bare(&wait.on) || known.message.contains(&wait.message))
        });
        if !known {
            found.push(wait.clone());
        }
    };
    view.waiting_on.iter().for_each(&mut add);
    for cluster in clusters {
        let failed = matches!(
            cluster.state,
            ClusterPhase::Failed | ClusterPhase::RollingBack
        );
        if failed && !cluster.reason.is_empty() {
            add(&WaitReason {
                reason: cluster.reason.clone(),
                message: cluster.message.clone(),
                on: Some(cluster.name.clone()),
                since: cluster.since.clone(),
                by_itself: None,
            });
        }
        if cluster.state != ClusterPhase::Queued {
            for wait in &cluster.waiting_on {
                let on = wait.on.clone().or_else(|| Some(cluster.name.clone()));
                add(&WaitReason { on, ..wait.clone() });
            }
        }
    }
    found.truncate(MAX_REASONS);
    found
}

fn headline(view: &RunView, first: Option<&WaitReason>) -> String {
    let state = match view.state {
        RunPhase::Succeeded => {
            return format!(
                "DONE revision {} runs on {} clusters",
                view.revision, view.done
            );
        }
        RunPhase::Superseded => {
            return format!(
                "ENDED a newer release took the place of revision {}",
                view.revision
            );
        }
        RunPhase::Failed => "FAILED",
        RunPhase::Aborted => "ABORTED",
        RunPhase::Halted => "HALTED",
        RunPhase::RollingBack => "GOING BACK",
        RunPhase::Suspended => "SUSPENDED",
        RunPhase::WaitingApproval => "WAITS FOR A HUMAN",
        RunPhase::Pending | RunPhase::Progressing | RunPhase::Soaking => "WAITS",
    };
    match first {
        // The reason would only repeat the state.
        Some(wait) if wait.reason.eq_ignore_ascii_case(state) => {
            format!("{state} {}", wait.message)
        }
        Some(WaitReason {
            reason,
            on: Some(on),
            ..
        }) => format!("{state} {reason} at {on}"),
        Some(WaitReason { reason, .. }) => format!("{state} {reason}"),
        None if view.message.is_empty() => state.to_owned(),
        None => format!("{state} {}", view.message),
    }
}

fn not_this(view: &RunView, clusters: &[&ClusterView]) -> Vec<String> {
    if view.state.is_terminal() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let suspended = |cluster: &&&ClusterView| cluster.state == ClusterPhase::Suspended;
    if view.state != RunPhase::Suspended && clusters.iter().find(suspended).is_none() {
        found.push("not suspended".to_owned());
    }
    if view.state != RunPhase::WaitingApproval
        && count(clusters, ClusterPhase::WaitingApproval) == 0
    {
        found.push("no approval is waited for".to_owned());
    }
    if clusters.iter().all(|cluster| cluster.reachable) {
        found.push("every cluster is heard".to_owned());
    }
    if clusters
        .iter()
        .flat_map(|cluster| &cluster.tracks)
        .all(|track| track.failed_checks == 0)
    {
        found.push("no check has failed".to_owned());
    }
    found
}

fn remedies(view: &RunView, clusters: &[&ClusterView]) -> Vec<Remedy> {
    let mut found = Vec::new();
    let place = match view.application.namespace.as_str() {
        "default" => String::new(),
        other => format!(" -n {other}"),
    };
    let name = &view.application.name;
    let mut add = |verb: &str, flags: &str, effect: String| {
        let command = format!("bellwether rollout {verb} {name}{place}{flags}");
        found.push(Remedy { command, effect });
    };
    for (verb, flags, effect) in decisions(view, clusters) {
        add(verb, flags, effect.to_owned());
    }
    match view.state {
        RunPhase::Suspended => add("resume", "", "goes on where it stopped".to_owned()),
        RunPhase::Halted | RunPhase::Failed | RunPhase::Aborted => {
            add("retry", "", "tries again where it failed".to_owned());
        }
        _ => {}
    }
    for cluster in clusters
        .iter()
        .filter(|one| one.state == ClusterPhase::Unreachable)
        .take(3)
    {
        let flags = format!(" --cluster {} --reason …", cluster.name);
        add(
            "skip",
            &flags,
            "goes on without it; it catches up when it returns".to_owned(),
        );
    }
    let abortable = !view.state.is_terminal() && view.state != RunPhase::RollingBack;
    // Before the release is made there is no run to end.
    if abortable && !view.run.is_nil() {
        let back = clusters
            .iter()
            .filter(|cluster| cluster.attempt > 0)
            .count();
        let target = match view.from_revision {
            Some(from) => format!("revision {from}"),
            None => "what they had before".to_owned(),
        };
        add(
            "abort",
            " --reason …",
            format!("{back} clusters back to {target}"),
        );
    }
    found
}

/// What a human may decide where one is waited for: verb, flags and effect.
fn decisions(
    view: &RunView,
    clusters: &[&ClusterView],
) -> Vec<(&'static str, &'static str, &'static str)> {
    let waits = |reason: &str| {
        clusters
            .iter()
            .filter(|cluster| cluster.state == ClusterPhase::WaitingApproval)
            .flat_map(|cluster| &cluster.waiting_on)
            .any(|wait| wait.reason == reason)
    };
    let (paused, by_hand) = (waits(PAUSED_AFTER_FAILURE), waits(WEIGHT_BY_HAND));
    let gated = waits("Approval")
        || view
            .waves
            .iter()
            .any(|wave| wave.state == WavePhase::WaitingApproval);
    let waiting = view.state == RunPhase::WaitingApproval;
    let mut found = Vec::new();
    if waiting && (gated || !paused && !by_hand) {
        found.push(("approve", "", "opens the gate that waits"));
    }
    if paused {
        found.push(("resume", "", "goes on with the step that failed"));
    }
    if by_hand {
        let effect = "gives the new version that share of the traffic";
        found.push(("set-weight", " WEIGHT --reason …", effect));
    }
    if paused || by_hand {
        let effect = "takes the new version without further checks";
        found.push(("promote", " --reason …", effect));
    }
    found
}

fn by_itself(because: &[WaitReason]) -> Vec<String> {
    let all: BTreeSet<&String> = because
        .iter()
        .filter_map(|wait| wait.by_itself.as_ref())
        .collect();
    all.into_iter().cloned().collect()
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
