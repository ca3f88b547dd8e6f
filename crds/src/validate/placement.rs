//! Checks of how clusters are chosen, and of what keeps applications away from them.

use std::{collections::BTreeMap, time::Duration};

use super::{division::division, finding::Findings, names};
use crate::{
    document::FieldPath,
    placement::{
        Affinity, AffinityOperator, Failover, Pick, PlacementPolicy, Property, PropertyForm, Score,
        Spread, Taint, Toleration, TolerationOperator, version_numbers,
    },
    quantity,
};

/// Hubs and agents reconnect for many reasons; none of them may move an application.
const SHORTEST_FAILOVER: Duration = Duration::from_secs(60);

/// Checks how an application chooses its clusters.
pub(super) fn policy(findings: &mut Findings, path: &FieldPath, policy: &PlacementPolicy) {
    let count = path.key("count");
    match (policy.pick, policy.count) {
        (Pick::All, Some(_)) => {
            findings.error(&count, "only pick: N takes a count; set pick: N as well");
        }
        (Pick::N, None) => findings.error(&count, "pick: N needs to know how many"),
        (Pick::N, Some(0)) => findings.error(&count, "use at least 1"),
        (Pick::All, None) | (Pick::N, Some(_)) => {}
    }
    let at = path.key("affinity");
    for (index, one) in policy.affinity.iter().enumerate() {
        affinity(findings, &at.index(index), one);
    }
    let at = path.key("tolerations");
    for (index, one) in policy.tolerations.iter().enumerate() {
        toleration(findings, &at.index(index), one);
    }
    let at = path.key("scores");
    scores(findings, &at, policy.pick, &policy.scores);
    spread(findings, &path.key("spread"), &policy.spread);
    if let Some(failover) = &policy.failover {
        check_failover(findings, &path.key("failover"), policy.pick, failover);
    }
    if let Some(one) = &policy.division {
        division(findings, &path.key("division"), one);
    }
}

fn affinity(findings: &mut Findings, path: &FieldPath, affinity: &Affinity) {
    match (&affinity.label, affinity.property) {
        (Some(_), Some(_)) | (None, None) => {
            findings.error(path, "set exactly one of label and property");
        }
        (Some(label), None) => names::metadata_key(findings, &path.key("label"), label),
        (None, Some(_)) => {}
    }
    let (operator, values) = (affinity.operator, path.key("values"));
    let compares = matches!(
        operator,
        AffinityOperator::AtLeast | AffinityOperator::AtMost
    );
    let form = affinity.property.map(Property::form);
    if compares && matches!(form, None | Some(PropertyForm::Words)) {
        findings.error(
            &path.key("operator"),
            format!(
                "{operator:?} compares versions and numbers; use In, NotIn, Exists or DoesNotExist"
            ),
        );
        return;
    }
    let lists = matches!(operator, AffinityOperator::In | AffinityOperator::NotIn);
    match affinity.values.len() {
        0 if lists => findings.error(&values, format!("{operator:?} needs at least one value")),
        0 | 2.. if compares => findings.error(&values, format!("{operator:?} takes one value")),
        1.. if !lists && !compares => {
            findings.error(&values, format!("{operator:?} takes no values"));
        }
        _ => {}
    }
    for (index, value) in affinity.values.iter().enumerate() {
        let at = values.index(index);
        match form {
            None => names::label_value(findings, &at, value),
            Some(form) => property_value(findings, &at, form, value),
        }
    }
}

fn property_value(findings: &mut Findings, path: &FieldPath, form: PropertyForm, value: &str) {
    let (reads, like) = match form {
        PropertyForm::Version => (
            version_numbers(value).is_some(),
            "a version such as \"1.31\"",
        ),
        PropertyForm::Count => (value.parse::<u32>().is_ok(), "a number such as \"3\""),
        PropertyForm::Quantity => (
            quantity::thousandths(value).is_some(),
            "an amount such as \"16\" or \"64Gi\"",
        ),
        PropertyForm::Words => (!value.is_empty(), "a word"),
    };
    if !reads {
        findings.error(path, format!("{value:?} does not compare; write {like}"));
    }
}

fn scores(findings: &mut Findings, path: &FieldPath, pick: Pick, scores: &[Score]) {
    if pick == Pick::All && !scores.is_empty() {
        findings.error(
            path,
            "pick: All takes every cluster; scores choose with pick: N",
        );
    }
    for (index, score) in scores.iter().enumerate() {
        if score.property.form() == PropertyForm::Words {
            findings.error(
                &path.index(index).key("property"),
                format!(
                    "{:?} has no order; use KubernetesVersion, ReadyNodes, or an amount of Cpu or Memory \
                     that is Allocatable, Requested or Free",
                    score.property
                ),
            );
        }
    }
}

fn spread(findings: &mut Findings, path: &FieldPath, spread: &[Spread]) {
    let mut seen = BTreeMap::new();
    for (index, one) in spread.iter().enumerate() {
        let at = path.index(index);
        names::metadata_key(findings, &at.key("by"), &one.by);
        if let Some(first) = seen.insert(&one.by, index) {
            findings.error(
                &at.key("by"),
                format!(
                    "{:?} stands here twice; the first is at index {first}",
                    one.by
                ),
            );
        }
        for (field, value) in [("max", one.max), ("min", one.min)] {
            if value == Some(0) {
                findings.error(&at.key(field), "use at least 1");
            }
        }
        if let (Some(min), Some(max)) = (one.min, one.max)
            && min > max
        {
            findings.error(
                &at.key("min"),
                format!("{min} is above max, which is {max}"),
            );
        }
    }
}

fn check_failover(findings: &mut Findings, path: &FieldPath, pick: Pick, failover: &Failover) {
    if pick == Pick::All {
        findings.error(
            path,
            "pick: All has every cluster already; failover chooses another with pick: N",
        );
    }
    if failover.after.as_std() < SHORTEST_FAILOVER {
        findings.error(
            &path.key("after"),
            "use at least 1m: a cluster that is away for less has usually lost its hub, not its pods",
        );
    }
}

/// Checks the taints of a cluster.
pub(super) fn taints(findings: &mut Findings, path: &FieldPath, taints: &[Taint]) {
    for (index, taint) in taints.iter().enumerate() {
        let at = path.index(index);
        names::metadata_key(findings, &at.key("key"), &taint.key);
        if let Some(value) = &taint.value {
            names::label_value(findings, &at.key("value"), value);
        }
        let same = |one: &&Taint| one.key == taint.key && one.effect == taint.effect;
        if taints[..index].iter().any(|one| same(&one)) {
            findings.error(&at, "a taint of this key and effect stands here already");
        }
    }
}

fn toleration(findings: &mut Findings, path: &FieldPath, toleration: &Toleration) {
    let exists = toleration.operator == TolerationOperator::Exists;
    match &toleration.key {
        Some(key) => names::metadata_key(findings, &path.key("key"), key),
        None if exists => {}
        None => findings.error(
            &path.key("key"),
            "Equal needs a key; operator: Exists without one tolerates everything",
        ),
    }
    if exists && toleration.value.is_some() {
        findings.error(&path.key("value"), "Exists takes no value");
    }
}
