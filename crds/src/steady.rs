//! Time by which durations are told: it begins at the wall clock once and passes by a monotonic
//! clock from then on.

use std::time::Duration;

use jiff::Timestamp;

/// The steady time of one process. A step of the wall clock moves nothing that is counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteadyTime {
    began_at: Timestamp,
}

impl SteadyTime {
    /// Begins at `wall`, or at `saved` if that is later: the latest instant that was saved before
    /// this process; absent = none was. A wall clock that was set back between two processes
    /// would otherwise make what the first one began end later than it should, or look as if it
    /// had not begun.
    #[must_use]
    pub fn begin(wall: Timestamp, saved: Option<Timestamp>) -> Self {
        Self {
            began_at: saved.map_or(wall, |saved| saved.max(wall)),
        }
    }

    /// Tells the time `elapsed` after the beginning, by the monotonic clock; the end of time when
    /// it lies beyond.
    #[must_use]
    pub fn at(self, elapsed: Duration) -> Timestamp {
        self.began_at
            .saturating_add(elapsed)
            .unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn noon() -> Timestamp {
        Timestamp::constant(1_767_268_800, 0)
    }

    /// Plays a wall clock beside a process that asks for the time after 10 s and, with the wall
    /// clock `stepped`, after 20 s. Gives what it is told has passed in between.
    fn passed(stepped: SignedDuration) -> SignedDuration {
        let mut wall = noon();
        let time = SteadyTime::begin(wall, None);
        wall += SignedDuration::from_secs(10);
        let before = time.at(Duration::from_secs(10));
        assert_eq!(before, wall, "until a step it is the wall clock");
        wall += SignedDuration::from_secs(10) + stepped;
        let after = time.at(Duration::from_secs(20));
        assert_eq!(wall.duration_since(after), stepped);
        after.duration_since(before)
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_no_duration() {
        for stepped in [SignedDuration::ZERO, HOUR, -HOUR] {
            assert_eq!(passed(stepped), SignedDuration::from_secs(10), "{stepped}");
        }
    }

    #[test]
    fn it_never_begins_before_what_was_saved() {
        for (name, wall, saved, begins) in [
            ("nothing was saved", noon(), None, noon()),
            ("time went on", noon(), Some(noon() - HOUR), noon()),
            ("set back in between", noon() - HOUR, Some(noon()), noon()),
            (
                "set forward in between",
                noon() + HOUR,
                Some(noon()),
                noon() + HOUR,
            ),
        ] {
            let time = SteadyTime::begin(wall, saved);
            assert_eq!(time.at(Duration::ZERO), begins, "{name}");
        }
    }

    #[test]
    fn a_soak_ends_on_time_after_a_restart_with_the_clock_set_back() {
        let soak = SignedDuration::from_mins(5);
        let since = SteadyTime::begin(noon(), None).at(Duration::from_secs(60));
        let saved = since + SignedDuration::from_secs(60);
        let restarted = SteadyTime::begin(noon() - HOUR, Some(saved));
        let at = |secs| {
            restarted
                .at(Duration::from_secs(secs))
                .duration_since(since)
        };
        assert!(at(0) >= SignedDuration::ZERO, "never negative");
        assert!(at(239) < soak);
        assert_eq!(at(240), soak, "the hour is not waited for again");
    }

    #[test]
    fn it_stops_at_the_end_of_time() {
        let time = SteadyTime::begin(Timestamp::MAX, None);
        assert_eq!(time.at(Duration::from_secs(1)), Timestamp::MAX);
    }
}
