//! Spans of time and versions as people read them.

use jiff::{SignedDuration, Timestamp};

/// A time of day tells which day it is on within this of now.
const HALF_A_DAY: SignedDuration = SignedDuration::from_hours(12);

/// Writes a span: `9s`, `4m`, `1h30m`, `3d`. Negative spans are `0s`.
#[must_use]
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_399 => format!("{minutes}m"),
        5_400..=172_799 => {
            let rest = minutes % 60;
            if rest == 0 || hours >= 10 {
                format!("{hours}h")
            } else {
                format!("{hours}h{rest}m")
            }
        }
        _ => format!("{days}d"),
    }
}

/// Writes how long ago `at` (RFC 3339) was; `-` for no or an unreadable time.
#[must_use]
pub fn ago(at: Option<&str>, now: Timestamp) -> String {
    between(at, Some(now))
}

/// Writes the span from `from` (RFC 3339) to `to`; `-` where either is missing.
#[must_use]
pub fn between(from: Option<&str>, to: Option<Timestamp>) -> String {
    match (from.and_then(|text| text.parse::<Timestamp>().ok()), to) {
        (Some(from), Some(to)) => span(to.duration_since(from).as_secs()),
        _ => "-".to_owned(),
    }
}

/// Writes how long it is until `at` (RFC 3339): `in 23h`, or `9m ago`; `-` for an unreadable time.
#[must_use]
pub fn until(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) if at >= now => format!("in {}", span(at.duration_since(now).as_secs())),
        Ok(at) => format!("{} ago", span(now.duration_since(at).as_secs())),
        Err(_) => "-".to_owned(),
    }
}

/// Writes the time of day in UTC, `14:02:11Z`; the text itself where it is no time.
#[must_use]
pub fn clock(at: &str) -> String {
    match at.parse::<Timestamp>() {
        Ok(time) => time.strftime("%H:%M:%SZ").to_string(),
        Err(_) => at.to_owned(),
    }
}

/// Writes a time within half a day of `now` as the time of day, any other with its date,
/// `2026-03-01T14:02:11Z`; the text itself where it is no time.
#[must_use]
pub fn near_clock(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Ok(time) if time.duration_since(now).abs() < HALF_A_DAY => clock(at),
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => at.to_owned(),
    }
}

/// Writes a release: its version, else its revision.
#[must_use]
pub fn release_name(version: &str, revision: u64) -> String {
    if version.is_empty() {
        format!("rev {revision}")
    } else {
        version.to_owned()
    }
}

/// Cuts a text to `width` characters.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::{fit, span};

    #[test]
    fn spans_read_well() {
        for (seconds, text) in [
            (-4, "0s"),
            (9, "9s"),
            (99, "99s"),
            (125, "2m"),
            (5_400, "1h30m"),
            (7_200, "2h"),
            (50_000, "13h"),
            (300_000, "3d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("abc", 4), "abc");
    }
}
