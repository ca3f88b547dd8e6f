//! Streams of agents.

use bellwether_api::{
    root::Root,
    status::{UnitOutcome, UnitStatus},
};
use bellwether_store::sessions::Ack;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::process::Hub;
use crate::{
    Mutant,
    count::Counts,
    database::{Database, StatusRow},
    transport::{Body, Message},
};

const SILENCE: SignedDuration = SignedDuration::from_secs(45);
const RESEND: SignedDuration = SignedDuration::from_secs(3);
const PONG: SignedDuration = SignedDuration::from_secs(10);

/// One stream; its times are those of a monotonic clock.
#[derive(Debug)]
pub(super) struct Session {
    pub epoch: u64,
    last_beat: Timestamp,
    pinged: Timestamp,
    held: u64,
    pub snapshot: bool,
    sent: Option<Timestamp>,
}

impl Hub {
    /// Takes one message; gives the answers. `truth` is the time that really passes.
    pub fn receive(
        &mut self,
        database: &mut Database,
        message: Message,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Vec<Message> {
        if self.time(truth, mutant).is_none() {
            // It does not listen yet.
            return Vec::new();
        }
        let cluster = message.cluster;
        let answer = match message.body {
            Body::Hello {
                seen_epoch,
                generation,
                root,
                process,
            } => self
                .open(
                    database,
                    cluster,
                    (seen_epoch, generation, root),
                    (truth, mutant),
                    counts,
                )
                .map(|epoch| Body::Welcome { epoch, process }),
            Body::Beat { epoch } => {
                if let Some(session) = self.session(cluster, epoch) {
                    session.last_beat = truth;
                }
                None
            }
            Body::Ack {
                epoch,
                generation,
                root,
            } => {
                self.acked(database, cluster, (epoch, generation, root), truth);
                self.dies("crash/hub/ack-after", counts);
                None
            }
            Body::Status {
                epoch,
                sequence,
                status,
            } => {
                if self.dies("crash/hub/status-before", counts) {
                    return Vec::new();
                }
                self.keep(database, cluster, (epoch, sequence, *status), truth, mutant)
            }
            _ => None,
        };
        let lost = match &answer {
            Some(Body::Welcome { .. }) => self.dies("crash/hub/session-after", counts),
            Some(Body::StatusAck { .. }) => self.dies("crash/hub/status-after", counts),
            _ => false,
        };
        let answer = answer.filter(|_| !lost);
        answer
            .map(|body| self.to(cluster, body))
            .into_iter()
            .collect()
    }

    fn open(
        &mut self,
        database: &mut Database,
        cluster: Uuid,
        (seen_epoch, generation, root): (u64, u64, Root),
        (truth, mutant): (Timestamp, Mutant),
        counts: &mut Counts,
    ) -> Option<u64> {
        let row = database.clusters.get(&cluster)?;
        if row.replica.is_some() {
            counts.one("fault/session-replaced");
        }
        let epoch = database.open_session(cluster, self.replica, seen_epoch)?;
        let row = &database.clusters[&cluster];
        let differs = root != row.root && mutant != Mutant::SkipSnapshot;
        let snapshot = generation > row.generation || generation == row.generation && differs;
        self.sessions.insert(
            cluster,
            Session {
                epoch,
                last_beat: truth,
                pinged: truth,
                held: if snapshot { 0 } else { generation },
                snapshot,
                sent: None,
            },
        );
        Some(epoch)
    }

    fn acked(
        &mut self,
        database: &mut Database,
        cluster: Uuid,
        (epoch, generation, root): (u64, u64, Root),
        truth: Timestamp,
    ) {
        let ack = Ack {
            cluster,
            epoch,
            generation,
            root,
            applied_generation: 0,
        };
        if !database.ack(&[ack]).is_empty() {
            self.drop_session(cluster, epoch);
        } else if let Some(session) = self.session(cluster, epoch) {
            session.last_beat = truth;
            session.held = session.held.max(generation);
            session.snapshot = false;
        }
    }

    /// Keeps a report with its events, unless its session was replaced.
    fn keep(
        &mut self,
        database: &mut Database,
        cluster: Uuid,
        (epoch, sequence, mut status): (u64, u64, UnitStatus),
        truth: Timestamp,
        mutant: Mutant,
    ) -> Option<Body> {
        let current = database
            .clusters
            .get(&cluster)
            .is_some_and(|row| row.epoch == epoch);
        if !current && mutant != Mutant::IgnoreEpoch {
            self.drop_session(cluster, epoch);
            return None;
        }
        if let Some(session) = self.session(cluster, epoch) {
            session.last_beat = truth;
        }
        let events = std::mem::take(&mut status.events);
        if mutant != Mutant::LoseEvents {
            database.tell(cluster, &events);
        }
        if mutant == Mutant::BelieveProgress && status.outcome == UnitOutcome::Progressing {
            status.outcome = UnitOutcome::Succeeded;
        }
        let newer = mutant == Mutant::IgnoreEpoch
            || database
                .statuses
                .get(&cluster)
                .is_none_or(|old| (old.epoch, old.sequence) < (epoch, sequence));
        let old = database.statuses.get(&cluster);
        let known = mutant == Mutant::KeepOldReport
            && old.is_some_and(|old| {
                let told = |status: &UnitStatus| (status.run, status.attempt, status.outcome);
                told(&old.status) == told(&status)
            });
        if newer && !known {
            let row = StatusRow {
                epoch,
                sequence,
                status,
            };
            database.statuses.insert(cluster, row);
        }
        let event = events.iter().map(|event| event.seq).max().unwrap_or(0);
        Some(Body::StatusAck {
            epoch,
            sequence,
            event,
        })
    }

    fn session(&mut self, cluster: Uuid, epoch: u64) -> Option<&mut Session> {
        self.sessions
            .get_mut(&cluster)
            .filter(|session| session.epoch == epoch)
    }

    fn drop_session(&mut self, cluster: Uuid, epoch: u64) {
        if self.session(cluster, epoch).is_some() {
            self.sessions.remove(&cluster);
        }
    }

    fn to(&self, cluster: Uuid, body: Body) -> Message {
        Message {
            cluster,
            hub: self.index,
            body,
        }
    }

    /// Agrees on the time, renews its lease, ends silent streams, sends what agents lack.
    pub fn keep_up(
        &mut self,
        database: &mut Database,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Vec<Message> {
        if !self.agrees(database, truth, counts) {
            return Vec::new();
        }
        let Some(now) = self.time(truth, mutant) else {
            return Vec::new();
        };
        database.leases.insert(self.replica, now);
        if self.is_outpaced(now, database) {
            counts.one("hub/outpaced");
            self.crash();
            return Vec::new();
        }
        self.sessions.retain(|cluster, session| {
            let silence = truth.duration_since(session.last_beat);
            if silence > SILENCE {
                database.close_session(*cluster, session.epoch, now - silence);
            }
            silence <= SILENCE
        });
        let index = self.index;
        let mut messages = Vec::new();
        for (cluster, session) in &mut self.sessions {
            let mut say = |body| {
                messages.push(Message {
                    cluster: *cluster,
                    hub: index,
                    body,
                });
            };
            if truth.duration_since(session.pinged) >= PONG {
                session.pinged = truth;
                say(Body::Pong {
                    epoch: session.epoch,
                });
            }
            let Some(row) = database.clusters.get(cluster) else {
                continue;
            };
            let lacks = session.snapshot || session.held < row.generation;
            let waited = session
                .sent
                .is_none_or(|at| truth.duration_since(at) >= RESEND);
            if lacks && waited {
                session.sent = Some(truth);
                if let Some(body) = units(database, *cluster, session, mutant, counts) {
                    say(body);
                }
            }
        }
        messages
    }
}

fn units(
    database: &Database,
    cluster: Uuid,
    session: &Session,
    mutant: Mutant,
    counts: &mut Counts,
) -> Option<Body> {
    let (snapshot, from, to, root, mut units) = if session.snapshot {
        counts.one("sync/snapshot");
        let snapshot = database.snapshot(cluster)?;
        (true, 0, snapshot.generation, snapshot.root, snapshot.units)
    } else {
        counts.one("sync/delta");
        let delta = database.delta(cluster, session.held)?;
        (false, delta.from, delta.to, delta.root, delta.changes)
    };
    if mutant == Mutant::TearReads {
        units.pop();
    }
    let blobs = units
        .iter()
        .filter_map(|unit| unit.digest)
        .filter_map(|digest| Some((digest.0, database.blobs.get(&digest.0)?.clone())))
        .collect();
    Some(Body::Units {
        epoch: session.epoch,
        snapshot,
        from,
        to,
        root,
        units,
        blobs,
    })
}
