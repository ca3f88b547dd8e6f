//! Workloads that somebody else delivers: one agent, one cluster, and an applier that writes its
//! objects again and again, played by the shipped decisions under faults.
//!
//! Objects are real here: what a run lays on them and takes off again is patches of JSON, so that
//! what an applier does to a half-laid object is seen.

mod agent;
mod judge;
mod laying;
mod run;
mod seen;
mod site;

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{Mutant, Outcome, count::Counts, invariant::Broken};
use agent::Adopter;
use judge::{Judge, at_rest};
use site::{Owner, Site};

/// Seconds in which faults happen.
const FAULTS_UNTIL: i64 = 300;
/// Seconds after which a play that is not at rest has failed.
const GIVE_UP: i64 = 1_500;
/// Seconds for which everything stays as it is at rest.
const STAYS: i64 = 40;

/// What every batch of seeds must meet.
pub const MET: &[&str] = &[
    "adopted/applied-again",
    "adopted/bypassed",
    "adopted/caught",
    "adopted/changed-mid-run",
    "adopted/crash",
    "adopted/failed",
    "adopted/held-in-the-write",
    "adopted/kept-paused",
    "adopted/refused-write",
    "adopted/route-changed",
    "adopted/succeeded",
    "adopted/superseded",
    "adopted/undone",
];

/// Plays one seed.
#[must_use]
pub fn simulate(seed: u64, mutant: Mutant) -> Outcome {
    let mut play = Play::new(seed, mutant);
    let broken = play.run().err();
    Outcome {
        seed,
        broken,
        counts: play.counts,
        seconds: play.second,
    }
}

struct Play {
    rng: StdRng,
    mutant: Mutant,
    site: Site,
    agent: Adopter,
    judge: Judge,
    counts: Counts,
    second: i64,
    /// Seconds between two writes of the applier.
    period: i64,
    /// Whether the API server asks the agent about writes.
    asks: bool,
    released: u32,
    rested: i64,
}

impl Play {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let owner = Owner {
            image: "web:1-good".to_owned(),
            timeout_s: 10,
        };
        Self {
            mutant,
            site: Site::new(owner),
            agent: Adopter::new(rng.random_bool(0.4)),
            judge: Judge::default(),
            counts: Counts::default(),
            second: 0,
            period: rng.random_range(4..25),
            asks: rng.random_bool(0.6),
            released: 1,
            rested: 0,
            rng,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::constant(1_767_225_600, 0) + SignedDuration::from_secs(self.second)
    }

    fn run(&mut self) -> Result<(), Broken> {
        loop {
            self.second += 1;
            let calm = self.second >= FAULTS_UNTIL;
            if calm {
                self.agent.calm();
            } else {
                self.faults();
            }
            self.deliver(calm);
            self.site.tick(&mut self.rng);
            let now = self.now();
            let (site, counts) = (&mut self.site, &mut self.counts);
            self.agent
                .work(site, now, self.mutant, &mut self.rng, counts)?;
            self.judge.look(&self.site, &self.agent)?;
            let rests = calm && self.agent.rests(&self.site);
            self.rested = if rests { self.rested + 1 } else { 0 };
            if self.rested > STAYS {
                return at_rest(&self.site, &self.agent);
            }
            if self.second > GIVE_UP {
                let detail = format!("{:?} {:?}", self.agent, self.site);
                return Err(Broken::new("I12-rest", detail));
            }
        }
    }

    fn faults(&mut self) {
        match self.rng.random_range(0..60) {
            0 if self.agent.alive => {
                self.counts.one("adopted/crash");
                self.agent.crash();
            }
            1..=8 if !self.agent.alive => self.agent.restart(self.now()),
            9 => self.agent.bad = self.rng.random_range(5..40),
            10..=13 => self.agent.bad = 0,
            14 if self.agent.is_busy() => {
                self.counts.one("adopted/route-changed");
                self.site.owner.timeout_s += 1;
            }
            _ => {}
        }
    }

    /// The applier writes what its owner wants, now and again; sometimes that is something new.
    fn deliver(&mut self, calm: bool) {
        let changes = !calm && self.second > 40 && self.rng.random_range(0..70) == 0;
        if changes {
            let quality = ["good", "good", "failing", "stuck"];
            let quality = quality.choose(&mut self.rng).copied().unwrap_or("good");
            self.released += 1;
            self.site.owner.image = format!("web:{}-{quality}", self.released);
            if self.agent.is_busy() {
                self.counts.one("adopted/changed-mid-run");
            }
        }
        if changes || self.second % self.period == 0 {
            self.counts.one("adopted/applied-again");
            let asked = self.asks && self.agent.alive && self.mutant != Mutant::IgnoreUpdates;
            let governed = self.agent.governed();
            // What two versions serve at once stands on neither: no update of it can be held.
            let rolls = !self.agent.is_busy() && self.site.serving() > 1;
            let held = self.site.apply(asked.then_some(governed));
            if held {
                self.counts.one("adopted/held-in-the-write");
            }
            // Nobody could hold what nobody was asked about.
            if rolls || !(self.asks && self.agent.alive && governed.is_known) {
                self.judge.let_through(&self.site.owner.image);
            }
        }
    }
}
