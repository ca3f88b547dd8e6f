//! Durations as users write them: Go duration strings such as `90s` or `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a duration looks like, for schemas.
pub const PATTERN: &str =
    r"^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h)|\.[0-9]+(ns|us|µs|ms|s|m|h))+)$";

/// A span of time written as a Go duration string (`"300ms"`, `"90s"`, `"1h30m"`), never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dur(Duration);

/// A text that is no Go duration string.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read {text:?} as a duration; write it like \"90s\" or \"1h30m\"")]
pub struct ParseDurError {
    /// The text as it was given.
    pub text: String,
}

impl Dur {
    /// Makes a duration of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Makes a duration of milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// Returns the span as the standard library's type.
    #[must_use]
    pub const fn as_std(self) -> Duration {
        self.0
    }

    /// Returns the span in whole milliseconds, cut at `i64::MAX`.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns the span as a signed duration for arithmetic with timestamps.
    #[must_use]
    pub fn as_signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_millis(self.as_millis())
    }
}

impl From<Duration> for Dur {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl FromStr for Dur {
    type Err = ParseDurError;

    /// Reads the grammar of Go's `time.ParseDuration` without signs:
    /// one or more `<decimal><unit>` with the units ns, us, µs, ms, s, m and h; `0` alone is zero.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseDurError {
            text: text.to_owned(),
        };
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .filter(|end| *end > 0)
                .ok_or_else(fail)?;
            let (amount, tail) = rest.split_at(digits);
            let unit_len = tail
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            let unit_nanos = unit_nanos(unit).ok_or_else(fail)?;
            nanos = nanos
                .checked_add(decimal_nanos(amount, unit_nanos).ok_or_else(fail)?)
                .ok_or_else(fail)?;
            rest = tail;
        }
        if text.is_empty() {
            return Err(fail());
        }
        let nanos = u64::try_from(nanos).map_err(|_| fail())?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn decimal_nanos(amount: &str, unit_nanos: u128) -> Option<u128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 12 {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(unit_nanos)?;
    if !fraction.is_empty() {
        let numerator: u128 = fraction.parse().ok()?;
        let denominator = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(numerator.checked_mul(unit_nanos)? / denominator)?;
    }
    Some(total)
}

impl fmt::Display for Dur {
    /// Writes the shortest exact form with the units h, m, s and ms, as `kubectl` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_ms = self.0.as_millis();
        if total_ms == 0 {
            return f.write_str("0s");
        }
        let (hours, rest) = (total_ms / 3_600_000, total_ms % 3_600_000);
        let (minutes, rest) = (rest / 60_000, rest % 60_000);
        let (seconds, millis) = (rest / 1_000, rest % 1_000);
        for (amount, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s"), (millis, "ms")] {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Dur {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dur {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Dur {
    fn schema_name() -> Cow<'static, str> {
        "Dur".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A Go duration string such as 90s or 1h30m.",
            "pattern": PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Dur;

    #[test]
    fn reads_go_durations() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("300ms", 300),
            ("1.5s", 1_500),
            ("0", 0),
        ] {
            assert_eq!(
                text.parse::<Dur>().map(Dur::as_millis),
                Ok(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "1d",
            "1.s.s",
            "999999999999999999999h",
        ] {
            assert!(text.parse::<Dur>().is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["90s", "1h30m", "1m30s", "250ms", "0s"] {
            let value: Dur = text.parse().expect("a valid duration");
            assert_eq!(value.to_string().parse::<Dur>(), Ok(value));
        }
        assert_eq!(Dur::from_secs(90).to_string(), "1m30s");
    }
}
