//! Whether a cluster is what a policy asks for, as far as that is known.

use bellwether_api::{
    placement::{Affinity, AffinityOperator, Property, version_numbers},
    quantity,
};

use super::{ClusterFacts, Properties};

/// A property as it is compared.
enum Value<'a> {
    Version(Vec<u64>),
    /// In thousandths.
    Number(i128),
    Words(&'a [String]),
}

/// Tells whether the cluster is what `wanted` says; absent = it is not known.
pub(super) fn holds(wanted: &Affinity, cluster: &ClusterFacts) -> Option<bool> {
    let values = &wanted.values;
    if let Some(label) = &wanted.label {
        let found = cluster.labels.get(label);
        let listed = found.is_some_and(|found| values.contains(found));
        return Some(match wanted.operator {
            AffinityOperator::In => listed,
            AffinityOperator::NotIn => !listed,
            AffinityOperator::Exists => found.is_some(),
            AffinityOperator::DoesNotExist => found.is_none(),
            // Labels have no order: validation refuses it, and what is refused matches nothing.
            AffinityOperator::AtLeast | AffinityOperator::AtMost => false,
        });
    }
    let property = wanted.property?;
    let value = value(property, &cluster.scheduling.properties)?;
    let equals_one = || {
        values
            .iter()
            .any(|one| compare(&value, one, |order| order.is_eq()))
    };
    Some(match wanted.operator {
        AffinityOperator::In => equals_one(),
        AffinityOperator::NotIn => !equals_one(),
        AffinityOperator::Exists => !is_empty(&value),
        AffinityOperator::DoesNotExist => is_empty(&value),
        AffinityOperator::AtLeast => values
            .iter()
            .all(|one| compare(&value, one, |order| order.is_ge())),
        AffinityOperator::AtMost => values
            .iter()
            .all(|one| compare(&value, one, |order| order.is_le())),
    })
}

/// Returns a property that has an order as a number, so that more is more; absent = it is not known,
/// or has none.
pub(super) fn rank(property: Property, properties: &Properties) -> Option<i128> {
    match value(property, properties)? {
        Value::Number(number) => Some(number),
        Value::Version(numbers) => {
            let at = |index: usize| i128::from(numbers.get(index).copied().unwrap_or_default());
            // No part of a version of Kubernetes comes near 2^32.
            Some((at(0) << 64) + (at(1) << 32) + at(2))
        }
        Value::Words(_) => None,
    }
}

fn value(property: Property, properties: &Properties) -> Option<Value<'_>> {
    let nodes = properties.nodes.as_ref();
    let number = |thousandths: u128| i128::try_from(thousandths).ok().map(Value::Number);
    let requested = || nodes?.requested;
    let free = || nodes?.free();
    match property {
        Property::KubernetesVersion => {
            let version = properties.kubernetes_version.as_ref()?;
            version_numbers(version).map(Value::Version)
        }
        Property::ReadyNodes => number(u128::from(nodes?.ready) * 1_000),
        Property::AllocatableCpu => number(u128::from(nodes?.allocatable_cpu_milli)),
        Property::AllocatableMemory => number(u128::from(nodes?.allocatable_memory_bytes) * 1_000),
        Property::RequestedCpu => number(u128::from(requested()?.cpu_milli)),
        Property::RequestedMemory => number(u128::from(requested()?.memory_bytes) * 1_000),
        Property::FreeCpu => number(u128::from(free()?.cpu_milli)),
        Property::FreeMemory => number(u128::from(free()?.memory_bytes) * 1_000),
        Property::Region => Some(Value::Words(&nodes?.regions)),
        Property::Zone => Some(Value::Words(&nodes?.zones)),
        Property::ApiKinds if properties.api_kinds.is_empty() => None,
        Property::ApiKinds => Some(Value::Words(&properties.api_kinds)),
    }
}

fn is_empty(value: &Value<'_>) -> bool {
    matches!(value, Value::Words([]))
}

/// Compares what is with what is written; what cannot be read matches nothing.
fn compare(value: &Value<'_>, written: &str, fits: impl Fn(std::cmp::Ordering) -> bool) -> bool {
    match value {
        Value::Words(words) => words.iter().any(|word| word == written),
        Value::Number(number) => {
            quantity::thousandths(written).is_some_and(|written| fits(number.cmp(&written)))
        }
        Value::Version(numbers) => version_numbers(written).is_some_and(|written| {
            // `1.31` says nothing of the patch.
            let said = numbers.len().min(written.len());
            fits(numbers[..said].cmp(&written[..]))
        }),
    }
}
