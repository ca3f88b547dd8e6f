//! Agents and hubs at work, and what they say to each other.

use bellwether_hub_core::run::{RunStatus, WavePhase};
use rand::{Rng, seq::SliceRandom};

use super::Play;
use crate::{invariant::Broken, scenario::Quality, transport::Message};

impl Play {
    /// Agents and hubs work, in an order that changes with every second.
    pub(super) fn actors(&mut self) -> Result<(), Broken> {
        let mut order: Vec<usize> = (0..self.agents.len() + self.hubs.len()).collect();
        order.shuffle(&mut self.rng);
        // What people wrote is seen before anybody acts on it.
        self.look()?;
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
        let truth = self.truth();
        let alive = self.hubs.iter().filter(|hub| hub.alive);
        let hubs: Vec<usize> = alive.map(|hub| hub.index).collect();
        let agent = &mut self.agents[index];
        let mut messages = agent.keep_up(truth, &hubs);
        agent.work(truth, self.mutant, &mut self.counts)?;
        if agent.alive {
            messages.extend(agent.report(truth, &mut self.counts));
        }
        self.send(messages);
        Ok(())
    }

    fn hub(&mut self, index: usize) -> Result<(), Broken> {
        if !self.hubs[index].alive {
            return Ok(());
        }
        let truth = self.truth();
        let messages =
            self.hubs[index].keep_up(&mut self.database, truth, self.mutant, &mut self.counts);
        self.send(messages);
        if !self.hubs[index].alive {
            self.notice_death(index);
            return Ok(());
        }
        // Loading and saving lie up to two seconds apart: the other hub may be faster.
        if self.rng.random_bool(0.4) {
            self.hubs[index].prepare(
                &self.database,
                &self.scenario,
                truth,
                self.mutant,
                &mut self.counts,
            );
            self.hubs[index].send_early(&mut self.database)?;
        } else if self.rng.random_bool(0.7) {
            self.hubs[index].commit(&mut self.database, &mut self.judges, &mut self.counts)?;
            self.count_run();
            self.notice_death(index);
        }
        Ok(())
    }

    /// Lets agents notice that a hub died at a point of its own.
    fn notice_death(&mut self, index: usize) {
        if !self.hubs[index].alive {
            self.hub_gone(index);
        }
    }

    fn count_run(&mut self) {
        let Some(run) = self.database.newest_run() else {
            return;
        };
        self.counts.one(&format!("hub/{}", run.state.status.word()));
        for wave in &run.state.waves {
            match wave.phase {
                WavePhase::Opening { .. } => self.counts.one("wave/Opening"),
                WavePhase::Settling { .. } => self.counts.one("wave/Settling"),
                WavePhase::Passed { .. } => self.counts.one("wave/Passed"),
                _ => {}
            }
        }
        let superseded = |run: &&crate::database::RunRow| {
            matches!(run.state.status, RunStatus::Superseded { .. })
        };
        let superseded = self.database.runs.iter().filter(superseded).count();
        self.counts.many("hub/Superseded", superseded as u64);
        let stuck = self.agents.iter().any(|agent| {
            let canary = agent.member.canary.as_ref();
            canary.is_some_and(|canary| Quality::of(&canary.image) == Quality::Stuck)
        });
        if stuck {
            self.counts.one("fault/pods-never-ready");
        }
    }

    fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        let now = self.truth();
        for message in messages {
            self.network
                .send(now, message, &mut self.rng, &mut self.counts);
        }
    }

    pub(super) fn deliver(&mut self) -> Result<(), Broken> {
        let now = self.truth();
        for message in self.network.arrivals(now) {
            let answers = if message.body.is_upward() {
                self.hub_hears(message)
            } else {
                self.agent_hears(message)?
            };
            self.send(answers);
            self.look()?;
        }
        Ok(())
    }

    fn hub_hears(&mut self, message: Message) -> Vec<Message> {
        let truth = self.truth();
        let index = message.hub;
        if !self.hubs[index].alive {
            return Vec::new();
        }
        let answers = self.hubs[index].receive(
            &mut self.database,
            message,
            truth,
            self.mutant,
            &mut self.counts,
        );
        self.notice_death(index);
        answers
    }

    fn agent_hears(&mut self, message: Message) -> Result<Vec<Message>, Broken> {
        let truth = self.truth();
        let agent = self
            .agents
            .iter_mut()
            .find(|agent| agent.cluster == message.cluster && agent.alive);
        match agent {
            Some(agent) => agent.receive(message, truth, self.mutant, &mut self.counts),
            None => Ok(Vec::new()),
        }
    }
}
