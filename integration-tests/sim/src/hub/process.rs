//! The hub's process: it lives, dies at any point, and tells the time.

use std::{collections::BTreeMap, time::Duration};

use bellwether_api::steady::SteadyTime;
use bellwether_hub_core::clock::{Reading, agree, behind};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{link::Session, plan::Prepared};
use crate::{Mutant, count::Counts, database::Database};

/// Points at which the process may die: around everything that it commits.
pub const POINTS: &[&str] = &[
    "crash/hub/session-after",
    "crash/hub/ack-after",
    "crash/hub/status-before",
    "crash/hub/status-after",
    "crash/hub/commit-before",
    "crash/hub/taken-away-after",
    "crash/hub/commit-after",
    "crash/hub/deleted-after",
];

/// One hub process.
#[derive(Debug)]
pub struct Hub {
    /// Its place among the hubs.
    pub index: usize,
    /// Its identity; a restarted process has another.
    pub replica: Uuid,
    /// Whether the process runs.
    pub alive: bool,
    /// How far the wall clock of its machine is ahead of the time that really passes.
    pub wall: SignedDuration,
    /// How fast its clocks run, in percent.
    pub rate: u32,
    /// The point at which the process dies next; absent = it does not.
    pub fuse: Option<&'static str>,
    time: Time,
    /// When each hub had renewed its lease when it looked last.
    seen: BTreeMap<Uuid, Timestamp>,
    pub(super) sessions: BTreeMap<Uuid, Session>,
    pub(super) prepared: Option<Prepared>,
}

/// What a process knows of the time.
#[derive(Debug)]
enum Time {
    /// Nothing yet.
    Unknown,
    /// What it read first, and when in truth; it watches whether other hubs renew their leases.
    Watching(Reading, Timestamp),
    /// Its steady time, and when that began in truth.
    Agreed(SteadyTime, Timestamp),
}

impl Hub {
    /// Starts a process on a machine whose wall clock is ahead by `wall`.
    #[must_use]
    pub const fn new(index: usize, replica: Uuid, wall: SignedDuration) -> Self {
        Self {
            index,
            replica,
            alive: true,
            wall,
            rate: 100,
            fuse: None,
            time: Time::Unknown,
            seen: BTreeMap::new(),
            sessions: BTreeMap::new(),
            prepared: None,
        }
    }

    /// Kills it.
    pub fn crash(&mut self) {
        self.alive = false;
        self.fuse = None;
        self.sessions.clear();
        self.prepared = None;
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

    /// Agrees with the database and the hubs that are there on the time. Tells whether it has.
    pub(super) fn agrees(
        &mut self,
        database: &mut Database,
        truth: Timestamp,
        counts: &mut Counts,
    ) -> bool {
        if matches!(self.time, Time::Agreed(..)) {
            return true;
        }
        let latest = database.read_time(truth);
        let (first, since) = match std::mem::replace(&mut self.time, Time::Unknown) {
            Time::Watching(first, since) => (first, since),
            _ => (latest.clone(), truth),
        };
        let watched = self.passed(since, truth);
        match agree(&first, &latest, watched) {
            Some(time) => {
                if watched > Duration::ZERO {
                    counts.one("clock/watched");
                }
                if watched > Duration::ZERO && time.at(Duration::ZERO) == latest.database {
                    database.resumed = Some(truth);
                }
                self.time = Time::Agreed(time, truth);
                true
            }
            None => {
                self.time = Time::Watching(first, since);
                false
            }
        }
    }

    /// Tells the time by which it decides; absent = it has none yet.
    pub(super) fn time(&self, truth: Timestamp, mutant: Mutant) -> Option<Timestamp> {
        match self.time {
            Time::Agreed(..) if mutant == Mutant::TrustWallClock => Some(truth + self.wall),
            Time::Agreed(time, began) => Some(time.at(self.passed(began, truth))),
            _ => None,
        }
    }

    /// Tells whether it goes by a time that is too far behind that of another hub to go on.
    pub(super) fn is_outpaced(&mut self, now: Timestamp, database: &Database) -> bool {
        let before = std::mem::replace(&mut self.seen, database.leases.clone());
        behind(now, &before, &self.seen).is_some()
    }

    /// Has its clocks run as fast as time passes from now on; what they are ahead or behind stays.
    pub fn keep_pace(&mut self, truth: Timestamp) {
        if let Time::Agreed(time, began) = self.time {
            let now = time.at(self.passed(began, truth));
            self.time = Time::Agreed(SteadyTime::begin(now, None), truth);
        }
        self.rate = 100;
    }

    /// What its monotonic clock says has passed.
    fn passed(&self, since: Timestamp, truth: Timestamp) -> Duration {
        truth.duration_since(since).unsigned_abs() * self.rate / 100
    }

    /// When it began, by its own time.
    pub(super) fn started(&self) -> Option<Timestamp> {
        match self.time {
            Time::Agreed(time, _) => Some(time.at(Duration::ZERO)),
            _ => None,
        }
    }

    /// Tells whether it still owes everything to an agent of this stream.
    #[must_use]
    pub fn owes(&self, cluster: Uuid, epoch: u64) -> bool {
        let session = self.sessions.get(&cluster);
        session.is_some_and(|session| session.epoch == epoch && session.snapshot)
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
}
