//! One simulated agent's session.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bellwether_proto::wire::{
    Ack, AgentMessage, Beat, Credit, HubMessage, Status, UnitChange, UnitStatus, Want, Welcome,
    agent_message::Message as Up, hub_message::Message as Down, link_client::LinkClient,
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

use super::{
    batches::{Batch, Batches},
    fleet::Acknowledged,
    held::{Held, bundle_of, succeeded},
};

/// Messages that wait to be sent.
const OUTBOUND: usize = 16;

/// An open session.
pub struct Session {
    welcome: Welcome,
    up: mpsc::Sender<AgentMessage>,
    down: Streaming<HubMessage>,
    parts: Vec<UnitChange>,
    batches: Batches,
    hub_beat: u64,
    sequence: u64,
}

impl Session {
    /// Says what is held and waits for the welcome.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn open(channel: Channel, held: &Held) -> Result<Self> {
        let (up, messages) = mpsc::channel(OUTBOUND);
        up.send(AgentMessage {
            message: Some(Up::Hello(held.hello())),
        })
        .await?;
        let answer = LinkClient::new(channel)
            .session(ReceiverStream::new(messages))
            .await?;
        let mut down = answer.into_inner();
        match down.message().await?.and_then(|message| message.message) {
            Some(Down::Welcome(welcome)) => Ok(Self {
                welcome,
                up,
                down,
                parts: Vec::new(),
                batches: Batches::default(),
                hub_beat: 0,
                sequence: 0,
            }),
            other => bail!("no welcome but {other:?}"),
        }
    }

    /// Converses until `stop`: takes what comes, acknowledges it, says that it runs, and beats.
    ///
    /// # Errors
    /// When the session ends otherwise.
    pub async fn converse(
        &mut self,
        held: &mut Held,
        heard: &mpsc::UnboundedSender<Acknowledged>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let every = Duration::from_millis(u64::from(self.welcome.beat_interval_ms.max(1)));
        let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.down.message() => {
                    let message = message?.and_then(|message| message.message);
                    self.hear(held, heard, message.context("the hub ended the stream")?).await?;
                }
                _ = beats.tick() => self.beat(held).await?,
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn hear(
        &mut self,
        held: &mut Held,
        heard: &mpsc::UnboundedSender<Acknowledged>,
        message: Down,
    ) -> Result<()> {
        match message {
            Down::Delta(delta) => {
                self.batches.push(delta.changes, delta.to, delta.root);
                self.go_on(held, heard).await
            }
            Down::Snapshot(part) => {
                self.parts.extend(part.units);
                if part.complete {
                    let units = std::mem::take(&mut self.parts);
                    self.batches.push(units, part.generation, part.root);
                    self.go_on(held, heard).await
                } else {
                    self.say(Up::Credit(Credit { batches: 1 })).await
                }
            }
            Down::Beat(beat) => {
                self.hub_beat = beat.number;
                Ok(())
            }
            Down::Reconnect(_) | Down::Refused(_) => {
                bail!("the hub ended the session: {message:?}")
            }
            Down::Blob(piece) => {
                self.batches.piece(piece)?;
                self.go_on(held, heard).await
            }
            Down::Welcome(_) | Down::StatusAck(_) | Down::Metrics(_) => Ok(()),
        }
    }

    /// Asks for contents that are missing, and takes in every batch that is whole, in order.
    async fn go_on(
        &mut self,
        held: &mut Held,
        heard: &mpsc::UnboundedSender<Acknowledged>,
    ) -> Result<()> {
        let missing = self.batches.next_to_ask();
        if !missing.is_empty() {
            self.say(Up::Want(Want { blobs: missing })).await?;
        }
        while let Some(batch) = self.batches.whole() {
            self.store(held, heard, &batch).await?;
        }
        Ok(())
    }

    async fn store(
        &mut self,
        held: &mut Held,
        heard: &mpsc::UnboundedSender<Acknowledged>,
        batch: &Batch,
    ) -> Result<()> {
        let units = &batch.units;
        held.take(units, batch.generation, &batch.root, &self.welcome)?;
        self.say(Up::Ack(Ack {
            generation: held.generation,
            root: held.root_bytes(),
        }))
        .await?;
        let at = Instant::now();
        let mut reports = Vec::new();
        for unit in units {
            let Some(bundle) = bundle_of(unit)? else {
                continue;
            };
            self.sequence += 1;
            reports.push(UnitStatus {
                key: unit.key.clone(),
                sequence: self.sequence,
                detail_json: serde_json::to_vec(&succeeded(unit, &bundle))?.into(),
            });
            // Nobody listens outside P2.
            let _ = heard.send(Acknowledged {
                application: bundle.application.name,
                revision: bundle.revision,
                packed_bytes: unit.inline_blob.len(),
                at,
            });
        }
        if !reports.is_empty() {
            self.say(Up::Status(Status { units: reports })).await?;
        }
        self.say(Up::Credit(Credit { batches: 1 })).await
    }

    async fn beat(&self, held: &Held) -> Result<()> {
        self.say(Up::Beat(Beat {
            generation: held.generation,
            root: held.root_bytes(),
            applied_generation: held.generation,
            hub_beat: self.hub_beat,
            drift_age_ms: 0,
            agent_time_ms: 0,
        }))
        .await
    }

    async fn say(&self, message: Up) -> Result<()> {
        self.up
            .send(AgentMessage {
                message: Some(message),
            })
            .await
            .context("the stream ended")
    }
}
