//! Amounts as Kubernetes writes them: `500m`, `16`, `64Gi`.

/// Reads a quantity in thousandths; `None` for what is none, is finer than that, or is too large.
#[must_use]
pub fn thousandths(text: &str) -> Option<i128> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let multiplier: i128 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = number.checked_mul(multiplier)?;
    (scaled % scale == 0).then_some(scaled / scale)
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[test]
    fn amounts_are_read_as_kubernetes_means_them() {
        assert_eq!(thousandths("1500m"), Some(1_500));
        assert_eq!(thousandths("1.5"), Some(1_500));
        assert_eq!(thousandths("64Gi"), Some((64 << 30) * 1_000));
        for wrong in ["", "16 cores", "-1", "1.0001m", "Gi", "1e3"] {
            assert_eq!(thousandths(wrong), None, "{wrong}");
        }
    }
}
