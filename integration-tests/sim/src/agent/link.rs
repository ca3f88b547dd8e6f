//! The agent's stream: it says Hello and beats, and takes in what the hub sends.

use jiff::{SignedDuration, Timestamp};

use super::process::{Agent, Session};
use crate::{
    Mutant,
    count::Counts,
    invariant::Broken,
    transport::{Body, Message},
};

const HELLO_AGAIN: SignedDuration = SignedDuration::from_secs(8);
const BEAT: SignedDuration = SignedDuration::from_secs(10);
const DEAF: SignedDuration = SignedDuration::from_secs(32);

impl Agent {
    /// Takes a message from a hub; `now` is the time that really passes, as monotonic clocks do.
    ///
    /// # Errors
    /// What the hub sent is not what it promised.
    pub fn receive(
        &mut self,
        message: Message,
        now: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Result<Vec<Message>, Broken> {
        let hub = message.hub;
        match message.body {
            Body::Welcome { epoch, process } if process == self.process => {
                self.welcome(hub, epoch, now, mutant);
            }
            Body::Pong { epoch } => {
                self.hear(epoch, now);
            }
            Body::StatusAck {
                epoch,
                sequence,
                event,
            } => {
                let is_ours = self.hear(epoch, now);
                let volatile = &mut self.volatile;
                if is_ours {
                    volatile.acked = volatile.acked.max(sequence);
                    volatile.acked_event = volatile.acked_event.max(event);
                }
            }
            units @ Body::Units { .. } => return self.take(hub, units, (now, mutant), counts),
            _ => {}
        }
        Ok(Vec::new())
    }

    fn welcome(&mut self, hub: usize, epoch: u64, now: Timestamp, mutant: Mutant) {
        // A stream that is older than one seen before is refused.
        if epoch <= self.durable.epoch && mutant != Mutant::TakeOldStream {
            return;
        }
        self.durable.epoch = epoch;
        self.volatile.session = Some(Session {
            hub,
            epoch,
            heard: now,
            beat: now,
        });
        self.volatile.sent = None;
        self.volatile.sequence = 0;
        self.volatile.acked = 0;
    }

    fn hear(&mut self, epoch: u64, now: Timestamp) -> bool {
        match &mut self.volatile.session {
            Some(session) if session.epoch == epoch => {
                session.heard = now;
                true
            }
            _ => false,
        }
    }

    fn take(
        &mut self,
        hub: usize,
        body: Body,
        (now, mutant): (Timestamp, Mutant),
        counts: &mut Counts,
    ) -> Result<Vec<Message>, Broken> {
        let Body::Units {
            epoch,
            snapshot,
            from,
            to,
            root,
            units,
            blobs,
        } = body
        else {
            return Ok(Vec::new());
        };
        if !self.hear(epoch, now) || self.dies("crash/agent/units-before", counts) {
            return Ok(Vec::new());
        }
        let whole = snapshot || from == 0;
        let held = self.durable.generation;
        let newer = to > held || to == held && whole;
        if newer && (whole || from <= held) {
            let unchecked = mutant == Mutant::SkipRootCheck;
            if self.durable.take(to, root, &units, &blobs, unchecked) {
                self.volatile.distrusts = false;
                self.damaged = false;
            } else if self.damaged && !whole {
                // Refused; a stream begins anew and asks for everything.
                self.volatile.session = None;
                self.volatile.hello_at = None;
                self.volatile.distrusts = true;
                return Ok(Vec::new());
            } else {
                let detail = format!("generation {to} has another root");
                return Err(Broken::new("I21-root", detail));
            }
        }
        if self.dies("crash/agent/units-after", counts) {
            return Ok(Vec::new());
        }
        Ok(vec![Message {
            cluster: self.cluster,
            hub,
            body: Body::Ack {
                epoch,
                generation: self.durable.generation,
                root: self.durable.root(),
            },
        }])
    }

    /// Keeps the stream: beats, and says Hello when there is none.
    pub fn keep_up(&mut self, now: Timestamp, hubs: &[usize]) -> Vec<Message> {
        let cluster = self.cluster;
        if let Some(session) = &mut self.volatile.session {
            if now.duration_since(session.heard) > DEAF {
                self.volatile.session = None;
                self.volatile.hello_at = None;
            } else if now.duration_since(session.beat) >= BEAT {
                session.beat = now;
                return vec![Message {
                    cluster,
                    hub: session.hub,
                    body: Body::Beat {
                        epoch: session.epoch,
                    },
                }];
            }
        }
        let due = self
            .volatile
            .hello_at
            .is_none_or(|at| now.duration_since(at) >= HELLO_AGAIN);
        if self.volatile.session.is_some() || !due {
            return Vec::new();
        }
        let place = usize::try_from(now.as_second()).unwrap_or(0) + cluster.as_u128() as usize;
        let Some(hub) = hubs.get(place % hubs.len().max(1)) else {
            return Vec::new();
        };
        self.volatile.hello_at = Some(now);
        let generation = if self.volatile.distrusts {
            0
        } else {
            self.durable.generation
        };
        vec![Message {
            cluster,
            hub: *hub,
            body: Body::Hello {
                seen_epoch: self.durable.epoch,
                generation,
                root: self.durable.root(),
                process: self.process,
            },
        }]
    }
}
