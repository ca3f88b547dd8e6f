use std::collections::BTreeMap;

use bellwether_api::{reference::NamespacedName, status::WaitReason};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    cluster::{ClusterPhase, ClusterRun},
    deadline,
    decide::Turn,
    gate::{self, GateVerdict, Side},
    input::{Reach, Unrendered},
    state::{ReadingOutcome, RunState, RunStatus, Stop, WavePhase},
    wave,
};
use crate::dependencies::Awaited;

/// Clusters that are named in one sentence; the rest is counted.
const NAMED: usize = 5;

/// Says what an unfinished run waits for, and when time alone may move it.
pub(super) fn explain(turn: &Turn<'_>) -> (Vec<WaitReason>, Option<Timestamp>) {
    let mut waits = Waits {
        turn,
        list: Vec::new(),
        wake_at: None,
    };
    if turn.next.status.is_finished() {
        waits.silences();
        return (Vec::new(), waits.wake_at);
    }
    waits.stops();
    waits.status();
    waits.gates();
    waits.dependencies();
    waits.clusters();
    waits.silences();
    if waits.list.is_empty() {
        // Everything is settled and the next decision will say so; nothing else is known.
        waits.push(
            "Settling",
            "the next decision of the hub".to_owned(),
            None,
            None,
        );
    }
    (waits.list, waits.wake_at)
}

/// Joins names for people, the first few of them.
pub(super) fn list(names: &[&str]) -> String {
    match names.len() {
        0 => "no cluster".to_owned(),
        count if count <= NAMED => names.join(", "),
        count => format!("{} and {} more", names[..NAMED].join(", "), count - NAMED),
    }
}

/// Says on which clusters a wave failed, or the whole run: those that failed, and those of failed waves that
/// were never reached.
pub(super) fn failed_on(state: &RunState, only: Option<usize>) -> String {
    let is_meant = |cluster: &&ClusterRun| only.is_none() || cluster.wave == only;
    let meant = || state.clusters.values().filter(is_meant);
    let failed: Vec<&str> = meant()
        .filter(|cluster| cluster.counts_as_failed())
        .map(|cluster| cluster.name.as_str())
        .collect();
    let unreached: Vec<&str> = meant()
        .filter(|cluster| state.was_never_reached(cluster))
        .map(|cluster| cluster.name.as_str())
        .collect();
    match (failed.is_empty(), unreached.is_empty()) {
        (true, false) => format!("{}, never reached", list(&unreached)),
        (false, false) => format!("{}; never reached {}", list(&failed), list(&unreached)),
        (_, true) => list(&failed),
    }
}

struct Waits<'t, 'a> {
    turn: &'t Turn<'a>,
    list: Vec<WaitReason>,
    wake_at: Option<Timestamp>,
}

impl Waits<'_, '_> {
    fn push(
        &mut self,
        reason: &str,
        message: String,
        on: Option<String>,
        since: Option<Timestamp>,
    ) {
        self.list.push(WaitReason {
            reason: reason.to_owned(),
            message,
            on,
            since: since.map(|since| since.to_string()),
            by_itself: None,
        });
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn stop(&mut self, what: &str, stop: &Stop) {
        let why = if stop.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", stop.reason)
        };
        self.push(
            "Suspended",
            format!("{what} is suspended by {}{why}; resume it", stop.by),
            None,
            Some(stop.since),
        );
    }

    fn stops(&mut self) {
        let next = &self.turn.next;
        if let Some(stop) = &next.suspended {
            self.stop("the run", stop);
        }
        if self.turn.input.suspended_by_spec {
            let message = "a Rollout of the release says suspend: true".to_owned();
            self.push("Suspended", message, None, None);
        }
        for (wave, planned) in next.waves.iter().zip(&self.turn.input.plan.waves) {
            if let Some(stop) = &wave.suspended {
                self.stop(&format!("wave {}", planned.name), stop);
            }
        }
        for cluster in next.clusters.values() {
            if let Some(stop) = &cluster.suspended {
                self.stop(&format!("cluster {}", cluster.name), stop);
            }
        }
    }

    fn status(&mut self) {
        match &self.turn.next.status {
            RunStatus::Halted { wave, since } => {
                let name = &self.turn.input.plan.waves[*wave].name;
                let failed = failed_on(&self.turn.next, Some(*wave));
                let message = format!(
                    "wave {name} failed on {failed}; no further cluster starts: retry or abort"
                );
                self.push(
                    "Halted",
                    message,
                    Some(format!("wave/{name}")),
                    Some(*since),
                );
            }
            RunStatus::Aborting { since, by, .. } => {
                let message = format!("clusters under way go back, ended by {by}");
                self.push("Aborting", message, None, Some(*since));
            }
            RunStatus::RollingBack { since, .. } => {
                let message = "every cluster goes back to the release it had before".to_owned();
                self.push("RollingBack", message, None, Some(*since));
            }
            _ => {}
        }
    }

    fn gates(&mut self) {
        if self.turn.next.status != RunStatus::Progressing {
            return;
        }
        for (index, planned) in self.turn.input.plan.waves.iter().enumerate() {
            if let Some(at) = deadline::ends(self.turn, index) {
                self.wake(at);
            }
            let Some(side) = gate::waiting_side(self.turn.next.waves[index].phase) else {
                continue;
            };
            for verdict in gate::verdicts(self.turn, index, side) {
                if let GateVerdict::Soak { until: at }
                | GateVerdict::Answer { asked: at, .. }
                | GateVerdict::Window { opens: Some(at) } = verdict
                {
                    self.wake(at);
                }
                self.list.extend(gate_wait(&planned.name, side, &verdict));
            }
        }
    }

    /// What a cluster waits for before the release is sent to it.
    fn awaited(&self, id: Uuid) -> &[Awaited] {
        match self.turn.seen.get(&id) {
            Some(seen) if !self.turn.input.plan.rollback => &seen.awaits,
            _ => &[],
        }
    }

    /// Applications that clusters wait for, each once.
    fn dependencies(&mut self) {
        let waiting =
            self.turn.next.clusters.iter().filter(|(_, cluster)| {
                cluster.phase == ClusterPhase::Waiting && self.is_open(cluster)
            });
        let awaited: BTreeMap<&NamespacedName, &Awaited> = waiting
            .flat_map(|(id, _)| self.awaited(*id))
            .map(|one| (&one.application, one))
            .collect();
        let words: Vec<(String, String)> = awaited
            .into_iter()
            .map(|(name, one)| {
                let (healthy, clusters) = (one.healthy, one.clusters);
                (
                    format!(
                        "waiting for application {name}: {healthy} of {clusters} clusters healthy"
                    ),
                    format!("application/{name}"),
                )
            })
            .collect();
        for (message, on) in words {
            self.push("DependsOn", message, Some(on), None);
        }
    }

    fn clusters(&mut self) {
        let clusters: Vec<(Uuid, ClusterRun)> = self
            .turn
            .next
            .clusters
            .iter()
            .map(|(id, one)| (*id, one.clone()))
            .collect();
        for (id, cluster) in clusters {
            self.cluster(id, &cluster);
        }
    }

    fn cluster(&mut self, id: Uuid, cluster: &ClusterRun) {
        let on = Some(format!("cluster/{}", cluster.name));
        let name = &cluster.name;
        let reach = self.turn.reach(id);
        let since = cluster.phase.since();
        match (&cluster.phase, reach) {
            (
                ClusterPhase::Running { .. }
                | ClusterPhase::Returning { .. }
                | ClusterPhase::Reverting { .. },
                Reach::Unreachable,
            ) => {
                let heard = self.turn.seen.get(&id).and_then(|seen| seen.last_heard);
                let message = format!(
                    "{name} was granted and is silent now; it keeps its place{}",
                    then(cluster)
                );
                self.push("ClusterUnreachable", message, on, heard.or(since));
            }
            (ClusterPhase::Running { .. }, _) => {
                let status = self
                    .turn
                    .seen
                    .get(&id)
                    .and_then(|seen| seen.status_of(self.turn.input.run.id, cluster.attempt));
                match status.map(|status| status.waiting_on.as_slice()) {
                    Some([first, ..]) => {
                        let message = format!("{name}: {}", first.message);
                        let wait = WaitReason {
                            message,
                            on,
                            ..first.clone()
                        };
                        self.list.push(wait);
                    }
                    _ => self.push("Progressing", format!("{name} is under way"), on, since),
                }
            }
            (ClusterPhase::Returning { reason, .. }, _) => {
                self.push(
                    "RollingBack",
                    format!("{name} goes back: {reason}{}", then(cluster)),
                    on,
                    since,
                );
            }
            (ClusterPhase::Reverting { .. }, _) => {
                let message = format!("{name} takes the release before again{}", then(cluster));
                self.push("RollingBack", message, on, since);
            }
            (_, reach) if cluster.awaits_going_back().is_some() => {
                let reason = match reach {
                    Reach::Unreachable => "ClusterUnreachable",
                    _ => "Queued",
                };
                let message = format!("{name} waits for its turn to go back{}", then(cluster));
                self.push(reason, message, on, since);
            }
            (ClusterPhase::Waiting, _) if self.is_open(cluster) => {
                self.not_granted(id, cluster, reach);
            }
            _ => {}
        }
    }

    /// What a cluster waits for before the release is sent to it, its wave being open.
    fn not_granted(&mut self, id: Uuid, cluster: &ClusterRun, reach: Reach) {
        let (on, name) = (Some(format!("cluster/{}", cluster.name)), &cluster.name);
        let seen = self.turn.seen.get(&id);
        if reach == Reach::Unreachable {
            let message = if wave::may_be_under_way(self.turn, id, cluster.attempt) {
                format!(
                    "{name} is silent, and an earlier attempt may be under way there: it \
                     keeps its place"
                )
            } else {
                format!("{name} is silent and was not granted")
            };
            self.push(
                "ClusterUnreachable",
                message,
                on,
                seen.and_then(|seen| seen.last_heard),
            );
        } else if let Some(why) = seen.and_then(|seen| seen.unrendered.as_ref()) {
            let (reason, message) = match why {
                Unrendered::Pending => (
                    "Rendering",
                    format!("{name}: its objects are being rendered"),
                ),
                Unrendered::Failed(why) => ("RenderFailed", format!("{name}: {why}")),
                Unrendered::Held(why) => ("PruneHeld", format!("{name}: {why}")),
            };
            self.push(reason, message, on, None);
        } else if let Some(awaited) = self.awaited(id).first() {
            let message = format!(
                "{name} waits for application {}: {}",
                awaited.application, awaited.why
            );
            self.push("DependsOn", message, on, None);
        } else if seen.is_some_and(|seen| {
            seen.is_busy_elsewhere(self.turn.input.run.id, self.turn.input.plan.governed)
        }) {
            let message = format!("{name} returns to stable from another run first");
            self.push("ReturningToStable", message, on, None);
        } else if let Some(why) = &cluster.held {
            // So it was judged last: nobody is asked for a word that its turn may not take any more.
            self.push("PruneHeld", format!("{name}: {why}"), on, None);
        } else {
            let message = format!("{name} waits for its turn");
            self.push("Queued", message, on, None);
        }
    }

    fn is_open(&self, cluster: &ClusterRun) -> bool {
        self.turn.next.status == RunStatus::Progressing
            && cluster.wave.is_none_or(|wave| {
                matches!(
                    self.turn.next.waves[wave].phase,
                    WavePhase::Running { .. } | WavePhase::Settling { .. }
                )
            })
    }

    /// A cluster that falls silent changes what counts, by time alone.
    fn silences(&mut self) {
        let times: Vec<Timestamp> = self
            .turn
            .next
            .clusters
            .keys()
            .filter_map(|id| match self.turn.reach(*id) {
                // One moment later, for until is still within the time allowed.
                Reach::Silent { until } => until
                    .saturating_add(jiff::SignedDuration::from_millis(1))
                    .ok(),
                _ => None,
            })
            .collect();
        times.into_iter().for_each(|at| self.wake(at));
    }
}

/// What follows once a cluster is back.
fn then(cluster: &ClusterRun) -> String {
    cluster.retry.as_ref().map_or_else(String::new, |stop| {
        format!("; then it is tried again (retry by {})", stop.by)
    })
}

/// What a gate was answered, as people read it.
pub(crate) fn answer(last: Option<&ReadingOutcome>) -> String {
    match last {
        None => "nothing was answered yet".to_owned(),
        Some(ReadingOutcome::Passed { value }) => value.clone(),
        Some(ReadingOutcome::Failed { why }) => why.clone(),
        Some(ReadingOutcome::Unknown { why }) => format!("unknown: {why}"),
    }
}

/// Words for what a gate waits for.
fn gate_wait(name: &str, side: Side, verdict: &GateVerdict) -> Option<WaitReason> {
    let place = match side {
        Side::Before => "before",
        Side::After => "after",
    };
    let wait = |reason: &str, message: String, by_itself: Option<String>| WaitReason {
        reason: reason.to_owned(),
        message,
        on: Some(format!("wave/{name}")),
        since: None,
        by_itself,
    };
    Some(match verdict {
        GateVerdict::Holds => return None,
        GateVerdict::Approval { given, needed, by } => {
            let who = if by.is_empty() {
                String::new()
            } else {
                format!(" by {}", by.join(", "))
            };
            wait(
                "Approval",
                format!("approval{who} {place} wave {name}: {given} of {needed} given"),
                None,
            )
        }
        GateVerdict::Soak { until } => wait(
            "Soak",
            format!("wave {name} must stay healthy until {until}"),
            Some(format!("{until}: the soak {place} wave {name} ends")),
        ),
        GateVerdict::Answer { last, .. } => wait(
            "Answer",
            format!("the gate {place} wave {name}: {}", answer(last.as_ref())),
            Some("the gate is asked every 10s".to_owned()),
        ),
        GateVerdict::Window { opens: Some(at) } => wait(
            "Window",
            format!("the window {place} wave {name} opens at {at}"),
            Some(format!("{at}: the window {place} wave {name} opens")),
        ),
        GateVerdict::Window { opens: None } => wait(
            "Window",
            format!(
                "the window {place} wave {name} never opens again; promote the wave, or change it"
            ),
            None,
        ),
        GateVerdict::Verdicts {
            passed,
            needed,
            missing,
        } => {
            let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
            wait(
                "Verdicts",
                format!(
                    "checks passed in {passed} clusters {place} wave {name}, {needed} needed; not in {}",
                    list(&missing)
                ),
                None,
            )
        }
        GateVerdict::SoakStopped { clusters } => wait(
            "SoakStopped",
            format!(
                "the soak {place} wave {name} waits for {}",
                clusters.join(", ")
            ),
            None,
        ),
    })
}
