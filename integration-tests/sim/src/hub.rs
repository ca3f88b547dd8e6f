//! One hub process: streams to agents, and the planning loop split where a crash may fall.

use std::collections::BTreeMap;

use bellwether_api::{bundle::BundleMode, fleet::FleetDefaults};
use bellwether_hub_core::{
    bundle::{BundleInput, build},
    check::{Checker, Violation},
    placement::ClusterFacts,
    plan::{Plan, PlanInput, freeze},
    release::{Release, ReleaseContent},
    run::{
        ClusterPhase, ClusterSeen, Decision, GrantRelease, Input, PendingAction, RunFacts,
        RunState, RunStatus, Supersession, decide,
    },
};
use bellwether_store::{
    desired::{ClusterChange, Deletions, UnitChange},
    sessions::Ack,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    Mutant,
    count::Counts,
    database::{Database, RunRow, StatusRow},
    scenario::{Scenario, application},
    transport::{Body, Message},
};

const SILENCE: SignedDuration = SignedDuration::from_secs(45);
const RESEND: SignedDuration = SignedDuration::from_secs(3);
const PONG: SignedDuration = SignedDuration::from_secs(10);

/// One hub process.
#[derive(Debug)]
pub struct Hub {
    /// Its place among the hubs.
    pub index: usize,
    /// Its identity; a restarted process has another.
    pub replica: Uuid,
    /// Whether the process runs.
    pub alive: bool,
    sessions: BTreeMap<Uuid, Session>,
    prepared: Option<Prepared>,
}

#[derive(Debug)]
struct Session {
    epoch: u64,
    last_beat: Timestamp,
    pinged: Timestamp,
    held: u64,
    snapshot: bool,
    sent: Option<Timestamp>,
}

/// A decision that was made and not saved yet.
#[derive(Debug)]
struct Prepared {
    now: Timestamp,
    base: Option<(Uuid, u64)>,
    clusters: Vec<ClusterSeen>,
    actions: Vec<PendingAction>,
    supersession: Option<Supersession>,
    decision: Option<Decision>,
    release: Option<(ReleaseContent, Plan, Option<u64>)>,
}

impl Hub {
    /// Starts a process.
    #[must_use]
    pub const fn new(index: usize, replica: Uuid) -> Self {
        Self {
            index,
            replica,
            alive: true,
            sessions: BTreeMap::new(),
            prepared: None,
        }
    }

    /// Kills it; tells whether a decision was lost between load and save.
    pub fn crash(&mut self) -> bool {
        self.alive = false;
        self.sessions.clear();
        self.prepared.take().is_some()
    }

    /// Tells whether the agent's stream is open here.
    #[must_use]
    pub fn serves(&self, cluster: Uuid, epoch: u64) -> bool {
        self.alive
            && self
                .sessions
                .get(&cluster)
                .is_some_and(|session| session.epoch == epoch)
    }

    /// Takes one message; gives the answers.
    pub fn receive(
        &mut self,
        database: &mut Database,
        message: Message,
        now: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Vec<Message> {
        let cluster = message.cluster;
        match message.body {
            Body::Hello {
                seen_epoch,
                generation,
                root,
            } => {
                let replaced = database
                    .clusters
                    .get(&cluster)
                    .is_some_and(|row| row.replica.is_some());
                let Some(epoch) = database.open_session(cluster, self.replica, seen_epoch) else {
                    return Vec::new();
                };
                if replaced {
                    counts.one("fault/session-replaced");
                }
                let row = &database.clusters[&cluster];
                let snapshot =
                    generation > row.generation || generation == row.generation && root != row.root;
                self.sessions.insert(
                    cluster,
                    Session {
                        epoch,
                        last_beat: now,
                        pinged: now,
                        held: if snapshot { 0 } else { generation },
                        snapshot,
                        sent: None,
                    },
                );
                vec![self.to(cluster, Body::Welcome { epoch })]
            }
            Body::Beat { epoch } => {
                if let Some(session) = self.session(cluster, epoch) {
                    session.last_beat = now;
                }
                Vec::new()
            }
            Body::Ack {
                epoch,
                generation,
                root,
            } => {
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
                    session.last_beat = now;
                    session.held = session.held.max(generation);
                    session.snapshot = false;
                }
                Vec::new()
            }
            Body::Status {
                epoch,
                sequence,
                status,
            } => {
                let current = database
                    .clusters
                    .get(&cluster)
                    .is_some_and(|row| row.epoch == epoch);
                if !current && mutant != Mutant::IgnoreEpoch {
                    self.drop_session(cluster, epoch);
                    return Vec::new();
                }
                if let Some(session) = self.session(cluster, epoch) {
                    session.last_beat = now;
                }
                let newer = mutant == Mutant::IgnoreEpoch
                    || database
                        .statuses
                        .get(&cluster)
                        .is_none_or(|old| (old.epoch, old.sequence) < (epoch, sequence));
                if newer {
                    let row = StatusRow {
                        epoch,
                        sequence,
                        status: *status,
                    };
                    database.statuses.insert(cluster, row);
                }
                vec![self.to(cluster, Body::StatusAck { epoch, sequence })]
            }
            _ => Vec::new(),
        }
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

    /// Renews its lease, ends silent streams, sends what agents lack.
    pub fn keep_up(
        &mut self,
        database: &mut Database,
        now: Timestamp,
        counts: &mut Counts,
    ) -> Vec<Message> {
        database.leases.insert(self.replica, now);
        let silent: Vec<(Uuid, u64, Timestamp)> = self
            .sessions
            .iter()
            .filter(|(_, session)| now.duration_since(session.last_beat) > SILENCE)
            .map(|(cluster, session)| (*cluster, session.epoch, session.last_beat))
            .collect();
        for (cluster, epoch, last_beat) in silent {
            database.close_session(cluster, epoch, last_beat);
            self.sessions.remove(&cluster);
        }
        let index = self.index;
        let mut messages = Vec::new();
        for (cluster, session) in &mut self.sessions {
            if now.duration_since(session.pinged) >= PONG {
                session.pinged = now;
                let body = Body::Pong {
                    epoch: session.epoch,
                };
                messages.push(Message {
                    cluster: *cluster,
                    hub: index,
                    body,
                });
            }
            let Some(row) = database.clusters.get(cluster) else {
                continue;
            };
            let lacks = session.snapshot || session.held < row.generation;
            let waited = session
                .sent
                .is_none_or(|at| now.duration_since(at) >= RESEND);
            if !lacks || !waited {
                continue;
            }
            session.sent = Some(now);
            let body = units(database, *cluster, session, counts);
            messages.extend(body.map(|body| Message {
                cluster: *cluster,
                hub: index,
                body,
            }));
        }
        messages
    }

    /// Loads and decides. The answer lies ready until [`Self::commit`]; a crash in between loses it.
    pub fn prepare(
        &mut self,
        database: &Database,
        scenario: &Scenario,
        wanted: Option<&ReleaseContent>,
        now: Timestamp,
        mutant: Mutant,
    ) {
        if self.prepared.is_some() {
            return;
        }
        let clusters = seen(database, scenario, now);
        let newest = database.newest_run();
        let current = database.releases.last();
        let change = wanted.filter(|wanted| {
            current.is_none_or(|release| release.content.digest() != wanted.digest())
        });
        let release = change.and_then(|content| {
            let (install, previous) = past(database);
            let plan = freeze(PlanInput {
                waves: &scenario.waves,
                on_failure: Some(scenario.on_failure),
                clusters: &scenario.clusters,
                fleet_max_concurrent: None,
                install,
                governed: !content.rollouts.is_empty(),
            })
            .ok()?;
            Some((content.clone(), plan, previous))
        });
        let supersession = release.as_ref().map(|_| Supersession::Release {
            revision: database.releases.len() as u64 + 1,
        });
        let actions: Vec<PendingAction> = newest
            .map(|run| {
                let own = database.actions.iter().filter(|row| row.run == run.id);
                own.filter(|row| row.answer.is_none())
                    .map(|row| row.action.clone())
                    .collect()
            })
            .unwrap_or_default();
        let decision = newest.map(|run| {
            let mut plan = run.plan.clone();
            if mutant == Mutant::SkipGate {
                plan.waves.iter_mut().for_each(|wave| wave.after.clear());
            }
            decide(&Input {
                plan: &plan,
                ..input(run, now, &clusters, &actions, supersession)
            })
        });
        self.prepared = Some(Prepared {
            now,
            base: newest.map(|run| (run.id, run.version)),
            clusters,
            actions,
            supersession,
            decision,
            release,
        });
    }

    /// Saves what was decided, if nobody was faster.
    ///
    /// # Errors
    /// The decision breaks a rule.
    pub fn commit(
        &mut self,
        database: &mut Database,
        scenario: &Scenario,
        checker: &mut Checker,
        counts: &mut Counts,
    ) -> Result<(), Violation> {
        let Some(prepared) = self.prepared.take() else {
            return Ok(());
        };
        let base = database.newest_run().map(|run| (run.id, run.version));
        if base != prepared.base {
            counts.one("fault/save-conflict");
            return Ok(());
        }
        if let (Some(decision), Some(run)) = (&prepared.decision, database.runs.last().cloned()) {
            let input = input(
                &run,
                prepared.now,
                &prepared.clusters,
                &prepared.actions,
                prepared.supersession,
            );
            if decision.is_change(&run.state) {
                checker.observe(&input, decision)?;
                save(database, scenario, &run, decision);
            }
        }
        if let Some((content, plan, previous)) = prepared.release {
            if database
                .newest_run()
                .is_some_and(|run| matches!(run.state.status, RunStatus::Superseded { .. }))
            {
                counts.one("fault/release-mid-run");
            }
            start(database, content, plan, previous);
        }
        Ok(())
    }
}

fn units(
    database: &Database,
    cluster: Uuid,
    session: &Session,
    counts: &mut Counts,
) -> Option<Body> {
    let (snapshot, from, to, root, units) = if session.snapshot {
        counts.one("sync/snapshot");
        let snapshot = database.snapshot(cluster)?;
        (true, 0, snapshot.generation, snapshot.root, snapshot.units)
    } else {
        counts.one("sync/delta");
        let delta = database.delta(cluster, session.held)?;
        (false, delta.from, delta.to, delta.root, delta.changes)
    };
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

fn input<'a>(
    run: &'a RunRow,
    now: Timestamp,
    clusters: &'a [ClusterSeen],
    actions: &'a [PendingAction],
    supersession: Option<Supersession>,
) -> Input<'a> {
    Input {
        now,
        run: RunFacts {
            id: run.id,
            revision: run.revision,
            has_previous: run.previous.is_some(),
        },
        plan: &run.plan,
        state: &run.state,
        clusters,
        joiners: &[],
        actions,
        suspended_by_spec: false,
        completes: &[],
        supersession,
    }
}

fn seen(database: &Database, scenario: &Scenario, now: Timestamp) -> Vec<ClusterSeen> {
    let key = format!("application/{}", application());
    scenario
        .clusters
        .iter()
        .map(|cluster| {
            let (connected, last_heard) = database.link(cluster.id, now);
            let unit = database
                .clusters
                .get(&cluster.id)
                .and_then(|row| row.units.get(&key));
            ClusterSeen {
                id: cluster.id,
                member: true,
                connected,
                last_heard,
                desired: unit
                    .and_then(|(_, digest)| *digest)
                    .map(|digest| digest.to_string()),
                status: database
                    .statuses
                    .get(&cluster.id)
                    .map(|row| row.status.clone()),
            }
        })
        .collect()
}

/// Whether the next release is the first, and the revision of the last that succeeded.
fn past(database: &Database) -> (bool, Option<u64>) {
    let ran = database.runs.iter().any(|run| {
        run.state.clusters.values().any(|cluster| {
            matches!(cluster.phase, ClusterPhase::Succeeded { .. }) || cluster.previous.is_some()
        })
    });
    let succeeded = database
        .runs
        .iter()
        .rev()
        .find(|run| matches!(run.state.status, RunStatus::Succeeded { .. }))
        .map(|run| run.revision);
    (!ran, succeeded)
}

fn start(database: &mut Database, content: ReleaseContent, plan: Plan, previous: Option<u64>) {
    let revision = database.releases.len() as u64 + 1;
    let id = Uuid::from_u128(0x0EEE_0000 + u128::from(revision));
    let digest = content.digest();
    database.releases.push(Release {
        id,
        revision,
        digest,
        content,
    });
    database.runs.push(RunRow {
        id: Uuid::from_u128(0x0AAA_0000 + u128::from(revision)),
        revision,
        previous,
        state: RunState::new(&plan),
        plan,
        version: 1,
    });
}

fn save(database: &mut Database, scenario: &Scenario, run: &RunRow, decision: &Decision) {
    for e in &decision.events {
        eprintln!(
            "DBG rev {} {:?} {} {}",
            run.revision,
            e.cluster.map(|c| c.as_u128()),
            e.reason,
            e.message
        );
    }
    let mut changes: BTreeMap<Uuid, Vec<UnitChange>> = BTreeMap::new();
    let unit = |kind: &str, digest| UnitChange {
        key: format!("{kind}/{}", application()),
        digest: Some(digest),
        origin: format!("run/{}", run.id),
    };
    for grant in &decision.grants {
        let wanted = match &grant.release {
            GrantRelease::This => Some(run.revision),
            GrantRelease::LastSucceeded => run.previous,
            GrantRelease::Digest(digest) => database
                .releases
                .iter()
                .find(|release| release.digest == *digest)
                .map(|release| release.revision),
        };
        let release = wanted.and_then(|revision| {
            database
                .releases
                .iter()
                .find(|release| release.revision == revision)
                .cloned()
        });
        let facts: Option<&ClusterFacts> = scenario
            .clusters
            .iter()
            .find(|cluster| cluster.id == grant.cluster);
        let (Some(release), Some(cluster)) = (release, facts) else {
            continue;
        };
        let bundle = build(BundleInput {
            application: &application(),
            release: &release,
            run: run.id,
            attempt: grant.attempt,
            mode: grant.mode,
            cluster,
            fleet: &FleetDefaults::default(),
        });
        debug_assert!(grant.mode == BundleMode::Plain || grant.release == GrantRelease::This);
        let digest = database.put(&bundle.bytes);
        database
            .granted
            .insert((grant.cluster, run.id, grant.attempt, digest.0));
        changes
            .entry(grant.cluster)
            .or_default()
            .push(unit("application", digest));
    }
    for change in &decision.commands {
        let bytes = serde_json::to_vec(&change.command).expect("a command serialises");
        let digest = database.put(&bytes);
        changes
            .entry(change.cluster)
            .or_default()
            .push(unit("command", digest));
    }
    let changes: Vec<ClusterChange> = changes
        .into_iter()
        .map(|(cluster, changes)| ClusterChange { cluster, changes })
        .collect();
    database
        .write(&changes, Deletions::Braked)
        .expect("nothing is taken away");
    for answer in &decision.answered {
        for row in database
            .actions
            .iter_mut()
            .filter(|row| row.action.id == answer.id)
        {
            row.answer = Some(answer.clone());
        }
    }
    if let Some(row) = database.runs.iter_mut().find(|row| row.id == run.id) {
        row.state = decision.next.clone();
        row.version += 1;
    }
}
