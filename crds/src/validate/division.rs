//! Checks of how replicas are divided.

use super::{finding::Findings, names};
use crate::{
    division::{Division, DivisionMode},
    document::FieldPath,
};

/// The largest weight.
const MAX_WEIGHT: u32 = 1_000_000;

/// Checks how the replicas of an application are divided.
pub(super) fn division(findings: &mut Findings, path: &FieldPath, division: &Division) {
    let weights = path.key("weights");
    if division.mode != DivisionMode::Static && !division.weights.is_empty() {
        findings.error(
            &weights,
            format!(
                "{:?} divides by what clusters have free; weights go with mode: Static",
                division.mode
            ),
        );
    }
    for (index, one) in division.weights.iter().enumerate() {
        let at = weights.index(index);
        if one.selector.is_none() && one.clusters.is_empty() {
            findings.error(
                &at,
                "says of no cluster how much it weighs; set selector, clusters or both",
            );
        }
        if let Some(selector) = &one.selector {
            names::selector(findings, &at.key("selector"), selector);
        }
        if one.weight > MAX_WEIGHT {
            findings.error(
                &at.key("weight"),
                format!("{} is above {MAX_WEIGHT}", one.weight),
            );
        }
    }
}
