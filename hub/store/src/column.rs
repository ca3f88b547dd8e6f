//! How domain values lie in columns, and back.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Digest, StoreError};

pub(crate) fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(crate) fn timestamp(what: &'static str, at_ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(at_ms).map_err(|error| StoreError::Corrupt {
        what,
        detail: error.to_string(),
    })
}

pub(crate) fn timestamp_option(
    what: &'static str,
    at_ms: Option<i64>,
) -> Result<Option<Timestamp>, StoreError> {
    at_ms.map(|at_ms| timestamp(what, at_ms)).transpose()
}

/// Counters lie as bigint; none of them passes 63 bits unless it came from outside.
pub(crate) fn signed(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Unstorable {
        what,
        detail: "the number is beyond 63 bits",
    })
}

pub(crate) fn unsigned(what: &'static str, number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt {
        what,
        detail: "the number is negative".to_owned(),
    })
}

pub(crate) fn small(what: &'static str, number: u32) -> Result<i32, StoreError> {
    i32::try_from(number).map_err(|_| StoreError::Unstorable {
        what,
        detail: "the number is beyond 31 bits",
    })
}

pub(crate) fn small_unsigned(what: &'static str, number: i32) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Corrupt {
        what,
        detail: "the number is negative".to_owned(),
    })
}

pub(crate) fn bytes32(what: &'static str, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt {
        what,
        detail: format!("it has {} bytes and not 32", bytes.len()),
    })
}

pub(crate) fn digest(what: &'static str, bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes32(what, bytes).map(Digest)
}

/// Postgres keeps no NUL character, neither in text nor in jsonb.
pub(crate) fn refuse_nul(what: &'static str, value: &Value) -> Result<(), StoreError> {
    let held = match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => return items.iter().try_for_each(|item| refuse_nul(what, item)),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                true
            } else {
                return fields
                    .values()
                    .try_for_each(|field| refuse_nul(what, field));
            }
        }
        _ => false,
    };
    if held {
        return Err(StoreError::Unstorable {
            what,
            detail: "it holds a NUL character",
        });
    }
    Ok(())
}

/// What an agent says is kept even where it holds NUL characters: they become U+FFFD.
pub(crate) fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, field)| (key.replace('\0', "\u{fffd}"), field))
                    .collect();
            }
            fields.values_mut().for_each(without_nul);
        }
        _ => {}
    }
}

/// An enum without data lies as its own name.
pub(crate) fn name_of<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => Ok(name),
        _ => Err(StoreError::Unstorable {
            what,
            detail: "it has no name",
        }),
    }
}

pub(crate) fn from_name<T: DeserializeOwned>(
    what: &'static str,
    name: String,
) -> Result<T, StoreError> {
    from_json(what, Value::String(name))
}

pub(crate) fn from_json<T: DeserializeOwned>(
    what: &'static str,
    value: Value,
) -> Result<T, StoreError> {
    serde_json::from_value(value).map_err(|error| StoreError::Corrupt {
        what,
        detail: error.to_string(),
    })
}
