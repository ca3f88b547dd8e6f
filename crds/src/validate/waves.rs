//! Checks of waves and their gates.

use std::collections::BTreeMap;

use super::{finding::Findings, names};
use crate::{
    application::{Gate, Wave},
    document::FieldPath,
    number::IntOrPercent,
};

/// Checks the waves of one application.
pub(super) fn waves(findings: &mut Findings, path: &FieldPath, waves: &[Wave]) {
    let mut by_name = BTreeMap::new();
    let mut by_cluster: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, wave) in waves.iter().enumerate() {
        let at = path.index(index);
        let name = at.key("name");
        names::name(findings, &name, &wave.name);
        if let Some(first) = by_name.insert(wave.name.as_str(), index) {
            findings.error(
                &name,
                format!(
                    "two waves are named {:?}; the first is waves[{first}]",
                    wave.name
                ),
            );
        }
        let takes_the_rest = wave.selector.is_none() && wave.clusters.is_empty();
        if takes_the_rest && index + 1 < waves.len() {
            findings.error(
                &at,
                format!(
                    "wave {:?} has neither selector nor clusters, which only the last wave may: it \
                     takes every cluster of no earlier wave",
                    wave.name
                ),
            );
        }
        one(findings, &at, wave);
        for (cluster_index, cluster) in wave.clusters.iter().enumerate() {
            let first = *by_cluster.entry(cluster).or_insert(index);
            if first != index {
                findings.error(
                    &at.key("clusters").index(cluster_index),
                    format!(
                        "cluster {cluster:?} is in wave {:?} already",
                        waves[first].name
                    ),
                );
            }
        }
    }
}

fn one(findings: &mut Findings, path: &FieldPath, wave: &Wave) {
    names::cluster_list(findings, &path.key("clusters"), &wave.clusters);
    if let Some(selector) = &wave.selector {
        names::selector(findings, &path.key("selector"), selector);
    }
    concurrency(findings, &path.key("maxConcurrent"), wave.max_concurrent);
    if let Some(IntOrPercent::Percent(101..)) = wave.max_failures {
        findings.error(&path.key("maxFailures"), "a share is at most 100%");
    }
    gates(findings, &path.key("before"), &wave.before);
    gates(findings, &path.key("after"), &wave.after);
}

/// Checks a limit of how many clusters are under way at once.
pub(super) fn concurrency(findings: &mut Findings, path: &FieldPath, value: Option<IntOrPercent>) {
    match value {
        Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) => {
            findings.error(path, "0 would never start a cluster; use at least 1");
        }
        Some(IntOrPercent::Percent(101..)) => findings.error(path, "a share is at most 100%"),
        _ => {}
    }
}

fn gates(findings: &mut Findings, path: &FieldPath, gates: &[Gate]) {
    for (index, gate) in gates.iter().enumerate() {
        let at = path.index(index);
        if gate.approval.is_some() == gate.soak.is_some() {
            findings.error(&at, "a gate has exactly one of approval, soak");
        }
        if gate.soak.is_some_and(|soak| soak.as_millis() == 0) {
            findings.error(
                &at.key("soak"),
                "a soak of 0s waits for nothing; leave it out",
            );
        }
        let Some(approval) = &gate.approval else {
            continue;
        };
        let count = at.key("approval").key("count");
        let principals: std::collections::BTreeSet<&String> = approval.by.iter().collect();
        if approval.count == 0 {
            findings.error(&count, "an approval by nobody is no gate; use at least 1");
        }
        if !principals.is_empty()
            && u32::try_from(principals.len()).is_ok_and(|by| approval.count > by)
        {
            findings.error(
                &count,
                format!(
                    "{} must approve and only {} may",
                    approval.count,
                    principals.len()
                ),
            );
        }
    }
}
