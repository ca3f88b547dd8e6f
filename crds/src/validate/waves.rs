//! Checks of waves and their gates.

use std::{collections::BTreeMap, net::IpAddr};

use super::{analysis::query_error, finding::Findings, fleet::http_address, names};
use crate::{
    application::{ExternalGate, Gate, MetricGate, Wave, WindowGate},
    document::FieldPath,
    metric_template::MetricSourceKind,
    number::{IntOrPercent, Weight},
    query_template,
    schedule::{ScheduleError, Window},
    secret::HubSecretKeyRef,
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

fn metric(findings: &mut Findings, path: &FieldPath, metric: &MetricGate) {
    if metric.template.is_some() == metric.query.is_some() {
        findings.error(path, "set exactly one of template, query");
    }
    if metric.range.is_open() {
        findings.error(
            &path.key("range"),
            "a range without min and max lets everything pass; set one of them",
        );
    }
    if let Some(address) = &metric.address {
        reached_by_hub(findings, &path.key("address"), address);
    }
    if metric.window.as_millis() == 0 {
        findings.error(&path.key("window"), "a window of 0s holds nothing");
    }
    secret(findings, path, metric.secret_ref.as_ref());
    if let Some(query) = &metric.query {
        let checked = query_template::check(MetricSourceKind::Prometheus, query, &BTreeMap::new());
        if let Err(error) = checked {
            query_error(findings, &path.key("query"), &error);
        }
    }
}

fn secret(findings: &mut Findings, path: &FieldPath, secret: Option<&HubSecretKeyRef>) {
    let at = path.key("secretRef");
    if let Some(secret) = secret {
        names::name(findings, &at.key("name"), &secret.name);
        super::sources::key(findings, &at.key("key"), secret.key());
    }
}

fn external(findings: &mut Findings, path: &FieldPath, external: &ExternalGate) {
    reached_by_hub(findings, &path.key("url"), &external.url);
    let at = path.key("timeout");
    match external.timeout.as_millis() {
        0 => findings.error(&at, "no answer comes in 0s"),
        60_001.. => findings.error(&at, "an answer may take at most 60s"),
        _ => {}
    }
    secret(findings, path, external.secret_ref.as_ref());
}

/// The hub calls nobody in the name of a user whom only the hub itself can reach.
pub(super) fn reached_by_hub(findings: &mut Findings, path: &FieldPath, address: &str) {
    http_address(findings, path, address);
    if means_the_hub(address) {
        findings.error(
            path,
            "the hub does not call itself or addresses of its own link; use an address of your network",
        );
    }
}

/// Tells whether the host of an URL is the one who calls it, or an address of its own link.
#[must_use]
pub fn means_the_hub(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    match host.parse::<IpAddr>() {
        Ok(address) => is_own(address),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Tells whether an address means the host itself or its link.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
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
            gate.metric.is_some(),
            gate.external.is_some(),
        ];
        if kinds.iter().filter(|set| **set).count() != 1 {
            findings.error(
                &at,
                "a gate has exactly one of approval, soak, window, verdicts, metric, external",
            );
        }
        if let Some(metric) = &gate.metric {
            self::metric(findings, &at.key("metric"), metric);
        }
        if let Some(external) = &gate.external {
            self::external(findings, &at.key("external"), external);
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
