//! What goes wrong.

use jiff::SignedDuration;
use rand::{Rng, seq::IndexedRandom};

use super::{Play, process};
use crate::{
    agent, hub,
    hub::Hub,
    network::Weather,
    scenario::{FAULTS_UNTIL, Theme},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Play {
    /// One thing may go wrong in every second.
    pub(super) fn faults(&mut self) {
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
            15 if self.agents[cluster].member.kill_pods() => {
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
            21 | 22 => self.network.weather = Weather::default(),
            23 | 24 if self.agents[cluster].damage() => self.counts.one("fault/record-damaged"),
            25..=27 => self.agents[cluster].fuse = agent::POINTS.choose(&mut self.rng).copied(),
            28 => self.hubs[hub].fuse = hub::POINTS.choose(&mut self.rng).copied(),
            29..=33 => self.set_clock(cluster, hub),
            34..=36 => self.agents[cluster].api.bad = self.rng.random_range(5..40),
            37..=40 => self.agents[cluster].api.bad = 0,
            41 => {
                let until = self.truth() + SignedDuration::from_secs(50);
                self.agents[cluster].watch_lost = Some(until);
                self.counts.one("api/watch-lost");
            }
            42 | 43 => {
                self.agents[cluster].split();
            }
            _ => {}
        }
    }

    /// Somebody sets the wall clock of a machine: an hour forward or back, or right again.
    fn set_clock(&mut self, cluster: usize, hub: usize) {
        let ahead = [-HOUR, SignedDuration::ZERO, HOUR];
        let ahead = ahead.choose(&mut self.rng).copied().unwrap_or_default();
        let (clock, whose) = match self.rng.random_range(0..5) {
            0 => (&mut self.database.wall, "database"),
            1 | 2 => (&mut self.hubs[hub].wall, "hub"),
            _ => (&mut self.agents[cluster].wall, "agent"),
        };
        if *clock != ahead {
            let way = if ahead > *clock { "forward" } else { "back" };
            self.counts.one(&format!("clock/{whose}-{way}"));
            *clock = ahead;
        }
    }

    fn crash_hub(&mut self, index: usize) {
        if !self.hubs[index].alive {
            return;
        }
        self.counts.one("fault/hub-crash");
        self.hubs[index].crash();
        self.hub_gone(index);
    }

    /// Agents notice at once that a hub's process is gone.
    pub(super) fn hub_gone(&mut self, index: usize) {
        for agent in &mut self.agents {
            agent.hub_gone(index);
        }
    }

    fn restart_hub(&mut self, index: usize) {
        if !self.hubs[index].alive {
            self.counts.one("fault/hub-restart");
            let wall = self.hubs[index].wall;
            self.hubs[index] = Hub::new(index, process(self.processes), wall);
            self.hubs[index].rate = self.rate();
            self.processes += 1;
        }
    }

    /// How fast the clocks of a hub's machine run, in percent.
    pub(super) fn rate(&mut self) -> u32 {
        if self.scenario.world.theme != Theme::Rates || self.second >= FAULTS_UNTIL {
            return 100;
        }
        let rate = self.rng.random_range(50..=200);
        self.counts.one(match rate {
            ..100 => "clock/hub-slow",
            _ => "clock/hub-fast",
        });
        rate
    }

    fn restart_agent(&mut self, index: usize) {
        let truth = self.truth();
        if !self.agents[index].alive {
            self.counts.one("fault/agent-restart");
            self.agents[index].restart(truth);
        }
    }

    /// Nothing goes wrong any more; clocks stay as they were set.
    pub(super) fn mend(&mut self) {
        let truth = self.truth();
        self.network.heal();
        for index in 0..self.hubs.len() {
            self.hubs[index].fuse = None;
            self.hubs[index].keep_pace(truth);
            self.restart_hub(index);
        }
        for index in 0..self.agents.len() {
            self.agents[index].fuse = None;
            self.agents[index].metrics = true;
            self.agents[index].calm = true;
            if !self.agents[index].durable.is_busy() {
                // Nobody but a human does that outside of a run.
                self.agents[index].member.delete_broken_pods();
            }
            self.restart_agent(index);
        }
    }
}
