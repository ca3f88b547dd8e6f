//! The times that the agent knows: the steady one, by which everything that lasts is told, and the
//! wall clock, by which certificates are judged and people read.

use std::time::Instant;

use bellwether_api::steady::SteadyTime;
use jiff::Timestamp;

/// The agent's steady time; copies are the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    time: SteadyTime,
    began: Instant,
}

impl Clock {
    /// Begins now. `saved` = the latest instant that a run which is under way was saved with;
    /// absent = none is.
    #[must_use]
    pub fn begin(saved: Option<Timestamp>) -> Self {
        Self {
            time: SteadyTime::begin(wall(), saved),
            began: Instant::now(),
        }
    }

    /// Tells the time.
    #[must_use]
    pub fn now(self) -> Timestamp {
        self.time.at(self.began.elapsed())
    }
}

/// Tells the wall clock's time. Nothing that lasts is counted in it, since it may be set.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the wall clock is read"
)]
pub fn wall() -> Timestamp {
    Timestamp::now()
}
