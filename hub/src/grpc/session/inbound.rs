//! What an agent says in its session.

use bellwether_api::{bundle::UnitKey, root::Root, status::UnitStatus};
use bellwether_proto::{
    limits::MAX_STATUS_BYTES,
    wire::{self, AgentMessage, HubBeat, agent_message, hub_message::Message},
};
use bellwether_store::Digest;

use super::{MAX_CREDIT, MAX_OUTBOX, MAX_WANTS, SessionStream, Start};
use crate::clock::wall;

/// Beats of the hub that may be unanswered before the way to the agent counts as broken.
const MAX_UNANSWERED_BEATS: u64 = 3;

impl SessionStream {
    pub(super) fn hear(&mut self, message: AgentMessage) {
        self.slot.heard();
        match message.message {
            // A second Hello says nothing new; unknown messages are of a newer agent.
            None | Some(agent_message::Message::Hello(_)) => {}
            Some(agent_message::Message::Ack(ack)) => self.hear_ack(&ack),
            Some(agent_message::Message::Nack(nack)) => self.hear_nack(nack),
            Some(agent_message::Message::Want(want)) => self.hear_want(&want),
            Some(agent_message::Message::Credit(credit)) => {
                self.credit = self.credit.saturating_add(credit.batches).min(MAX_CREDIT);
            }
            Some(agent_message::Message::Beat(beat)) => self.hear_beat(&beat),
            Some(agent_message::Message::Metrics(report)) => {
                let (store, cluster) = (&self.app.store, self.slot.cluster);
                self.slot.metrics.hear(store, cluster, report);
            }
            Some(agent_message::Message::Compliance(report)) => {
                let (store, cluster) = (&self.app.store, self.slot.cluster);
                let now = self.app.clock.now();
                self.compliance.hear(store, cluster, report, now);
            }
            Some(agent_message::Message::Cluster(report)) => {
                let (store, cluster) = (&self.app.store, self.slot.cluster);
                self.properties.hear(store, cluster, report);
            }
            Some(agent_message::Message::Status(status)) => {
                for unit in status.units {
                    self.hear_status(unit);
                }
            }
        }
    }

    fn hear_ack(&mut self, ack: &wire::Ack) {
        let Some(root) = Root::from_slice(&ack.root) else {
            self.slot
                .end("malformed", "a root has 32 bytes", super::READ_PAUSE);
            return;
        };
        if ack.generation >= self.acked {
            self.acked = ack.generation;
            self.acked_root = root;
        }
        if ack.generation >= self.sent {
            self.named.clear();
        }
        self.compare(ack.generation, root);
        self.record();
    }

    fn hear_beat(&mut self, beat: &wire::Beat) {
        let (store, cluster) = (&self.app.store, self.slot.cluster);
        let recorded = &self.slot.recorded;
        recorded
            .clock
            .hear(store, cluster, beat.agent_time_ms, wall());
        recorded
            .drift
            .hear(store, cluster, beat.drift_age_ms, wall());
        if let Some(root) = Root::from_slice(&beat.root) {
            self.compare(beat.generation, root);
        }
        if beat.applied_generation > self.applied {
            self.applied = beat.applied_generation;
            self.record();
        }
        if self.beats.saturating_sub(beat.hub_beat) > MAX_UNANSWERED_BEATS {
            let reason = "the agent does not hear the hub";
            self.slot.end("one-way", reason, std::time::Duration::ZERO);
        }
        if self.outbox.len() < MAX_OUTBOX {
            self.beats += 1;
            self.push(Message::Beat(HubBeat {
                number: self.beats,
                hub_time_ms: wall().as_millisecond(),
            }));
        }
    }

    /// Notices an agent that holds something else than it was sent.
    fn compare(&mut self, generation: u64, root: Root) {
        let idle = self.start.is_none() && self.parts.is_none();
        if idle && generation == self.sent && root != self.sent_root {
            tracing::warn!(
                cluster.id = %self.slot.cluster,
                cluster.name = self.slot.cluster_name,
                generation,
                "the agent's root differs; it gets everything again"
            );
            self.start = Some(Start::Repair(generation));
        }
    }

    /// Has the newest acknowledgement written.
    fn record(&self) {
        self.ingest.ack(bellwether_store::sessions::Ack {
            cluster: self.slot.cluster,
            epoch: self.slot.epoch,
            generation: self.acked,
            root: self.acked_root,
            applied_generation: self.applied,
        });
        self.app.pokes.ingest.notify_one();
    }

    fn hear_want(&mut self, want: &wire::Want) {
        for range in &want.blobs {
            let digest = Digest::try_from(range.digest.as_ref());
            match digest {
                // Only what this cluster was told of: a digest is no key to others' contents.
                Ok(digest) if self.named.contains(&digest) && self.wants.len() < MAX_WANTS => {
                    self.wants.push_back((digest, range.offset));
                }
                _ => {
                    tracing::warn!(
                        cluster.id = %self.slot.cluster,
                        cluster.name = self.slot.cluster_name,
                        "the agent asked for a content that it was not told of"
                    );
                    let reason = "a content was asked for that this session did not name";
                    self.slot.end("unknown-content", reason, super::READ_PAUSE);
                }
            }
        }
    }

    fn hear_nack(&mut self, nack: wire::Nack) {
        if nack.key.is_empty() {
            tracing::warn!(
                cluster.id = %self.slot.cluster,
                cluster.name = self.slot.cluster_name,
                generation = nack.generation,
                error = nack.error,
                "the agent could not fit a batch to what it holds; it gets everything again"
            );
            self.start = Some(Start::Repair(self.sent.max(nack.generation)));
            return;
        }
        tracing::warn!(
            cluster.id = %self.slot.cluster,
            cluster.name = self.slot.cluster_name,
            unit.key = nack.key,
            generation = nack.generation,
            error = nack.error,
            "the agent refused a unit"
        );
        self.ingest.nack(&self.slot, nack);
        self.app.pokes.ingest.notify_one();
    }

    fn hear_status(&self, unit: wire::UnitStatus) {
        match read_status(&unit) {
            Ok(detail) => {
                self.ingest
                    .status(&self.slot, unit.key, unit.sequence, detail);
                self.app.pokes.ingest.notify_one();
            }
            Err(why) => {
                tracing::warn!(
                    cluster.id = %self.slot.cluster,
                    cluster.name = self.slot.cluster_name,
                    unit.key = unit.key,
                    why,
                    "a status was dropped"
                );
                // Confirmed all the same: sending it again would not make it better.
                self.slot.confirm(wire::StatusAcked {
                    key: unit.key,
                    sequence: unit.sequence,
                    event_sequence: 0,
                });
            }
        }
    }
}

fn read_status(unit: &wire::UnitStatus) -> Result<UnitStatus, String> {
    if unit.detail_json.len() > MAX_STATUS_BYTES {
        return Err(format!("it is larger than {MAX_STATUS_BYTES} bytes"));
    }
    let key: UnitKey = unit
        .key
        .parse()
        .map_err(|error: bellwether_api::bundle::ParseUnitKeyError| error.to_string())?;
    let detail: UnitStatus =
        serde_json::from_slice(&unit.detail_json).map_err(|error| error.to_string())?;
    match key {
        UnitKey::Application(name) | UnitKey::Rollout(name) if name == detail.application => {
            Ok(detail)
        }
        _ => Err("its key and its application differ".to_owned()),
    }
}
