//! Whether a run has anything to decide.

use bellwether_agent_core::machine::Overlay;
use jiff::{SignedDuration, Timestamp};

use super::Run;

/// How long a run that changes the cluster goes without a look although nothing woke it: not all that
/// it waits for is watched, such as an autoscaler that somebody takes away.
const LONGEST_REST: SignedDuration = SignedDuration::from_secs(60);

/// What of a run says what the cluster is to look like.
#[derive(PartialEq)]
pub(super) struct Bearing {
    overlay: Overlay,
    correct_drift: bool,
    goes_back: bool,
    is_over: bool,
    in_force: bool,
}

impl Run {
    pub(super) fn bearing(&self) -> Bearing {
        Bearing {
            overlay: self.overlay(),
            correct_drift: self.correct_drift,
            goes_back: self.goes_back(),
            is_over: self.is_over(),
            in_force: self.state.split_is_in_force(),
        }
    }

    /// Tells whether there may be something to decide: something changed, a time has come, or an answer
    /// is there.
    #[must_use]
    pub fn is_due(&self, config_held_by: &[String], now: Timestamp) -> bool {
        !self.is_over()
            && (self.due
                || self.wake_at().is_some_and(|at| at <= now)
                || self.held_by != config_held_by
                || self.is_measured()
                || self.calls.any_ended())
    }

    /// Has the run decide in the next pass.
    pub fn mark_due(&mut self) {
        self.due = true;
        self.last_look = None;
    }

    /// Has the next decision made on what is live.
    pub fn forget_look(&mut self) {
        self.last_look = None;
    }

    /// When to decide again although nothing was observed.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.is_over() {
            return None;
        }
        let rest = (!self.state.is_judged())
            .then(|| self.decided_at.checked_add(LONGEST_REST).ok())
            .flatten();
        [self.wake_at, rest].into_iter().flatten().min()
    }
}
