//! What an unquoted scalar means. The rules are those of Go's yaml.v2, which `kubectl` reads with.

use serde_json::{Number, Value};

/// A number that JSON cannot carry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotFinite;

/// Resolves an unquoted scalar.
pub(super) fn resolve(text: &str) -> Result<Value, NotFinite> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return Err(NotFinite),
        _ => {}
    }
    if matches!(
        text.trim_start_matches(['+', '-']),
        ".inf" | ".Inf" | ".INF"
    ) {
        return Err(NotFinite);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::from(text));
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return Ok(Value::Number(number));
    }
    if is_float(&plain) {
        let value: f64 = plain.parse().map_err(|_| NotFinite)?;
        return float(value).map(Value::Number);
    }
    Ok(Value::from(text))
}

/// Reads an integer with Go's prefixes: `0x`, `0o`, `0b`, and a leading `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // from_str_radix takes a sign of its own, which would read "0x-1".
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = i64::try_from(-i128::from(magnitude)).ok()?;
        return Some(Number::from(value));
    }
    Some(Number::from(magnitude))
}

/// Matches `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    has_digits && digits(whole) && digits(fraction) && exponent_fits
}

/// Makes whole numbers integers, as a trip through Go's JSON does.
fn float(value: f64) -> Result<Number, NotFinite> {
    // 2^53: up to here every whole number is exact.
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Ok(Number::from(value as i64));
    }
    Number::from_f64(value).ok_or(NotFinite)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{NotFinite, resolve};

    #[test]
    fn reads_scalars_as_kubectl_does() {
        let table: [(&str, Value); 26] = [
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("-0644", json!(-420)),
            ("08", json!(8)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1e3", json!(1000)),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1_000", json!(1000)),
            ("+7", json!(7)),
            ("18446744073709551615", json!(u64::MAX)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("n", json!(false)),
            ("~", json!(null)),
            ("", json!(null)),
            ("25%", json!("25%")),
            ("1.2.3", json!("1.2.3")),
            ("2026-01-02", json!("2026-01-02")),
            ("0x-1", json!("0x-1")),
            ("-", json!("-")),
            (".", json!(".")),
            ("1h30m", json!("1h30m")),
            ("nO", json!("nO")),
        ];
        for (text, value) in table {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn refuses_what_json_cannot_carry() {
        for text in [".inf", "-.INF", ".nan", "1e999"] {
            assert_eq!(resolve(text), Err(NotFinite), "{text}");
        }
    }
}
