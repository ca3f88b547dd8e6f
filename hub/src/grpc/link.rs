//! The streams of an enrolled cluster: who may open one, and what it starts from.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bellwether_api::root::Root;
use bellwether_proto::{
    limits::{BEAT_INTERVAL, PROTOCOL},
    wire::{
        AgentMessage, BulkAck, BulkMessage, Hello, HubMessage, Welcome, agent_message,
        bulk_message, hub_message, link_server::Link,
    },
};
use bellwether_store::{
    desired::Target,
    sessions::{OpenSession, Resume, resume_decision},
};
use futures::Stream;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{
    clock::Clock,
    clones,
    drift::Drift,
    enrol,
    fetch::{Fetcher, Opened},
    identity::status_of,
    ingest::Ingest,
    metrics::MetricsLink,
    peer, properties,
    session::{SessionStream, Start},
    slot::{Recorded, Slot},
};
use crate::{app::App, clock::wall, pki::ClusterIdentity};

/// How long the first message may take.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Opens streams.
pub(super) struct LinkService {
    app: Arc<App>,
    ingest: Arc<Ingest>,
    fetcher: Arc<Fetcher>,
}

impl LinkService {
    pub(super) fn new(app: Arc<App>, ingest: Arc<Ingest>, fetcher: Arc<Fetcher>) -> Self {
        Self {
            app,
            ingest,
            fetcher,
        }
    }

    async fn open(
        &self,
        identity: &ClusterIdentity,
        (connection, address): (u64, String),
        hello: &Hello,
        inbound: Streaming<AgentMessage>,
    ) -> Result<SessionStream, Status> {
        let heard_at = wall();
        let root = check_hello(hello)?;
        let cluster = enrol::admit(&self.app, identity.cluster, &identity.serial)
            .await
            .map_err(|error| status_of(&error))?;
        clones::keep_out(&self.app, &cluster, hello, address).await?;
        let opened = self
            .fetcher
            .open(OpenSession {
                cluster: identity.cluster,
                seen_epoch: hello.epoch,
                agent_version: hello.agent_version.clone(),
                kubernetes_version: hello.kubernetes_version.clone(),
                capabilities: hello
                    .capabilities
                    .iter()
                    .chain(&hello.api_kinds)
                    .cloned()
                    .collect(),
            })
            .await
            .ok_or_else(|| Status::unavailable("the session could not be opened; try again"))?;
        properties::record_at_hello(&self.app.store, &cluster, hello).await;
        let clock = Clock::new(cluster.clock_ahead_ms);
        clock.hear(
            &self.app.store,
            identity.cluster,
            hello.agent_time_ms,
            heard_at,
        );
        let slot = Slot::new(
            identity,
            connection,
            opened.session.cluster_name.clone(),
            opened.session.epoch,
            Recorded {
                clock,
                drift: Drift::new(cluster.drift_unseen_since),
            },
            MetricsLink::new(cluster.metrics),
            self.app.clock.now(),
        );
        Ok(self.stream(Arc::new(slot), hello, root, opened, inbound))
    }

    fn stream(
        &self,
        slot: Arc<Slot>,
        hello: &Hello,
        root: Root,
        Opened {
            session,
            incarnation,
        }: Opened,
        inbound: Streaming<AgentMessage>,
    ) -> SessionStream {
        let start = start(hello, root, incarnation, session.target);
        tracing::info!(
            cluster.id = %session.cluster,
            cluster.name = session.cluster_name,
            session.epoch = session.epoch,
            agent.version = hello.agent_version,
            generation = hello.generation,
            target = session.target.generation,
            ?start,
            "session opened"
        );
        let welcome = Welcome {
            epoch: session.epoch,
            incarnation,
            protocol: PROTOCOL,
            beat_interval_ms: u32::try_from(BEAT_INTERVAL.as_millis()).unwrap_or(u32::MAX),
            cluster_name: session.cluster_name,
            hub_time_ms: wall().as_millisecond(),
        };
        slot.aim(session.target.generation);
        if !self.app.sessions.enter(&slot) {
            slot.end(
                "superseded",
                "a newer session of this cluster is open",
                Duration::ZERO,
            );
        }
        self.app.pokes.plan.notify_one();
        SessionStream::new(
            Arc::clone(&self.app),
            Arc::clone(&self.ingest),
            Arc::clone(&self.fetcher),
            slot,
            inbound,
            HubMessage {
                message: Some(hub_message::Message::Welcome(welcome)),
            },
            start,
        )
    }
}

/// How an agent that holds what it says gets to its target.
fn start(hello: &Hello, root: Root, incarnation: u64, target: Target) -> Start {
    if hello.incarnation != incarnation {
        return Start::Snapshot;
    }
    let held = Target {
        generation: hello.generation,
        root,
    };
    match resume_decision(held, target) {
        Resume::Current | Resume::Delta => Start::From(held.generation, root),
        Resume::Snapshot | Resume::Ahead => Start::Repair(held.generation),
    }
}

/// Refuses what no agent of ours says; gives the root.
fn check_hello(hello: &Hello) -> Result<Root, Status> {
    if hello.protocol_min > PROTOCOL || hello.protocol_max < PROTOCOL {
        return Err(Status::failed_precondition(format!(
            "the agent speaks protocols {} to {}, this hub speaks {PROTOCOL}; update the older one",
            hello.protocol_min, hello.protocol_max
        )));
    }
    let texts = [&hello.agent_version, &hello.cluster_uid];
    let too_long = texts
        .into_iter()
        .any(|t| t.len() > properties::MAX_TEXT_BYTES);
    if too_long || properties::says_too_much(&properties::of_hello(hello)) {
        return Err(Status::invalid_argument(
            "the agent says too much of itself",
        ));
    }
    match Root::from_slice(&hello.root) {
        Some(root) => Ok(root),
        None if hello.root.is_empty() => Ok(Root::EMPTY),
        None => Err(Status::invalid_argument("a root has 32 bytes")),
    }
}

async fn first_message(inbound: &mut Streaming<AgentMessage>) -> Result<Hello, Status> {
    let first = timeout(HELLO_LIMIT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the agent did not say hello"))??;
    match first.and_then(|message| message.message) {
        Some(agent_message::Message::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument("a session starts with Hello")),
    }
}

#[tonic::async_trait]
impl Link for LinkService {
    type SessionStream = SessionStream;
    type BulkStream = BulkStream;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<SessionStream>, Status> {
        if self.app.shutdown.is_cancelled() {
            return Err(Status::unavailable("the hub stops"));
        }
        let identity = peer::require(request.extensions(), wall())?.clone();
        let address = peer::address(request.extensions());
        let address = address.map_or_else(String::new, |address| address.ip().to_string());
        let from = (peer::connection(request.extensions()), address);
        let mut inbound = request.into_inner();
        let hello = first_message(&mut inbound).await?;
        let stream = self.open(&identity, from, &hello, inbound).await;
        if let Err(status) = &stream {
            tracing::warn!(
                cluster.id = %identity.cluster,
                certificate.serial = identity.serial,
                code = ?status.code(),
                reason = status.message(),
                "session refused"
            );
        }
        stream.map(Response::new)
    }

    async fn bulk(
        &self,
        request: Request<Streaming<BulkMessage>>,
    ) -> Result<Response<BulkStream>, Status> {
        let identity = peer::require(request.extensions(), wall())?.clone();
        enrol::admit(&self.app, identity.cluster, &identity.serial)
            .await
            .map_err(|error| status_of(&error))?;
        let inbound = request.into_inner();
        let app = Arc::clone(&self.app);
        Ok(Response::new(BulkStream {
            app,
            identity,
            inbound,
            received: 0,
        }))
    }
}

/// Takes samples in and counts them; never more in memory than one message.
pub(super) struct BulkStream {
    app: Arc<App>,
    identity: ClusterIdentity,
    inbound: Streaming<BulkMessage>,
    received: u64,
}

impl Stream for BulkStream {
    type Item = Result<BulkAck, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let message = match Pin::new(&mut this.inbound).poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
            Poll::Ready(Some(Ok(message))) => message,
        };
        if this.identity.is_expired(wall()) {
            return Poll::Ready(Some(Err(Status::unauthenticated(
                "the client certificate has ended; renew it",
            ))));
        }
        if let Some(bulk_message::Message::Samples(samples)) = message.message {
            this.received += u64::try_from(samples.samples.len()).unwrap_or_default();
            this.app
                .sessions
                .samples()
                .push(this.identity.cluster, samples.samples);
        }
        Poll::Ready(Some(Ok(BulkAck {
            received: this.received,
        })))
    }
}
