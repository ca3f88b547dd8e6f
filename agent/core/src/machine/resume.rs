//! A run that another process of the agent left behind.

use bellwether_api::duration::Dur;
use jiff::{SignedDuration, Timestamp};

use super::state::{Clock, RunState};

/// What is left of the progress deadline at least, as one part in so many, when a process takes a
/// run up: it must have looked for a while before it says that nothing moves.
const LEFT_AT_LEAST: i64 = 4;

impl RunState {
    /// Takes the state up at `now`, in a process that did not make it. How long nobody looked is
    /// not known, so that the time without progress counts on, but never so far that the deadline
    /// ends the run before this process has seen whether anything moved. That the old version was not
    /// available all the time is not known either: it counts from now on.
    #[must_use]
    pub fn taken_up(mut self, progress_deadline: Dur, now: Timestamp) -> Self {
        let deadline = progress_deadline.as_millis();
        let most = SignedDuration::from_millis(deadline - deadline / LEFT_AT_LEAST);
        if self.clock.elapsed(now) > most {
            self.clock = Clock {
                spent: most,
                running_since: self.clock.running_since.map(|_| now),
            };
        }
        self.broken_since = None;
        self
    }

    /// Returns the latest past instant that the state holds: no time that is told from it on may
    /// begin before.
    #[must_use]
    pub fn latest_instant(&self) -> Timestamp {
        let checks = self.checks.iter().filter_map(|check| check.at.parse().ok());
        let verdicts = self.verdicts.iter().map(|verdict| verdict.at);
        checks
            .chain(verdicts)
            .chain(self.clock.running_since)
            .chain(self.broken_since)
            .chain([self.started_at])
            .fold(self.entered_at, Timestamp::max)
    }
}
