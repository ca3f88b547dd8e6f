//! The weights that a run carried over time, as `bellwether get rollout NAME -w -o json` told them.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use bellwether_api::{
    status::Phase,
    view::{ClusterPhase, RunView},
};

use crate::{cli::Cli, process::OwnedProcess, wait::until};

/// How long a watch may take to show the run, on a machine that is busy.
const SHOWN_LIMIT: Duration = Duration::from_secs(60);
/// How long a watch may take to tell the end of a run that has ended.
const TOLD_LIMIT: Duration = Duration::from_secs(10);

/// One look at one cluster's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it was seen, Unix milliseconds.
    pub at_ms: i64,
    /// The cluster.
    pub cluster: String,
    /// The wave, from 0.
    pub wave: u32,
    /// Where the cluster stands.
    pub state: ClusterPhase,
    /// Where the track stands; absent = none was reported.
    pub phase: Option<Phase>,
    /// The weight that the plan sets.
    pub weight: u8,
    /// The weight that the route was seen to carry.
    pub observed: u8,
    /// Whether the gateway may still be taking the weight over: it does not count as in force yet.
    pub settling: bool,
}

/// A span of time in which a cluster's route carried one weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The cluster.
    pub cluster: String,
    /// The weight in percent.
    pub weight: u8,
    /// From, Unix milliseconds.
    pub from_ms: i64,
    /// To, Unix milliseconds.
    pub to_ms: i64,
}

/// Watches a run until it is stopped.
#[derive(Debug)]
pub struct RunWatch {
    reader: JoinHandle<Vec<Look>>,
    process: OwnedProcess,
}

/// Returns the time now in Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl RunWatch {
    /// Starts to watch the run of `application`, and waits until it is shown.
    ///
    /// # Errors
    /// When the command line cannot be started, or shows nothing.
    pub fn start(cli: &Cli, namespace: &str, application: &str) -> Result<Self> {
        let mut command = cli.command(&[
            "-n",
            namespace,
            "get",
            "rollout",
            application,
            "-w",
            "-o",
            "json",
        ]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("the output is piped")?;
        let process = OwnedProcess::from_child("the watch", child);
        let (shows, shown) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut looks = Vec::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(view) = serde_json::from_str::<RunView>(&line) {
                    looks.append(&mut look(&view));
                    // Nobody listens after the first.
                    let _heard = shows.send(());
                }
            }
            looks
        });
        shown
            .recv_timeout(SHOWN_LIMIT)
            .with_context(|| format!("the watch showed nothing of {application}"))?;
        Ok(Self { reader, process })
    }

    /// Stops and returns everything that was seen, in order. A watch of a run that has ended may tell of that
    /// a little later, and ends by itself.
    #[must_use]
    pub fn stop(mut self) -> Vec<Look> {
        let _ended = until(TOLD_LIMIT, "the watch to end by itself", || {
            Ok((!self.process.is_running()?).then_some(()))
        });
        let _killed = self.process.kill();
        // What it had printed by then is read to its end.
        self.reader.join().expect("reading does not panic")
    }
}

fn look(view: &RunView) -> Vec<Look> {
    let at_ms = now_ms();
    let mut looks = Vec::new();
    for wave in &view.waves {
        for cluster in &wave.clusters {
            let track = cluster.tracks.first();
            looks.push(Look {
                at_ms,
                cluster: cluster.name.clone(),
                wave: wave.index,
                state: cluster.state,
                phase: track.map(|track| track.phase),
                weight: track.map_or(0, |track| track.weight.percent()),
                observed: track.map_or(0, |track| track.observed_weight.percent()),
                settling: track.is_some_and(|track| {
                    let mut waits = track.waiting_on.iter();
                    waits.any(|wait| wait.reason == "Settling")
                }),
            });
        }
    }
    looks
}

/// Returns the weights that `cluster` carried before promotion, each once, in order of time.
#[must_use]
pub fn weights_in_order(looks: &[Look], cluster: &str) -> Vec<u8> {
    let mut weights: Vec<u8> = looks
        .iter()
        .filter(|look| look.cluster == cluster && is_testing(look))
        .map(|look| look.observed)
        .filter(|weight| *weight > 0)
        .collect();
    weights.dedup();
    weights
}

/// Returns the spans in which `cluster` carried each weight before promotion. A span ends where
/// the plan sets another weight, since the route may follow before it is seen to.
#[must_use]
pub fn spans(looks: &[Look], cluster: &str) -> Vec<Span> {
    spans_where(looks, cluster, |look| look.weight == look.observed)
}

/// Returns the spans in which each weight counted as in force in `cluster`: observed on the route,
/// and the gateway had the provider's settle time to follow.
#[must_use]
pub fn spans_in_force(looks: &[Look], cluster: &str) -> Vec<Span> {
    spans_where(looks, cluster, |look| {
        look.weight == look.observed && !look.settling
    })
}

fn spans_where(looks: &[Look], cluster: &str, counts: impl Fn(&Look) -> bool) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open: Option<Span> = None;
    for look in looks.iter().filter(|look| look.cluster == cluster) {
        let carried = (is_testing(look) && counts(look)).then_some(look.observed);
        match (&mut open, carried) {
            (Some(span), Some(weight)) if span.weight == weight => span.to_ms = look.at_ms,
            (slot, carried) => {
                if let Some(mut ended) = slot.take() {
                    ended.to_ms = look.at_ms;
                    spans.push(ended);
                }
                *slot = carried.filter(|weight| *weight > 0).map(|weight| Span {
                    cluster: cluster.to_owned(),
                    weight,
                    from_ms: look.at_ms,
                    to_ms: look.at_ms,
                });
            }
        }
    }
    spans.extend(open);
    spans
}

fn is_testing(look: &Look) -> bool {
    matches!(
        look.phase,
        Some(Phase::Progressing | Phase::Paused | Phase::Suspended | Phase::WaitingPromotion)
    )
}
