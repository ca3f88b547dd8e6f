//! The agent's process: it lives, dies at any point, and tells the time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use bellwether_agent_core::machine::{Decision, InPlaceWant, RunState, Samples};
use bellwether_api::{
    bundle::Bundle,
    root::Root,
    status::{RunEvent, UnitStatus},
    steady::SteadyTime,
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use rand::{SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::{api::Api, calls::Calls, durable::Durable, sharing::Sharing};
use crate::{
    Mutant,
    count::Counts,
    member::{Fingerprint, Member, Part},
    scenario::{Theme, World, application, other_key},
};

/// Points at which the process may die: before and after everything that it makes durable or does.
pub const POINTS: &[&str] = &[
    "crash/agent/units-before",
    "crash/agent/units-after",
    "crash/agent/begin-before",
    "crash/agent/begin-after",
    "crash/agent/save-before",
    "crash/agent/save-after",
    "crash/agent/follow-run-after",
    "crash/agent/write-after",
    "crash/agent/conclude-before",
    "crash/agent/conclude-after",
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
    /// When it was last saved, in truth, that the old version of the run under way has all of its pods.
    pub(super) whole_at: Timestamp,
    /// Whether nothing goes wrong any more.
    pub calm: bool,
    /// What its play is about.
    pub(super) theme: Theme,
    /// How the API server behaves.
    pub api: Api,
    /// Until when its watches say nothing; absent = they do.
    pub watch_lost: Option<Timestamp>,
    /// A second process that works on the same cluster; absent = there is none.
    pub twin: Option<Box<Volatile>>,
    /// Events that were dropped before the hub had them.
    pub dropped: BTreeSet<u64>,
    /// Whatever else goes wrong here.
    pub(super) rng: StdRng,
    /// What was there in the last seconds.
    pub(super) past: VecDeque<Member>,
    /// Every answer of a hook: (run, attempt, hook, call), and whether it passed.
    pub(super) answered: BTreeMap<(Uuid, u32, String, u64), bool>,
    /// Every hook that passed: (run, attempt, hook).
    pub(super) passed: BTreeSet<(Uuid, u32, String)>,
    /// Every hook that was told of an end: (run, attempt, hook).
    pub(super) told: BTreeSet<(Uuid, u32, String)>,
    /// What was decided of the total that both versions share.
    pub(super) sharing: Sharing,
    /// Bundles that were read before.
    pub(super) bundles: RefCell<BTreeMap<[u8; 32], Rc<Bundle>>>,
    /// Which process it is, from 0.
    pub(super) process: u64,
    pub(super) volatile: Volatile,
}

/// What only the process knows.
#[derive(Clone, Debug)]
pub struct Volatile {
    /// Its steady time, and when that began in truth.
    pub(super) time: (SteadyTime, Timestamp),
    pub(super) session: Option<Session>,
    pub(super) hello_at: Option<Timestamp>,
    pub(super) samples: Option<Samples>,
    /// When a plain release is given up; absent = none is watched.
    pub(super) plain_until: Option<Timestamp>,
    pub(super) sent: Option<(UnitStatus, Timestamp)>,
    /// Its records do not give the root that the hub promised: it needs everything anew.
    pub(super) distrusts: bool,
    pub(super) acked: u64,
    pub(super) acked_event: u64,
    pub(super) sent_event: u64,
    pub(super) sequence: u64,
    /// What it remembers of the run.
    pub(super) memory: Option<Memory>,
    /// A decision that is being saved.
    pub(super) prepared: Option<Box<Prepared>>,
    /// What a workload that is updated in place was applied with; absent = that is not known.
    pub(super) written: Option<InPlaceWant>,
    /// What it has written, as far as it knows.
    pub(super) holds: Vec<(Part, Fingerprint)>,
    /// The cluster's count of changes when it looked at what it holds last.
    pub(super) known_changes: u64,
    /// When it changed anything last, by the cluster's own count; absent = it did not.
    pub(super) wrote_at: Option<i64>,
    /// When it decides again although nothing was seen.
    pub(super) wake_at: Option<Timestamp>,
    /// The generation of what the hub wants that it decided on last.
    pub(super) decided_at: Option<u64>,
    /// Hooks that were called.
    pub(super) calls: Calls,
}

/// What a process remembers of the run.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub state: RunState,
    /// What was saved when it was read or written last.
    pub saved: RunState,
}

/// A decision that was made on a version of the track and not saved yet.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub version: u64,
    pub spec: RolloutTrackSpec,
    /// The workload's count that it was made on.
    pub live: u32,
    /// Whether the old version was seen with all of its pods.
    pub whole: bool,
    pub decision: Decision,
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
            memory: None,
            prepared: None,
            written: None,
            holds: Vec::new(),
            known_changes: 0,
            wrote_at: None,
            wake_at: None,
            decided_at: None,
            calls: Calls::new(),
        }
    }
}

impl Agent {
    /// Starts an agent in an empty cluster; `truth` is the time that really passes.
    #[must_use]
    pub fn new(cluster: Uuid, truth: Timestamp, world: &World, seed: u64) -> Self {
        Self {
            cluster,
            alive: true,
            durable: Durable::default(),
            member: Member::new(world),
            metrics: true,
            wall: SignedDuration::ZERO,
            happened: Vec::new(),
            fuse: None,
            damaged: false,
            measured: BTreeSet::new(),
            progress: (0, truth),
            whole_at: truth,
            calm: false,
            theme: world.theme,
            api: Api::default(),
            watch_lost: None,
            twin: None,
            dropped: BTreeSet::new(),
            rng: StdRng::seed_from_u64(seed),
            past: VecDeque::new(),
            answered: BTreeMap::new(),
            passed: BTreeSet::new(),
            told: BTreeSet::new(),
            sharing: Sharing::default(),
            bundles: RefCell::default(),
            process: 0,
            volatile: Volatile::new(SteadyTime::begin(truth, None), truth),
        }
    }

    /// Kills the process.
    pub fn crash(&mut self) {
        self.alive = false;
        self.fuse = None;
        self.twin = None;
        self.process += 1;
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
    }

    /// Starts a second process beside it, as a rolling update of the agent does for a while, or ends
    /// that. Tells whether there is one then.
    pub fn split(&mut self) -> bool {
        self.twin = match self.twin.take() {
            Some(_) => None,
            None if self.alive => {
                let (time, began) = self.volatile.time;
                Some(Box::new(Volatile::new(time, began)))
            }
            None => None,
        };
        self.twin.is_some()
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

    /// Tells whether somebody damaged its records since they were last whole.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The root of what it holds.
    #[must_use]
    pub fn held_root(&self) -> Root {
        self.durable.root()
    }

    /// Events that wait for the hub.
    #[must_use]
    pub fn waiting_events(&self) -> usize {
        self.durable.events.len()
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

    /// Its stream; absent = it has none.
    pub(crate) fn stream(&self) -> Option<(usize, u64)> {
        let session = self.volatile.session?;
        Some((session.hub, session.epoch))
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
