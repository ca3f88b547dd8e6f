//! How often everything happened: a simulation that never met a fault or a state proves nothing
//! about it.

use std::{collections::BTreeMap, fmt};

use bellwether_agent_core::machine::{PromotionPart, RollbackPart, RunState, Stage};
use bellwether_api::{number::Weight, status::WaitReason};

use crate::{agent, hub};

/// Counters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

/// Faults that every batch of seeds must meet.
pub const FAULTS: &[&str] = &[
    "api/409",
    "api/429",
    "api/500",
    "api/lost-reply",
    "api/lost-save",
    "api/read-failed",
    "api/stale-read",
    "api/watch-lost",
    "clock/agent-back",
    "clock/agent-forward",
    "clock/database-back",
    "clock/database-forward",
    "clock/hub-back",
    "clock/hub-forward",
    "clock/watched",
    "cluster/load-changed",
    "drift/corrected",
    "fault/agent-restart",
    "fault/bad-metrics",
    "fault/cluster-cut",
    "fault/event-dropped",
    "fault/hook-asked-again",
    "fault/hook-contradicts",
    "fault/hook-late",
    "fault/hook-lost",
    "fault/hub-crash",
    "fault/hub-restart",
    "fault/message-delayed",
    "fault/message-dropped",
    "fault/message-repeated",
    "fault/no-metrics",
    "fault/pods-killed",
    "fault/pods-never-ready",
    "fault/record-damaged",
    "fault/release-mid-run",
    "fault/save-conflict",
    "fault/session-replaced",
    "fault/track-changed",
    "fault/track-conflict",
    "fault/two-agents",
    "fleet/came-back",
    "fleet/joined",
    "fleet/left",
    "fleet/relabelled",
    "human/abort",
    "human/apply-again",
    "human/approve",
    "human/delete",
    "human/deleted-workload",
    "human/edited-canary",
    "human/edited-route",
    "human/edited-service",
    "human/edited-workload",
    "human/others-deleted",
    "human/promote",
    "human/resume",
    "human/retry",
    "human/rollback",
    "human/rollback-all",
    "human/scaled",
    "human/skip",
    "human/suspend",
    "human/undo",
];

/// States that every batch of seeds must meet.
pub const STATES: &[&str] = &[
    "agent/Failed",
    "agent/Initializing",
    "agent/Pausing",
    "agent/Pinning",
    "agent/Promoting",
    "agent/Removed",
    "agent/RollingBack",
    "agent/Step",
    "agent/Succeeded",
    "batch/Failed",
    "batch/Promoting",
    "batch/RollingBack",
    "batch/Step",
    "batch/Succeeded",
    "brake/clusters",
    "brake/units",
    "hook/told",
    "hub/Aborted",
    "hub/Aborting",
    "hub/Deleted",
    "hub/Failed",
    "hub/Halted",
    "hub/Progressing",
    "hub/RollingBack",
    "hub/Succeeded",
    "hub/Superseded",
    "sync/delta",
    "sync/snapshot",
    "sync/taken-away",
    "wave/Opening",
    "wave/Passed",
    "wave/Settling",
];

/// Splits that every batch of seeds must meet in which more than weights says which requests go where.
pub const SPLITS: &[&str] = &["split/all", "split/matches", "split/mirror"];

/// What every batch of seeds must meet in which pods of old versions break.
pub const REPLACING: &[&str] = &["fault/version-broke", "replacing/forth", "replacing/back"];

/// What every batch of seeds must meet in which clusters are particular.
pub const PARTICULAR: &[&str] = &[
    "api/conversion-lost",
    "api/unconverted",
    "fault/replacing-stalled",
    "split/announced",
    "wait/KeepsReadyPods",
    "wait/ObjectNotTaken",
];

impl Counts {
    /// Counts one.
    pub fn one(&mut self, name: &str) {
        self.many(name, 1);
    }

    /// Counts many.
    pub fn many(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(sum) => *sum += count,
            None => {
                self.0.insert(name.to_owned(), count);
            }
        }
    }

    /// Adds what another play counted.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.many(name, *count);
        }
    }

    /// Counts what a run gives its canary.
    pub fn split(&mut self, state: &RunState) {
        let split = state.split();
        let met = [
            ("split/all", split.weight == Weight::FULL),
            ("split/matches", !split.matches.is_empty()),
            ("split/mirror", split.mirror > Weight::ZERO),
            ("split/announced", split.announced),
        ];
        for (name, _) in met.iter().filter(|(_, is_met)| *is_met) {
            self.one(name);
        }
    }

    /// Counts what a run waits for that few runs wait for.
    pub fn waits(&mut self, waits: &[WaitReason]) {
        for wait in waits {
            match &*wait.reason {
                "KeepsReadyPods" => self.one("wait/KeepsReadyPods"),
                "ObjectNotTaken" => self.one("wait/ObjectNotTaken"),
                _ => {}
            }
        }
    }

    /// Counts a version that comes in over one that is not available, or goes back from there.
    pub fn replacing(&mut self, state: &RunState) {
        match &state.stage {
            Stage::Promoting {
                part: PromotionPart::Replacing { .. },
            } => self.one("replacing/forth"),
            Stage::RollingBack {
                part: RollbackPart::Replacing,
                ..
            } => self.one("replacing/back"),
            _ => {}
        }
    }

    /// Returns how often something happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Returns the names of faults, states and points of death that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        FAULTS
            .iter()
            .chain(STATES)
            .chain(agent::POINTS)
            .chain(hub::POINTS)
            .copied()
            .filter(|name| self.of(name) == 0)
            .collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.0 {
            writeln!(f, "{count:>10}  {name}")?;
        }
        Ok(())
    }
}
