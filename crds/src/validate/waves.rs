//! Checks of waves and their gates.

use std::collections::BTreeMap;

use super::{finding::Findings, names};
use crate::{
    application::{Gate, Wave, WindowGate},
    document::FieldPath,
    number::{IntOrPercent, Weight},
    schedule::{ScheduleError, Window},
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
        if wave.takes_the_rest() && index + 1 < waves.len() {
            findings.error(
                &at,
                format!(
                    "wave {:?} has no selector, clusters or percent, which only the last wave may: it \
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
    share(findings, &path.key("percent"), wave);
    if wave
        .progress_deadline
        .is_some_and(|one| one.as_millis() == 0)
    {
        findings.error(
            &path.key("progressDeadline"),
            "a deadline of 0s has always passed; leave it out",
        );
    }
    concurrency(findings, &path.key("maxConcurrent"), wave.max_concurrent);
    if let Some(IntOrPercent::Percent(101..)) = wave.max_failures {
        findings.error(&path.key("maxFailures"), "a share is at most 100%");
    }
    gates(findings, &path.key("before"), &wave.before);
    gates(findings, &path.key("after"), &wave.after);
}

fn share(findings: &mut Findings, path: &FieldPath, wave: &Wave) {
    let Some(percent) = wave.percent else { return };
    if percent == Weight::ZERO {
        findings.error(path, "a share of 0 takes no cluster; leave the wave out");
    }
    if wave.selector.is_some() || !wave.clusters.is_empty() {
        findings.error(
            path,
            "a wave has a share, or a selector and clusters, not both",
        );
    }
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

fn window(findings: &mut Findings, path: &FieldPath, window: &WindowGate) {
    match Window::read(window) {
        Ok(_) => {}
        Err(error @ ScheduleError::Schedule { .. }) => {
            findings.error(&path.key("schedule"), error.to_string());
        }
        Err(error @ ScheduleError::Zone { meant, .. }) => findings.error_with(
            &path.key("timeZone"),
            error.to_string(),
            meant.map(str::to_owned),
        ),
    }
    if window.duration.as_millis() == 0 {
        findings.error(
            &path.key("duration"),
            "a window of 0s is never open; use at least 1m",
        );
    }
}

fn gates(findings: &mut Findings, path: &FieldPath, gates: &[Gate]) {
    for (index, gate) in gates.iter().enumerate() {
        let at = path.index(index);
        let kinds = [
            gate.approval.is_some(),
            gate.soak.is_some(),
            gate.window.is_some(),
            gate.verdicts.is_some(),
        ];
        if kinds.iter().filter(|set| **set).count() != 1 {
            findings.error(
                &at,
                "a gate has exactly one of approval, soak, window, verdicts",
            );
        }
        if let Some(window) = &gate.window {
            self::window(findings, &at.key("window"), window);
        }
        if gate
            .verdicts
            .as_ref()
            .is_some_and(|one| one.percent == Weight::ZERO)
        {
            findings.error(
                &at.key("verdicts").key("percent"),
                "a share of 0 asks for nothing; leave the gate out",
            );
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
