//! The agent's process: it lives, dies at any point, and tells the time.

use std::collections::BTreeSet;

use bellwether_agent_core::machine::Samples;
use bellwether_api::{
    status::{RunEvent, UnitStatus},
    steady::SteadyTime,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::durable::Durable;
use crate::{
    Mutant,
    count::Counts,
    member::Member,
    scenario::{application, other_key},
};

/// Points at which the process may die: before and after everything that it makes durable or does.
pub const POINTS: &[&str] = &[
    "crash/agent/units-before",
    "crash/agent/units-after",
    "crash/agent/begin-before",
    "crash/agent/begin-after",
    "crash/agent/save-before",
    "crash/agent/save-after",
    "crash/agent/apply-after",
    "crash/agent/follow-before",
    "crash/agent/follow-after",
    "crash/agent/removing-before",
    "crash/agent/removing-after",
    "crash/agent/removed-before",
    "crash/agent/removed-after",
    "crash/agent/report-after",
];

/// One agent with its cluster.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The cluster.
    pub cluster: Uuid,
    /// Whether the process runs.
    pub alive: bool,
    /// What survives it.
    pub durable: Durable,
    /// The cluster itself.
    pub member: Member,
    /// Whether the cluster's Prometheus answers.
    pub metrics: bool,
    /// How far the wall clock of its machine is ahead of the time that really passes.
    pub wall: SignedDuration,
    /// Every event that ever happened here, oldest first.
    pub happened: Vec<RunEvent>,
    /// The point at which the process dies next; absent = it does not.
    pub fuse: Option<&'static str>,
    /// Whether somebody damaged its records since they were last whole.
    pub(super) damaged: bool,
    /// Every (run, attempt, step) in which its Prometheus answered.
    pub(super) measured: BTreeSet<(Uuid, u32, u32)>,
    /// The furthest point of the run under way, and when it was reached in truth.
    pub(super) progress: (u64, Timestamp),
    pub(super) volatile: Volatile,
}

/// What only the process knows.
#[derive(Clone, Debug)]
pub(super) struct Volatile {
    /// Its steady time, and when that began in truth.
    pub time: (SteadyTime, Timestamp),
    pub session: Option<Session>,
    pub hello_at: Option<Timestamp>,
    pub samples: Option<Samples>,
    /// When a plain release is given up; absent = none is watched.
    pub plain_until: Option<Timestamp>,
    pub sent: Option<(UnitStatus, Timestamp)>,
    /// Its records do not give the root that the hub promised: it needs everything anew.
    pub distrusts: bool,
    pub acked: u64,
    pub acked_event: u64,
    pub sent_event: u64,
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub hub: usize,
    pub epoch: u64,
    pub heard: Timestamp,
    pub beat: Timestamp,
}

impl Volatile {
    fn new(time: SteadyTime, truth: Timestamp) -> Self {
        Self {
            time: (time, truth),
            session: None,
            hello_at: None,
            samples: None,
            plain_until: None,
            sent: None,
            distrusts: false,
            acked: 0,
            acked_event: 0,
            sent_event: 0,
            sequence: 0,
        }
    }
}

impl Agent {
    /// Starts an agent in an empty cluster; `truth` is the time that really passes.
    #[must_use]
    pub fn new(cluster: Uuid, truth: Timestamp) -> Self {
        Self {
            cluster,
            alive: true,
            durable: Durable::default(),
            member: Member::default(),
            metrics: true,
            wall: SignedDuration::ZERO,
            happened: Vec::new(),
            fuse: None,
            damaged: false,
            measured: BTreeSet::new(),
            progress: (0, truth),
            volatile: Volatile::new(SteadyTime::begin(truth, None), truth),
        }
    }

    /// Kills the process.
    pub fn crash(&mut self) {
        self.alive = false;
        self.fuse = None;
        let (time, began) = self.volatile.time;
        self.volatile = Volatile::new(time, began);
    }

    /// Passes a point at which the process may die. Tells whether it did.
    pub(super) fn dies(&mut self, point: &'static str, counts: &mut Counts) -> bool {
        let dies = self.fuse == Some(point);
        if dies {
            counts.one(point);
            self.crash();
        }
        dies
    }

    /// Starts it again: its time goes on from what was saved, and a run is taken up.
    pub fn restart(&mut self, truth: Timestamp) {
        self.alive = true;
        let busy = self.durable.is_busy();
        let saved = self.durable.track.as_ref().filter(|_| busy);
        let saved = saved.map(|track| track.state.latest_instant());
        let time = SteadyTime::begin(truth + self.wall, saved);
        self.volatile = Volatile::new(time, truth);
        if let Some(track) = self.durable.track.as_mut().filter(|_| busy) {
            let deadline = track.spec.plan.progress_deadline;
            track.state = track
                .state
                .clone()
                .taken_up(deadline, time.at(std::time::Duration::ZERO));
        }
    }

    /// Tells the time by which runs are decided.
    pub(super) fn time(&self, truth: Timestamp, mutant: Mutant) -> Timestamp {
        if mutant == Mutant::TrustWallClock {
            return truth + self.wall;
        }
        let (time, began) = self.volatile.time;
        time.at(truth.duration_since(began).unsigned_abs())
    }

    /// When this process began in truth.
    pub(super) fn began(&self) -> Timestamp {
        self.volatile.time.1
    }

    /// Damages what it holds, as a human does who edits its records; it notices when its stream
    /// begins. Tells whether there was something to damage.
    pub fn damage(&mut self) -> bool {
        let keys = [format!("command/{}", application()), other_key(0)];
        let lost = keys.map(|key| {
            let held = self.durable.units.get(&key);
            let live = held.is_some_and(|(_, digest)| digest.is_some());
            live && self.durable.units.remove(&key).is_some()
        });
        let damaged = lost.contains(&true);
        if damaged {
            self.damaged = true;
            self.crash();
        }
        damaged
    }

    /// Says that a hub's process is gone: its streams break at once.
    pub fn hub_gone(&mut self, hub: usize) {
        if self
            .volatile
            .session
            .is_some_and(|session| session.hub == hub)
        {
            self.volatile.session = None;
            self.volatile.hello_at = None;
        }
    }

    /// Tells whether everything that it has to say was stored by the hub.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.volatile.session.is_some()
            && self.volatile.acked == self.volatile.sequence
            && self.volatile.sent.is_some()
    }

    /// What it reported last in this process; absent = nothing.
    #[must_use]
    pub fn reported(&self) -> Option<&UnitStatus> {
        self.volatile.sent.as_ref().map(|(status, _)| status)
    }
}
