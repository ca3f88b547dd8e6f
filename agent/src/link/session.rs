//! One session: from Hello until it ends.

use std::{future::pending, panic::resume_unwind, sync::Arc, time::Duration};

use bellwether_api::compliance::Compliance;
use bellwether_proto::{
    limits::{MAX_STATUS_BYTES, PROTOCOL, SILENCE_LIMIT, STATUS_BUDGET_BYTES},
    wire::{
        self, AgentMessage, Beat, Credit, Hello, HubMessage, Nack, Want, Welcome,
        agent_message::Message, hub_message,
    },
};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    bulk,
    channel::{Watch, link_client},
    compliance,
    error::LinkError,
    facts::Facts,
    intake::{Intake, Next},
    runner::Link,
};
use crate::{
    clock::wall,
    desired::{Commit, CommitError, Committed, Desired, PlanError},
    identity::{Identity, Trust},
    report::Report,
};

/// How long opening may take.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// How long the hub may take to read what the agent says.
const SEND_LIMIT: Duration = SILENCE_LIMIT;
/// Messages that wait to be sent.
const MAX_OUTBOUND: usize = 8;
/// Statuses that are taken at once.
const REPORTS: usize = 32;

/// Why a session ended without a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The agent stops.
    Stopped,
    /// There is a new certificate: open a new session, then close this one.
    Renewed,
    /// The hub stops: connect elsewhere after this long.
    Reconnect(Duration),
    /// A newer session of this cluster is open.
    Superseded,
    /// The hub ended it.
    Refused {
        reason: String,
        retry_after: Duration,
    },
}

type Committing = BoxFuture<'static, Result<Committed, CommitError>>;

/// An open session.
pub(super) struct Session {
    welcome: Welcome,
    inbound: Streaming<HubMessage>,
    outbound: mpsc::Sender<AgentMessage>,
    watch: Watch,
    samples: JoinHandle<()>,
    intake: Intake,
    committing: Option<Committing>,
    /// Whether the cluster's metrics answer; the first report asks where to ask.
    metrics: watch::Receiver<wire::MetricsReport>,
    /// What was told of the cluster, and whether that changed.
    facts: watch::Receiver<Facts>,
    /// What policy engines found; absent = nothing is said of it.
    compliance: watch::Receiver<Option<Compliance>>,
    hub_beat: u64,
    heard: Instant,
    beats: Interval,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.samples.abort();
    }
}

impl Session {
    /// Connects, says what is held and waits for the hub's welcome.
    pub(super) async fn open(link: &Link, identity: Arc<Identity>) -> Result<Self, LinkError> {
        timeout(OPEN_LIMIT, Self::open_now(link, identity))
            .await
            .map_err(|_| LinkError::Slow)?
    }

    async fn open_now(link: &Link, identity: Arc<Identity>) -> Result<Self, LinkError> {
        let mut client = link_client(&link.addresses, Trust::Enrolled(identity)).await?;
        let (outbound, receiver) = mpsc::channel(MAX_OUTBOUND);
        let closed = |_| LinkError::Broken {
            message: "the stream ended".to_owned(),
        };
        // What changes from here on is told in a report of its own.
        let mut facts = link.facts.clone();
        facts.mark_unchanged();
        outbound
            .send(wrap(Message::Hello(hello(link))))
            .await
            .map_err(closed)?;
        let answer = client.call.session(ReceiverStream::new(receiver)).await;
        let mut inbound = answer
            .map_err(|status| client.watch.error_of(status))?
            .into_inner();
        let first = inbound
            .message()
            .await
            .map_err(|status| client.watch.error_of(status))?;
        let welcome = match first.and_then(|message| message.message) {
            Some(hub_message::Message::Welcome(welcome)) => welcome,
            Some(hub_message::Message::Refused(refused)) => {
                return Err(LinkError::Refused {
                    code: tonic::Code::PermissionDenied,
                    message: refused.reason,
                });
            }
            _ => {
                return Err(LinkError::Protocol {
                    detail: "it did not welcome us".to_owned(),
                });
            }
        };
        if welcome.protocol != PROTOCOL {
            let detail = format!("it speaks protocol {}", welcome.protocol);
            return Err(LinkError::Protocol { detail });
        }
        // Before anything that the hub says is acted on: whoever was here before writes nothing any more.
        let (desired, epoch) = (link.desired.clone(), welcome.epoch);
        to_its_end(async move { desired.enter_epoch(epoch).await }).await?;
        link.compare_clocks(welcome.hub_time_ms, wall());
        link.reports.resend_all();
        let every = Duration::from_millis(u64::from(welcome.beat_interval_ms.clamp(1_000, 60_000)));
        let mut beats = interval_at(Instant::now() + every, every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            samples: tokio::spawn(bulk::send(client.call.clone(), link.samples.clone())),
            welcome,
            inbound,
            outbound,
            watch: client.watch,
            intake: Intake::default(),
            committing: None,
            metrics: {
                let mut reports = link.metrics.reports();
                reports.mark_changed();
                reports
            },
            facts,
            compliance: {
                let mut counted = link.compliance.clone();
                counted.mark_changed();
                counted
            },
            hub_beat: 0,
            heard: Instant::now(),
            beats,
        })
    }

    pub(super) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Converses until the session ends. `renew_at` = a new certificate waits, and this is when to
    /// try it again.
    pub(super) async fn converse(
        &mut self,
        link: &mut Link,
        renew_at: Option<Instant>,
    ) -> Result<Ended, LinkError> {
        loop {
            let silence = self.heard + SILENCE_LIMIT;
            tokio::select! {
                message = self.inbound.message() => {
                    let message = message.map_err(|status| self.watch.error_of(status))?;
                    let Some(message) = message else {
                        let message = "the hub ended the stream".to_owned();
                        return Err(self.watch.error_of(tonic::Status::unknown(message)));
                    };
                    self.heard = Instant::now();
                    // One without a known message is of a newer hub.
                    if let Some(message) = message.message
                        && let Some(ended) = self.hear(link, message).await?
                    {
                        return Ok(ended);
                    }
                }
                committed = wait_for(&mut self.committing) => {
                    self.committing = None;
                    self.committed(link, committed).await?;
                }
                () = link.reports.changed() => self.report(link).await?,
                // The sender lives as long as the link.
                Ok(()) = self.metrics.changed() => {
                    let report = self.metrics.borrow_and_update().clone();
                    self.send(Message::Metrics(report)).await?;
                }
                // The sender lives as long as the refreshing, which ends with the agent.
                Ok(()) = self.facts.changed() => {
                    let report = self.facts.borrow_and_update().report();
                    self.send(Message::Cluster(report)).await?;
                }
                // As with the facts.
                Ok(()) = self.compliance.changed() => {
                    let found = self.compliance.borrow_and_update().as_ref().map(compliance::report);
                    if let Some(found) = found {
                        self.send(Message::Compliance(found)).await?;
                    }
                }
                _ = self.beats.tick() => self.beat(link).await?,
                // The sender lives as long as the renewal, which ends with the agent.
                Ok(()) = link.identity.changed() => return Ok(Ended::Renewed),
                () = sleep_until(renew_at) => return Ok(Ended::Renewed),
                () = tokio::time::sleep_until(silence) => return Err(LinkError::Silent),
                () = link.shutdown.cancelled() => return Ok(Ended::Stopped),
            }
            self.proceed(link).await?;
        }
    }

    async fn hear(
        &mut self,
        link: &Link,
        message: hub_message::Message,
    ) -> Result<Option<Ended>, LinkError> {
        let wrong = |error: super::intake::IntakeError| LinkError::Protocol {
            detail: error.to_string(),
        };
        match message {
            hub_message::Message::Delta(delta) => self.intake.delta(delta).map_err(wrong)?,
            hub_message::Message::Snapshot(part) => {
                let complete = part.complete;
                self.intake.part(part).map_err(wrong)?;
                if !complete {
                    self.permit().await?;
                }
            }
            hub_message::Message::Blob(piece) => {
                self.intake.piece(piece).map_err(wrong)?;
                self.permit().await?;
            }
            hub_message::Message::StatusAck(ack) => {
                for unit in ack.units {
                    link.reports
                        .acked(&unit.key, unit.sequence, unit.event_sequence);
                }
            }
            hub_message::Message::Beat(beat) => {
                self.hub_beat = beat.number;
                link.compare_clocks(beat.hub_time_ms, wall());
            }
            hub_message::Message::Reconnect(reconnect) => {
                let after = Duration::from_millis(u64::from(reconnect.after_ms));
                return Ok(Some(Ended::Reconnect(after)));
            }
            hub_message::Message::Refused(refused) if refused.code == "superseded" => {
                return Ok(Some(Ended::Superseded));
            }
            hub_message::Message::Refused(refused) => {
                return Ok(Some(Ended::Refused {
                    reason: refused.reason,
                    retry_after: Duration::from_millis(u64::from(refused.retry_after_ms)),
                }));
            }
            hub_message::Message::Metrics(told) => link.metrics.aim(told.sources),
            // A second welcome says nothing new.
            hub_message::Message::Welcome(_) => {}
        }
        Ok(None)
    }

    /// Asks for what is missing, or starts to store what is complete.
    async fn proceed(&mut self, link: &Link) -> Result<(), LinkError> {
        if self.committing.is_some() {
            return Ok(());
        }
        let desired = link.desired.clone();
        let (incarnation, epoch) = (self.welcome.incarnation, self.welcome.epoch);
        match self
            .intake
            .next(incarnation, epoch, |changes| desired.missing(changes))
        {
            Next::Wait => Ok(()),
            Next::Ask(blobs) => self.send(Message::Want(Want { blobs })).await,
            Next::Commit(commit) => {
                self.committing = Some(carry_out(desired, *commit));
                Ok(())
            }
        }
    }

    async fn committed(
        &mut self,
        link: &Link,
        committed: Result<Committed, CommitError>,
    ) -> Result<(), LinkError> {
        match committed {
            Ok(Committed { held, nacks }) => {
                for nack in nacks {
                    tracing::warn!(unit.key = nack.key, error = nack.error, "unit refused");
                    let (generation, key, error) = (nack.generation, nack.key, nack.error);
                    self.send(Message::Nack(Nack {
                        generation,
                        key,
                        error,
                    }))
                    .await?;
                }
                let root = Bytes::copy_from_slice(&held.root);
                let generation = held.generation;
                self.send(Message::Ack(wire::Ack { generation, root }))
                    .await?;
            }
            Err(CommitError::Plan(
                error @ (PlanError::RootMismatch { .. } | PlanError::OtherIncarnation { .. }),
            )) => {
                tracing::warn!(%error, "asking the hub for everything");
                let generation = link.desired.held().generation;
                let error = error.to_string();
                self.send(Message::Nack(Nack {
                    generation,
                    key: String::new(),
                    error,
                }))
                .await?;
            }
            Err(error) => return Err(error.into()),
        }
        self.permit().await
    }

    /// Lets the hub send one batch more.
    async fn permit(&mut self) -> Result<(), LinkError> {
        self.send(Message::Credit(Credit { batches: 1 })).await
    }

    async fn report(&mut self, link: &Link) -> Result<(), LinkError> {
        let mut units = Vec::new();
        let mut bytes = 0;
        for Report {
            key,
            sequence,
            detail_json,
        } in link.reports.next_batch(REPORTS)
        {
            if detail_json.len() > MAX_STATUS_BYTES {
                tracing::error!(
                    unit.key = key,
                    bytes = detail_json.len(),
                    "status is too large"
                );
                continue;
            }
            if bytes + detail_json.len() > STATUS_BUDGET_BYTES {
                let units = std::mem::take(&mut units);
                self.send(Message::Status(wire::Status { units })).await?;
                bytes = 0;
            }
            bytes += detail_json.len();
            units.push(wire::UnitStatus {
                key,
                sequence,
                detail_json,
            });
        }
        if units.is_empty() {
            return Ok(());
        }
        self.send(Message::Status(wire::Status { units })).await
    }

    async fn beat(&mut self, link: &Link) -> Result<(), LinkError> {
        let held = link.desired.held();
        self.send(Message::Beat(Beat {
            generation: held.generation,
            root: Bytes::copy_from_slice(&held.root),
            applied_generation: link.applied_generation(),
            hub_beat: self.hub_beat,
            drift_age_ms: (link.drift_age_ms)(),
            agent_time_ms: wall().as_millisecond(),
        }))
        .await
    }

    async fn send(&mut self, message: Message) -> Result<(), LinkError> {
        match timeout(SEND_LIMIT, self.outbound.send(wrap(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LinkError::Broken {
                message: "the stream ended".to_owned(),
            }),
            Err(_) => Err(LinkError::Silent),
        }
    }
}

/// Stores what was sent.
fn carry_out(desired: Desired, commit: Commit) -> Committing {
    to_its_end(async move { desired.commit(commit).await }).boxed()
}

/// Carries something out whether or not whoever waits for it lasts as long: what is written in part, and by
/// nobody's knowledge, would look like somebody else's.
fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    let working = tokio::spawn(work);
    async {
        match working.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The process ends.
                Err(_) => pending().await,
            },
        }
    }
}

async fn wait_for(committing: &mut Option<Committing>) -> Result<Committed, CommitError> {
    match committing {
        Some(committing) => committing.await,
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

fn wrap(message: Message) -> AgentMessage {
    AgentMessage {
        message: Some(message),
    }
}

fn hello(link: &Link) -> Hello {
    let held = link.desired.held_at_first();
    let report = link.facts.borrow().report();
    Hello {
        protocol_min: PROTOCOL,
        protocol_max: PROTOCOL,
        incarnation: held.incarnation,
        generation: held.generation,
        root: Bytes::copy_from_slice(&held.root),
        agent_version: link.agent_version.clone(),
        kubernetes_version: report.kubernetes_version,
        cluster_uid: link.cluster_uid.clone(),
        capabilities: report.capabilities,
        api_kinds: report.api_kinds,
        nodes: report.nodes,
        missing_rights: report.missing_rights,
        epoch: held.epoch,
        agent_time_ms: wall().as_millisecond(),
        instance: Bytes::copy_from_slice(link.instance.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
