//! One cluster's stream.
//!
//! The response stream polls what the agent says itself: a session is one future, without a task
//! or a channel of its own, and holds a few numbers while nothing changes.

mod inbound;
mod outbound;

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bellwether_api::root::Root;
use bellwether_proto::{
    limits::INITIAL_CREDIT,
    wire::{AgentMessage, HubMessage, Reconnect, Refused, StatusAck, hub_message::Message},
};
use bellwether_store::{Digest, StoreError, desired::WriteError};
use bytes::Bytes;
use futures::{Stream, future::BoxFuture};
use tonic::{Status, Streaming};

use super::{
    compliance::ComplianceLink,
    fetch::{Delivery, Fetcher, Parts},
    ingest::{Ingest, MAX_WAITING_STATUSES},
    properties::PropertiesLink,
    slot::Slot,
};
use crate::{app::App, telemetry::chain};

/// Messages that wait to be sent; beats and confirmations beyond it are left out.
const MAX_OUTBOX: usize = 64;
/// Pieces of blobs that an agent may ask for at once.
const MAX_WANTS: usize = 1024;
const MAX_CREDIT: u32 = 64;
/// Pause before a failed read is tried again.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// The code of an ending that is no fault of the agent: the hub stops.
pub(super) const DRAINING: &str = "draining";

/// How the agent gets to its target first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It holds this generation, and what comes later is a delta.
    From(u64, Root),
    /// It needs everything.
    Snapshot,
    /// It holds this generation, wrongly or from a history that was lost.
    Repair(u64),
}

/// What was read for the session.
enum Done {
    Delivery(Delivery),
    Blob(Digest, u64, Option<Bytes>),
}

/// One cluster's stream, as the hub answers it.
pub(super) struct SessionStream {
    app: Arc<App>,
    ingest: Arc<Ingest>,
    fetcher: Arc<Fetcher>,
    slot: Arc<Slot>,
    inbound: Streaming<AgentMessage>,
    inbound_ended: bool,
    outbox: VecDeque<HubMessage>,
    work: Option<BoxFuture<'static, Done>>,
    parts: Option<Box<Parts>>,
    sending: Option<Box<Sending>>,
    wants: VecDeque<(Digest, u64)>,
    /// Blobs that were named and not inlined since the last acknowledgement: all that the agent
    /// may ask for.
    named: BTreeSet<Digest>,
    start: Option<Start>,
    sent: u64,
    sent_root: Root,
    applied: u64,
    acked: u64,
    acked_root: Root,
    credit: u32,
    beats: u64,
    said_goodbye: bool,
    properties: PropertiesLink,
    compliance: ComplianceLink,
}

/// A blob on its way.
struct Sending {
    digest: Digest,
    content: Bytes,
    offset: usize,
}

impl SessionStream {
    pub(super) fn new(
        app: Arc<App>,
        ingest: Arc<Ingest>,
        fetcher: Arc<Fetcher>,
        slot: Arc<Slot>,
        inbound: Streaming<AgentMessage>,
        welcome: HubMessage,
        start: Start,
    ) -> Self {
        app.metrics.sessions.inc();
        let (sent, sent_root) = match start {
            Start::From(generation, root) => (generation, root),
            Start::Snapshot | Start::Repair(_) => (0, Root::EMPTY),
        };
        Self {
            app,
            ingest,
            fetcher,
            slot,
            inbound,
            inbound_ended: false,
            outbox: VecDeque::from([welcome]),
            work: None,
            parts: None,
            sending: None,
            wants: VecDeque::new(),
            named: BTreeSet::new(),
            start: (!matches!(start, Start::From(..))).then_some(start),
            sent,
            sent_root,
            applied: 0,
            acked: 0,
            acked_root: Root::EMPTY,
            credit: INITIAL_CREDIT,
            beats: 0,
            said_goodbye: false,
            properties: PropertiesLink::default(),
            compliance: ComplianceLink::default(),
        }
    }

    fn push(&mut self, message: Message) {
        self.outbox.push_back(HubMessage {
            message: Some(message),
        });
    }

    /// The last word of a session that was told to end.
    fn goodbye(&mut self) -> Option<HubMessage> {
        let ending = self.slot.ending()?;
        if self.said_goodbye {
            return None;
        }
        let retry_after_ms = u32::try_from(ending.retry_after.as_millis()).unwrap_or(u32::MAX);
        let message = if ending.code == DRAINING {
            Message::Reconnect(Reconnect {
                after_ms: retry_after_ms,
            })
        } else {
            Message::Refused(Refused {
                code: ending.code.to_owned(),
                reason: ending.reason.clone(),
                retry_after_ms,
            })
        };
        self.said_goodbye = true;
        Some(HubMessage {
            message: Some(message),
        })
    }

    /// Confirms statuses that were committed since.
    fn take_confirmed(&mut self) {
        if self.outbox.len() < MAX_OUTBOX {
            let units = self.slot.take_confirmed();
            if !units.is_empty() {
                self.push(Message::StatusAck(StatusAck { units }));
            }
        }
    }

    /// Says where the cluster's metrics are read, once the agent asked.
    fn take_sources(&mut self) {
        if self.outbox.len() < MAX_OUTBOX
            && let Some(sources) = self.slot.metrics.take()
        {
            self.push(Message::Metrics(sources));
        }
    }

    /// Starts to read what the agent needs next.
    fn start_work(&mut self) {
        if self.work.is_some() || self.sending.is_some() {
            return;
        }
        let (fetcher, cluster) = (Arc::clone(&self.fetcher), self.slot.cluster);
        if let Some((digest, offset)) = self.wants.pop_front() {
            self.work = Some(Box::pin(async move {
                let content = until_read(|| fetcher.blob(digest)).await;
                Done::Blob(digest, offset, content)
            }));
            return;
        }
        if self.parts.is_some() || self.credit == 0 {
            return;
        }
        let since = self.sent;
        self.work = match self.start.take() {
            Some(Start::Repair(held)) => Some(Box::pin(async move {
                Done::Delivery(until_read(|| fetcher.repair(cluster, held)).await)
            })),
            Some(Start::Snapshot | Start::From(..)) => Some(Box::pin(async move {
                Done::Delivery(until_read(|| fetcher.snapshot(cluster)).await)
            })),
            None if self.slot.target() > self.sent => Some(Box::pin(async move {
                Done::Delivery(until_read(|| fetcher.delta(cluster, since)).await)
            })),
            None => None,
        };
    }

    fn finish_work(&mut self, done: Done) {
        match done {
            Done::Delivery(Delivery::Gone) => {
                self.slot.end(
                    "unregistered",
                    "the cluster is not registered",
                    READ_PAUSE * 60,
                );
            }
            Done::Delivery(Delivery::Snapshot(parts)) => self.parts = Some(Box::new(parts)),
            Done::Delivery(Delivery::Delta(delta)) => {
                if delta.to <= self.sent {
                    return;
                }
                self.sent = delta.to;
                self.sent_root = Root::from_slice(&delta.root).unwrap_or_default();
                self.credit = self.credit.saturating_sub(1);
                self.name(
                    delta
                        .changes
                        .iter()
                        .map(|unit| (&unit.digest, &unit.inline_blob)),
                );
                self.push(Message::Delta(delta));
            }
            Done::Blob(digest, offset, content) => {
                let content = content.unwrap_or_default();
                let offset = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(content.len());
                self.sending = Some(Box::new(Sending {
                    digest,
                    content,
                    offset,
                }));
            }
        }
    }

    /// Takes in what the agent said; gives whether there may be more at once.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        // Whoever says more than can be written waits in HTTP/2's own window.
        if self.inbound_ended
            || self.slot.waiting_statuses.load(Ordering::Relaxed) >= MAX_WAITING_STATUSES
        {
            return Ok(false);
        }
        match Pin::new(&mut self.inbound).poll_next(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(None) => {
                self.inbound_ended = true;
                Ok(false)
            }
            Poll::Ready(Some(Err(status))) => Err(status),
            Poll::Ready(Some(Ok(message))) => {
                self.hear(message);
                Ok(true)
            }
        }
    }
}

/// Reads until the database answers; the session stays open meanwhile.
async fn until_read<T, E, F>(mut read: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Into<ReadError>,
{
    loop {
        match read().await {
            Ok(value) => return value,
            Err(error) => {
                let error: ReadError = error.into();
                tracing::warn!(error = %chain(&error), "desired state could not be read");
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Stream for SessionStream {
    type Item = Result<HubMessage, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.slot.waker.register(cx.waker());
        loop {
            if this.slot.ending().is_some() {
                return Poll::Ready(this.goodbye().map(Ok));
            }
            this.take_confirmed();
            this.take_sources();
            if let Some(message) = this.outbox.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            match this.poll_inbound(cx) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            if this.inbound_ended {
                return Poll::Ready(None);
            }
            this.send_batch();
            if !this.outbox.is_empty() {
                continue;
            }
            this.start_work();
            let Some(work) = this.work.as_mut() else {
                return Poll::Pending;
            };
            match work.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(done) => {
                    this.work = None;
                    this.finish_work(done);
                }
            }
        }
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        self.app.metrics.sessions.dec();
        if self.app.sessions.leave(&self.slot) {
            self.ingest.closed(&self.slot);
            self.app.pokes.ingest.notify_one();
        }
        tracing::info!(
            cluster.id = %self.slot.cluster,
            cluster.name = self.slot.cluster_name,
            session.epoch = self.slot.epoch,
            reason = self.slot.ending().map_or("the agent left", |ending| ending.code),
            "session ended"
        );
    }
}
