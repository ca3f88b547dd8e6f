//! One play: a seed, from the first second until everything is at rest.

mod actors;
mod faults;
mod fleet;
mod humans;
mod people;
mod rest;

use jiff::{SignedDuration, Timestamp};
use rand::{SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::{
    Mutant,
    agent::Agent,
    count::Counts,
    database::Database,
    hub::{Hub, Judges},
    invariant::{Broken, Watch, at_rest, capacity},
    network::Network,
    scenario::{FAULTS_UNTIL, GIVE_UP, Scenario, Theme},
};

/// How a play ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed that plays it again.
    pub seed: u64,
    /// The rule that was broken; absent = none.
    pub broken: Option<Broken>,
    /// How often everything happened.
    pub counts: Counts,
    /// Seconds that were played.
    pub seconds: i64,
}

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
    scenario: Scenario,
    database: Database,
    hubs: Vec<Hub>,
    agents: Vec<Agent>,
    network: Network,
    judges: Judges,
    watch: Watch,
    counts: Counts,
    second: i64,
    processes: u128,
    actions: u128,
    retried: u64,
    /// Entries of the scenario that happened.
    applied: usize,
}

impl Play {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let scenario = Scenario::draw(&mut rng, Theme::of(seed));
        let mut play = Self {
            agents: Vec::new(),
            hubs: (0..2)
                .map(|index| Hub::new(index, process(index as u128), SignedDuration::ZERO))
                .collect(),
            rng,
            mutant,
            database: Database {
                unbraked: mutant == Mutant::IgnoreTombstoneBudget,
                reuses_generations: mutant == Mutant::ReuseGeneration,
                trusts_seen_epochs: mutant == Mutant::TrustSeenEpoch,
                ..Database::default()
            },
            network: Network::default(),
            judges: Judges::default(),
            watch: Watch::default(),
            counts: Counts::default(),
            second: 0,
            processes: 2,
            actions: 0,
            retried: 0,
            applied: 0,
            scenario,
        };
        play.judges.soaks.are_told_apart = play.scenario.world.theme == Theme::Rates;
        for index in 0..play.hubs.len() {
            play.hubs[index].rate = play.rate();
        }
        for cluster in play.scenario.clusters.clone() {
            play.join(cluster);
        }
        play.give_others();
        play
    }

    /// The time that really passes. Wall clocks may say something else.
    fn truth(&self) -> Timestamp {
        Timestamp::constant(1_767_225_600, 0) + SignedDuration::from_secs(self.second)
    }

    fn run(&mut self) -> Result<(), Broken> {
        loop {
            self.second += 1;
            self.apply();
            if self.second < FAULTS_UNTIL {
                self.faults();
                self.change_fleet();
                self.change_clusters();
                self.hasty_humans();
            } else {
                self.mend();
                self.patient_humans();
            }
            for agent in &mut self.agents {
                agent.keep_look();
                agent.member.tick(&mut self.rng);
                capacity(agent)?;
            }
            self.actors()?;
            self.deliver()?;
            if self.second > FAULTS_UNTIL && self.is_at_rest() {
                return at_rest(&self.database, &self.agents);
            }
            if self.second > GIVE_UP {
                return Err(Broken::new("I12-rest", self.unrest()));
            }
        }
    }

    /// Lets the user apply and delete what the scenario says.
    fn apply(&mut self) {
        while let Some((at, content)) = self.scenario.applied.get(self.applied)
            && *at <= self.second
        {
            if content.is_none() {
                self.counts.one("human/delete");
            } else if self.applied > 0 && self.database.application.is_none() {
                self.counts.one("human/apply-again");
            }
            self.database.application.clone_from(content);
            self.applied += 1;
        }
    }

    fn look(&mut self) -> Result<(), Broken> {
        self.watch.look(&self.database, &self.agents)
    }
}

const fn process(number: u128) -> Uuid {
    Uuid::from_u128(0x0BBB_0000 + number)
}
