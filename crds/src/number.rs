//! Numbers as users write them: weights, counts or percentages, and decimal strings.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a count or a percentage looks like when written as a text, for schemas.
pub const INT_OR_PERCENT_PATTERN: &str = "^[0-9]+%?$";
/// What a decimal number looks like, for schemas.
pub const NUM_PATTERN: &str = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)$";

/// A share of traffic in whole percent, 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Weight(u8);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(100);

    /// Makes a weight; `None` above 100.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 {
            Some(Self(percent))
        } else {
            None
        }
    }

    /// Makes a weight, cut at 100.
    #[must_use]
    pub fn clamped(percent: u32) -> Self {
        Self(u8::try_from(percent.min(100)).unwrap_or(100))
    }

    /// Returns the share in percent.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// Returns what is left for the other side.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(100 - self.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = i64::deserialize(deserializer)?;
        u8::try_from(percent)
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| de::Error::custom(format!("{percent} is no weight; use 0 to 100")))
    }
}

impl JsonSchema for Weight {
    fn schema_name() -> Cow<'static, str> {
        "Weight".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 0, "maximum": 100})
    }
}

/// A count (`3`) or a share (`"25%"`) of something countable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntOrPercent {
    /// An absolute count.
    Int(u32),
    /// A share in percent.
    Percent(u32),
}

impl IntOrPercent {
    /// Resolves against `total`, rounded up, at least 1 while the share is above 0
    /// (decision C9: sizes of pods).
    #[must_use]
    pub fn ceil_of(self, total: u32) -> u32 {
        match self {
            Self::Int(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => {
                let scaled = (u64::from(total) * u64::from(percent)).div_ceil(100);
                u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
            }
        }
    }

    /// Resolves against `total`, rounded down, at least `floor` (limits such as `maxConcurrent`).
    #[must_use]
    pub fn floor_of(self, total: u32, floor: u32) -> u32 {
        match self {
            Self::Int(count) => count.max(floor),
            Self::Percent(percent) => {
                let scaled = u64::from(total) * u64::from(percent) / 100;
                u32::try_from(scaled).unwrap_or(u32::MAX).max(floor)
            }
        }
    }
}

/// A text that is neither a count nor a percentage.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read {text:?} as a count or a percentage; write 3 or \"25%\"")]
pub struct ParseIntOrPercentError {
    /// The text as it was given.
    pub text: String,
}

impl FromStr for IntOrPercent {
    type Err = ParseIntOrPercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseIntOrPercentError {
            text: text.to_owned(),
        };
        // Integers of the standard library may carry a plus sign.
        if text.starts_with('+') {
            return Err(fail());
        }
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().map(Self::Percent).map_err(|_| fail()),
            None => text.parse().map(Self::Int).map_err(|_| fail()),
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Int(u32),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Int(count) => Ok(Self::Int(count)),
            Raw::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "pattern": INT_OR_PERCENT_PATTERN})
    }
}

/// A decimal number written as a string (`"99"`, `"0.5"`), because specs carry no floats.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Num(String);

/// A text that is no finite decimal number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read {text:?} as a decimal number; write it like \"99\" or \"0.5\"")]
pub struct ParseNumError {
    /// The text as it was given.
    pub text: String,
}

impl Num {
    /// Returns the value; finite by construction.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.0.parse().unwrap_or(0.0)
    }
}

impl FromStr for Num {
    type Err = ParseNumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shaped = !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'))
            && text.parse::<f64>().is_ok_and(f64::is_finite);
        if shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseNumError {
                text: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Num {
    fn schema_name() -> Cow<'static, str> {
        "Num".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": NUM_PATTERN})
    }
}

/// Seconds in whole milliseconds, rounded; what is out of range becomes the nearest that is not, NaN zero.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, which a time that is no time may do"
)]
pub fn milliseconds_of(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// A count that came as a decimal number, rounded; what is out of range becomes the nearest that is not, NaN zero.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, which is what a count needs"
)]
pub fn count_of(number: f64) -> u32 {
    number.round() as u32
}
