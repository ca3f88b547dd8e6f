//! Humans who act on runs.

use bellwether_api::status::Phase;
use bellwether_hub_core::run::{ActionKind, PendingAction, RunStatus, WavePhase};
use rand::{Rng, seq::IndexedRandom};
use uuid::Uuid;

use super::Play;
use crate::database::ActionRow;

impl Play {
    fn say(&mut self, kind: ActionKind) {
        self.say_of(kind, None, None);
    }

    /// Says something of the run, or of one cluster; `to_revision` is what a rollback names.
    fn say_of(&mut self, kind: ActionKind, cluster: Option<Uuid>, to_revision: Option<u64>) {
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
            cluster,
            step: None,
            expected_revision: None,
            set: None,
            to: None,
            by: name.to_owned(),
            reason: String::new(),
        };
        let what = match (kind, cluster, to_revision) {
            (ActionKind::Rollback, None, None) => "rollback-all",
            (ActionKind::Rollback, None, Some(_)) => "undo",
            _ => kind.as_str(),
        };
        self.counts.one(&format!("human/{what}"));
        self.database.actions.push(ActionRow {
            run,
            action,
            to_revision,
            answer: None,
        });
    }

    /// Humans who do not wait for an old version that may never come back.
    fn impatient_humans(&mut self) {
        if !self.scenario.world.theme.breaks_versions() || self.second % 5 != 0 {
            return;
        }
        let statuses = self.database.statuses.values();
        let mut tracks = statuses.flat_map(|row| &row.status.rollouts);
        let waits = tracks.any(|track| track.phase == Phase::Initializing);
        if waits && self.rng.random_bool(0.2) {
            self.say(ActionKind::Promote);
        }
    }

    pub(super) fn hasty_humans(&mut self) {
        self.impatient_humans();
        let kind = match self.rng.random_range(0..240) {
            0 => ActionKind::Suspend,
            1..=4 => ActionKind::Resume,
            5..=9 => ActionKind::Approve,
            10 => ActionKind::Abort,
            11 | 12 => ActionKind::Retry,
            13 => ActionKind::Promote,
            14 | 15 => ActionKind::Skip,
            16 => ActionKind::Rollback,
            17 => {
                let revision = self.rng.random_range(1..4);
                return self.say_of(ActionKind::Rollback, None, Some(revision));
            }
            18 => {
                let number = self.rng.random_range(0..self.agents.len());
                let cluster = self.agents[number].cluster;
                return self.say_of(ActionKind::Rollback, Some(cluster), None);
            }
            _ => return,
        };
        self.say(kind);
    }

    /// Humans who say yes: they resume, approve, and give up on what failed twice.
    pub(super) fn patient_humans(&mut self) {
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
            (RunStatus::Progressing, false) if gated || self.somebody_waits() => {
                self.say(ActionKind::Approve)
            }
            (RunStatus::Halted { .. }, true) => self.say(ActionKind::Resume),
            (RunStatus::Halted { .. }, false) if self.retried < revision => {
                self.retried = revision;
                self.say(ActionKind::Retry);
            }
            (RunStatus::Halted { .. }, false) => self.say(ActionKind::Abort),
            // Who catches up with what has ended waits at its gates too.
            (RunStatus::Succeeded { .. } | RunStatus::Failed { .. }, _)
                if self.somebody_waits() =>
            {
                self.say(ActionKind::Approve)
            }
            _ => {}
        }
    }

    /// Tells whether the run of a cluster waits for a human.
    fn somebody_waits(&self) -> bool {
        let statuses = self.database.statuses.values();
        let mut tracks = statuses.flat_map(|row| &row.status.rollouts);
        tracks.any(|track| matches!(track.phase, Phase::Paused | Phase::WaitingPromotion))
    }
}
