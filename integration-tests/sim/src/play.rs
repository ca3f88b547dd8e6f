//! One play: a seed, from the first second until everything is at rest.

use bellwether_api::status::UnitOutcome;
use bellwether_hub_core::{
    check::Checker,
    release::ReleaseContent,
    run::{ActionKind, ClusterPhase, PendingAction, RunStatus, WavePhase},
};
use jiff::{SignedDuration, Timestamp};
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use uuid::Uuid;

use crate::{
    Mutant,
    agent::{Agent, Crash},
    count::Counts,
    database::{ActionRow, Database},
    hub::Hub,
    invariant::{Broken, Watch, at_rest},
    network::{Network, Weather},
    scenario::{FAULTS_UNTIL, GIVE_UP, Scenario},
    transport::Message,
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
    checker: Checker,
    watch: Watch,
    counts: Counts,
    second: i64,
    processes: u128,
    actions: u128,
    retried: u64,
}

impl Play {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let scenario = Scenario::draw(&mut rng);
        let mut database = Database::default();
        for cluster in &scenario.clusters {
            database.register(cluster.id);
        }
        Self {
            agents: scenario
                .clusters
                .iter()
                .map(|cluster| Agent::new(cluster.id))
                .collect(),
            hubs: (0..2)
                .map(|index| Hub::new(index, process(index as u128)))
                .collect(),
            rng,
            mutant,
            scenario,
            database,
            network: Network::default(),
            checker: Checker::default(),
            watch: Watch::default(),
            counts: Counts::default(),
            second: 0,
            processes: 2,
            actions: 0,
            retried: 0,
        }
    }

    fn now(&self) -> Timestamp {
        let start = Timestamp::constant(1_767_225_600, 0);
        start
            .saturating_add(SignedDuration::from_secs(self.second))
            .unwrap_or(start)
    }

    fn run(&mut self) -> Result<(), Broken> {
        loop {
            self.second += 1;
            if self.second < FAULTS_UNTIL {
                self.faults();
                self.hasty_humans();
            } else {
                self.mend();
                self.patient_humans();
            }
            for agent in &mut self.agents {
                agent.member.tick(&mut self.rng);
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

    fn look(&mut self) -> Result<(), Broken> {
        self.watch.look(&self.database, &self.agents)
    }

    /// One thing may go wrong in every second.
    fn faults(&mut self) {
        let cluster = self.rng.random_range(0..self.agents.len());
        let hub = self.rng.random_range(0..self.hubs.len());
        match self.rng.random_range(0..160) {
            0 => {
                self.network.cut(self.agents[cluster].cluster);
                self.counts.one("fault/cluster-cut");
            }
            1..=3 => self.network.mend(self.agents[cluster].cluster),
            4 => self.crash_hub(hub),
            5..=7 => self.restart_hub(hub),
            8 => self.agents[cluster].crash(),
            9..=14 => self.restart_agent(cluster),
            15 if self.agents[cluster].member.kill_canary() => {
                self.counts.one("fault/pods-killed");
            }
            16 => self.agents[cluster].metrics = false,
            17..=19 => self.agents[cluster].metrics = true,
            20 => {
                self.network.weather = Weather {
                    dropped: self.rng.random_range(0..15),
                    repeated: self.rng.random_range(0..15),
                    delayed: self.rng.random_range(0..15),
                };
            }
            23 | 24 if self.agents[cluster].damage() => self.counts.one("fault/record-damaged"),
            21 | 22 => self.network.weather = Weather::default(),
            _ => {}
        }
    }

    fn crash_hub(&mut self, index: usize) {
        if !self.hubs[index].alive {
            return;
        }
        self.counts.one("fault/hub-crash");
        if self.hubs[index].crash() {
            self.counts.one("fault/hub-crash-before-commit");
        }
        for agent in &mut self.agents {
            agent.hub_gone(index);
        }
    }

    fn restart_hub(&mut self, index: usize) {
        if !self.hubs[index].alive {
            self.counts.one("fault/hub-restart");
            self.hubs[index] = Hub::new(index, process(self.processes));
            self.processes += 1;
        }
    }

    fn restart_agent(&mut self, index: usize) {
        if !self.agents[index].alive {
            self.counts.one("fault/agent-restart");
            self.agents[index].restart();
        }
    }

    fn mend(&mut self) {
        self.network.heal();
        for index in 0..self.hubs.len() {
            self.restart_hub(index);
        }
        for index in 0..self.agents.len() {
            self.restart_agent(index);
            self.agents[index].metrics = true;
        }
    }

    fn say(&mut self, kind: ActionKind) {
        let Some(run) = self.database.newest_run().map(|run| run.id) else {
            return;
        };
        self.actions += 1;
        let name = ["ana", "ben"]
            .choose(&mut self.rng)
            .copied()
            .unwrap_or("ana");
        let action = PendingAction {
            id: Uuid::from_u128(0x0ACC_0000 + self.actions),
            kind,
            wave: None,
            cluster: None,
            step: None,
            expected_revision: None,
            by: name.to_owned(),
            reason: String::new(),
        };
        self.counts.one(&format!("human/{}", kind.as_str()));
        self.database.actions.push(ActionRow {
            run,
            action,
            answer: None,
        });
    }

    fn hasty_humans(&mut self) {
        let kind = match self.rng.random_range(0..240) {
            0 => ActionKind::Suspend,
            1..=4 => ActionKind::Resume,
            5..=9 => ActionKind::Approve,
            10 => ActionKind::Abort,
            11 | 12 => ActionKind::Retry,
            _ => return,
        };
        self.say(kind);
    }

    /// Humans who say yes: they resume, approve, and give up on what failed twice.
    fn patient_humans(&mut self) {
        let Some(run) = self.database.newest_run() else {
            return;
        };
        let unanswered = |row: &ActionRow| row.run == run.id && row.answer.is_none();
        if self.second % 10 != 0 || self.database.actions.iter().any(unanswered) {
            return;
        }
        let revision = run.revision;
        let gated = run.state.waves.iter().any(|wave| {
            matches!(
                wave.phase,
                WavePhase::Opening { .. } | WavePhase::Settling { .. }
            )
        });
        match (&run.state.status, run.state.suspended.is_some()) {
            (RunStatus::Progressing, true) => self.say(ActionKind::Resume),
            (RunStatus::Progressing, false) if gated => self.say(ActionKind::Approve),
            (RunStatus::Halted { .. }, true) => self.say(ActionKind::Resume),
            (RunStatus::Halted { .. }, false) if self.retried < revision => {
                self.retried = revision;
                self.say(ActionKind::Retry);
            }
            (RunStatus::Halted { .. }, false) => self.say(ActionKind::Abort),
            _ => {}
        }
    }

    /// Agents and hubs work, in an order that changes with every second.
    fn actors(&mut self) -> Result<(), Broken> {
        let mut order: Vec<usize> = (0..self.agents.len() + self.hubs.len()).collect();
        order.shuffle(&mut self.rng);
        for actor in order {
            match actor.checked_sub(self.agents.len()) {
                None => self.agent(actor)?,
                Some(hub) => self.hub(hub)?,
            }
            self.look()?;
        }
        Ok(())
    }

    fn agent(&mut self, index: usize) -> Result<(), Broken> {
        if !self.agents[index].alive {
            return Ok(());
        }
        let now = self.now();
        let hubs: Vec<usize> = self
            .hubs
            .iter()
            .filter(|hub| hub.alive)
            .map(|hub| hub.index)
            .collect();
        let crash = match self.rng.random_range(0..500) {
            0 if self.second < FAULTS_UNTIL => Some(Crash::BeforeSave),
            1 if self.second < FAULTS_UNTIL => Some(Crash::AfterSave),
            _ => None,
        };
        let agent = &mut self.agents[index];
        let mut messages = agent.keep_up(now, &hubs);
        agent.work(now, crash, self.mutant, &mut self.counts)?;
        messages.extend(agent.report(now));
        self.send(messages);
        Ok(())
    }

    fn hub(&mut self, index: usize) -> Result<(), Broken> {
        if !self.hubs[index].alive {
            return Ok(());
        }
        let now = self.now();
        let hub = &mut self.hubs[index];
        let messages = hub.keep_up(&mut self.database, now, &mut self.counts);
        self.send(messages);
        // Loading and saving lie up to two seconds apart: the other hub may be faster.
        if self.rng.random_bool(0.4) {
            let wanted = self.wanted();
            self.hubs[index].prepare(
                &self.database,
                &self.scenario,
                wanted.as_ref(),
                now,
                self.mutant,
            );
        } else if self.rng.random_bool(0.7) {
            let result = self.hubs[index].commit(
                &mut self.database,
                &self.scenario,
                &mut self.checker,
                &mut self.counts,
            );
            result.map_err(|violation| Broken::new(violation.rule, violation.detail))?;
            self.count_run();
        }
        Ok(())
    }

    fn wanted(&self) -> Option<ReleaseContent> {
        let due = self
            .scenario
            .releases
            .iter()
            .rev()
            .find(|(at, _)| *at <= self.second);
        due.map(|(_, content)| content.clone())
    }

    fn count_run(&mut self) {
        let Some(run) = self.database.newest_run() else {
            return;
        };
        let status = format!("hub/{}", run.state.status.word());
        let waves: Vec<&str> = run
            .state
            .waves
            .iter()
            .filter_map(|wave| match wave.phase {
                WavePhase::Opening { .. } => Some("wave/Opening"),
                WavePhase::Settling { .. } => Some("wave/Settling"),
                WavePhase::Passed { .. } => Some("wave/Passed"),
                _ => None,
            })
            .collect();
        let superseded = self
            .database
            .runs
            .iter()
            .filter(|run| matches!(run.state.status, RunStatus::Superseded { .. }))
            .count();
        self.counts.one(&status);
        self.counts.many("hub/Superseded", superseded as u64);
        for wave in waves {
            self.counts.one(wave);
        }
        let stuck = self.agents.iter().any(|agent| {
            agent.member.canary.as_ref().is_some_and(|canary| {
                crate::scenario::Quality::of(&canary.image) == crate::scenario::Quality::Stuck
            })
        });
        if stuck {
            self.counts.one("fault/pods-never-ready");
        }
    }

    fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        let now = self.now();
        for message in messages {
            self.network
                .send(now, message, &mut self.rng, &mut self.counts);
        }
    }

    fn deliver(&mut self) -> Result<(), Broken> {
        let now = self.now();
        for message in self.network.arrivals(now) {
            let answers = if message.body.is_upward() {
                let hub = &mut self.hubs[message.hub];
                if !hub.alive {
                    continue;
                }
                hub.receive(
                    &mut self.database,
                    message,
                    now,
                    self.mutant,
                    &mut self.counts,
                )
            } else {
                let Some(agent) = self
                    .agents
                    .iter_mut()
                    .find(|agent| agent.cluster == message.cluster)
                else {
                    continue;
                };
                if !agent.alive {
                    continue;
                }
                agent.receive(message, now)?
            };
            self.send(answers);
            self.look()?;
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        let Some(run) = self.database.newest_run() else {
            return false;
        };
        let settled = run.state.status.is_finished()
            && !(matches!(run.state.status, RunStatus::Succeeded { .. })
                && run
                    .state
                    .clusters
                    .values()
                    .any(|one| one.phase == ClusterPhase::Waiting || one.phase.takes_slot()));
        let wanted = self.wanted().is_some_and(|wanted| {
            self.database
                .releases
                .last()
                .is_some_and(|one| one.digest == wanted.digest())
        });
        let said = self
            .database
            .actions
            .iter()
            .all(|row| row.answer.is_some() || row.run != run.id);
        settled
            && wanted
            && said
            && self.network.is_quiet()
            && self.agents.iter().all(|agent| {
                let row = &self.database.clusters[&agent.cluster];
                if row.units.is_empty() {
                    // Nothing was ever granted here.
                    return true;
                }
                let unfinished = agent.status().is_none_or(|status| {
                    matches!(
                        status.outcome,
                        UnitOutcome::Progressing | UnitOutcome::RollingBack
                    )
                });
                agent.is_heard()
                    && agent.durable.generation == row.generation
                    && agent.reported() == agent.status().as_ref()
                    && !unfinished
                    && agent.member.runs(&agent.member.image.clone())
            })
    }

    fn unrest(&self) -> String {
        let run = self.database.newest_run();
        format!(
            "revision {:?} is {:?}; agents: {:#?}",
            run.map(|run| run.revision),
            run.map(|run| &run.state),
            self.agents
                .iter()
                .map(|agent| {
                    let track = agent.durable.track.as_ref().map(|track| &track.state.stage);
                    (
                        agent.cluster,
                        agent.is_heard(),
                        agent.status().map(|one| one.outcome),
                        track,
                    )
                })
                .collect::<Vec<_>>()
        )
    }
}

const fn process(number: u128) -> Uuid {
    Uuid::from_u128(0x0BBB_0000 + number)
}
