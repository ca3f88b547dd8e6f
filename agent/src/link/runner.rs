//! Keeps a session open for as long as the agent runs.

use std::{sync::Arc, time::Duration};

use bellwether_api::{
    bundle::UnitKey, compliance::Compliance, status::UnitOutcome, sync_record::SyncUnit,
};
use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    backoff::Backoff,
    bulk::SampleOutbox,
    error::{LinkError, chain, clocks_apart},
    facts::Facts,
    session::{Ended, Session},
};
use crate::{desired::Desired, identity::Identity, metrics::Reachable, report::Reports};

/// A session that lived this long was a good one: the next is tried quickly again.
const GOOD: Duration = Duration::from_secs(10);
/// Pause before a session with a new certificate is tried again while the old one lives.
const RENEW_PAUSE: Duration = Duration::from_secs(5);
/// Least pause where only a human can help.
const HOPELESS_PAUSE: Duration = Duration::from_secs(15);

/// What the link works with.
#[derive(Clone)]
pub struct Link {
    /// `host:port` pairs of the hub, tried in turn.
    pub addresses: Vec<String>,
    /// The identity, renewed elsewhere.
    pub identity: watch::Receiver<Arc<Identity>>,
    /// What is held.
    pub desired: Desired,
    /// What is reported.
    pub reports: Reports,
    /// Metric samples for people.
    pub samples: SampleOutbox,
    /// Whether the cluster's metrics answer.
    pub metrics: Reachable,
    /// The agent's version.
    pub agent_version: String,
    /// Drawn when this process started, so that the hub tells it from another one.
    pub instance: Uuid,
    /// UID of the kube-system namespace.
    pub cluster_uid: String,
    /// What is told of the cluster, refreshed elsewhere.
    pub facts: watch::Receiver<Facts>,
    /// What policy engines found, counted elsewhere; absent = there are none.
    pub compliance: watch::Receiver<Option<Compliance>>,
    /// Milliseconds since the drift loop last went round.
    pub drift_age_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How the link stands, for readiness and metrics.
    pub status: watch::Sender<LinkStatus>,
    /// Ends the link.
    pub shutdown: CancellationToken,
}

/// How the link stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Whether a session is open.
    pub connected: bool,
    /// Why not, in one sentence; empty when connected or never tried.
    pub message: String,
    /// That this cluster's clock and the hub's differ, in one sentence; empty when they do not, or
    /// nothing is known.
    pub clocks: String,
}

impl Link {
    /// The generation up to which every unit is finished or failed.
    pub(super) fn applied_generation(&self) -> u64 {
        let held = self.desired.held().generation;
        let unfinished = self
            .desired
            .units()
            .into_iter()
            .filter(|(key, unit)| !is_finished(key, unit));
        unfinished
            .map(|(_, unit)| unit.generation.saturating_sub(1))
            .min()
            .unwrap_or(held)
    }

    fn say(&self, connected: bool, message: String) {
        self.status.send_modify(|status| {
            status.connected = connected;
            status.message = message;
        });
    }

    /// Takes in what time it is at the hub; says so when a clock turns wrong or right.
    pub(super) fn compare_clocks(&self, hub_time_ms: i64, now: Timestamp) {
        let clocks = clocks_apart(hub_time_ms, now).unwrap_or_default();
        self.status.send_if_modified(|status| {
            if status.clocks == clocks {
                return false;
            }
            if clocks.is_empty() {
                tracing::info!("the clocks agree again");
            } else if status.clocks.is_empty() {
                tracing::error!("{clocks}");
            }
            status.clocks = clocks;
            true
        });
    }
}

fn is_finished(key: &str, unit: &SyncUnit) -> bool {
    match (key.parse::<UnitKey>(), &unit.digest) {
        // Commands are taken in when they are stored.
        (Ok(UnitKey::Command(_)) | Err(_), _) => true,
        (Ok(UnitKey::Application(_) | UnitKey::Rollout(_)), None) => unit.objects.is_empty(),
        (Ok(UnitKey::Application(_) | UnitKey::Rollout(_)), Some(_)) => {
            !unit.removing
                && matches!(
                    unit.outcome,
                    Some(UnitOutcome::Succeeded | UnitOutcome::Failed | UnitOutcome::Refused)
                )
        }
    }
}

/// Keeps a session open until shutdown. With the hub away the cluster goes on by itself; this
/// tries again, spread in time.
pub async fn run(mut link: Link) {
    let mut backoff = Backoff::default();
    let mut successor: Option<Session> = None;
    while !link.shutdown.is_cancelled() {
        let identity = Arc::clone(&link.identity.borrow_and_update());
        let opened = match successor.take() {
            Some(session) => Ok(session),
            None => Session::open(&link, identity).await,
        };
        let pause = match opened {
            Ok(session) => {
                let (pause, next) = keep(&mut link, session, &mut backoff).await;
                successor = next;
                pause
            }
            Err(error) => {
                let message = chain(&error);
                tracing::warn!(error = message, "there is no session with the hub");
                link.say(false, message);
                let pause = backoff.next(rand::random());
                if error.needs_human() {
                    pause.max(HOPELESS_PAUSE)
                } else {
                    pause
                }
            }
        };
        if successor.is_none() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A renewed certificate may be what was lacking.
                Ok(()) = link.identity.changed() => {}
                () = link.shutdown.cancelled() => {}
            }
        }
    }
    link.say(false, "the agent stops".to_owned());
}

/// Converses until the session ends; gives the pause before the next, or the next itself.
async fn keep(
    link: &mut Link,
    mut session: Session,
    backoff: &mut Backoff,
) -> (Duration, Option<Session>) {
    let opened = Instant::now();
    tracing::info!(
        cluster.name = session.welcome().cluster_name,
        session.epoch = session.welcome().epoch,
        "session with the hub is open"
    );
    link.say(true, String::new());
    let mut renew_at: Option<Instant> = None;
    loop {
        let ended = session.converse(link, renew_at).await;
        if opened.elapsed() >= GOOD {
            backoff.reset();
        }
        match ended {
            Ok(Ended::Stopped) => return (Duration::ZERO, None),
            Ok(Ended::Renewed) => {
                // The new stream first: work that is under way keeps one.
                let identity = Arc::clone(&link.identity.borrow_and_update());
                match Session::open(link, identity).await {
                    Ok(next) => return (Duration::ZERO, Some(next)),
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "the renewed certificate did not \
                            open a session yet; the former session goes on");
                        renew_at = Some(Instant::now() + RENEW_PAUSE);
                    }
                }
            }
            Ok(Ended::Reconnect(after)) => {
                tracing::info!("the hub stops; connecting again");
                link.say(false, "the hub stops".to_owned());
                return (after + backoff.next(rand::random()), None);
            }
            Ok(Ended::Superseded) => {
                let message = "a newer session of this cluster is open elsewhere".to_owned();
                tracing::warn!(message, "session ended");
                link.say(false, message);
                return (backoff.next(rand::random()), None);
            }
            Ok(Ended::Refused {
                reason,
                retry_after,
            }) => {
                tracing::warn!(reason, "the hub ended the session");
                link.say(false, reason);
                return (retry_after.max(backoff.next(rand::random())), None);
            }
            Err(error) => {
                let message = chain(&error);
                tracing::warn!(error = message, "session with the hub broke");
                link.say(false, message);
                return (pause_after(&error, backoff), None);
            }
        }
    }
}

fn pause_after(error: &LinkError, backoff: &mut Backoff) -> Duration {
    let pause = backoff.next(rand::random());
    if error.needs_human() {
        pause.max(HOPELESS_PAUSE)
    } else {
        pause
    }
}
