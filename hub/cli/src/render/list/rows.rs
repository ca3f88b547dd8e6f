//! One row of a table for each kind.

use bellwether_api::{call::Item, cluster::METRICS_REACHABLE};
use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    span::{ago, release_name, until},
    style::{Mood, Style, mood_of},
};

pub(super) fn status(item: &Item) -> &Value {
    item.status.as_ref().unwrap_or(&Value::Null)
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    }
}

fn word(value: &Value, style: Style) -> String {
    let word = text(value);
    style.paint(mood_of(&word), &word)
}

fn labels(item: &Item) -> String {
    if item.metadata.labels.is_empty() {
        return "-".to_owned();
    }
    let pairs: Vec<String> = item
        .metadata
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// Says that the cluster's metrics do not answer, and why in a word.
fn metrics(status: &Value) -> String {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|one| one["type"] == METRICS_REACHABLE && one["status"] == "False")
        .map(|one| format!(" metrics {}", text(&one["reason"])))
        .unwrap_or_default()
}

/// How far a wrong clock is off, in minutes; empty when it is right.
fn skew(status: &Value) -> String {
    status["clockAheadSeconds"]
        .as_i64()
        .map_or_else(String::new, |ahead| {
            let minutes = (ahead.abs() + 30) / 60 * ahead.signum();
            format!(" {minutes:+}m")
        })
}

pub(super) fn cluster_row(item: &Item, wide: bool, now: Timestamp, style: Style) -> Vec<String> {
    let status = status(item);
    let mut row = vec![
        item.metadata.name.clone(),
        format!(
            "{}{}{}{}",
            word(&status["condition"], style),
            skew(status),
            metrics(status),
            cordon(status)
        ),
        match status["lastSeen"].as_str() {
            Some(at) => format!("{} ago", ago(Some(at), now)),
            None => "never".to_owned(),
        },
        text(&status["kubernetesVersion"]),
        labels(item),
    ];
    if wide {
        row.push(text(&status["agentVersion"]));
        row.push(
            status["certificateExpires"]
                .as_str()
                .map_or("-".to_owned(), |at| until(at, now)),
        );
        row.extend(nodes(&status["nodes"]));
        row.push(text(&status["message"]));
    }
    row
}

/// What the ready nodes are: how many, their cores, their memory, their regions. Before what they give
/// stands what pods have asked for, where that is known.
fn nodes(nodes: &Value) -> [String; 4] {
    let number = |field: &str, requested: &str, unit: u64, suffix: &str| {
        let of = nodes["requested"][requested].as_u64();
        let of = of.map_or_else(String::new, |amount| format!("{}/", amount / unit));
        let amount = nodes[field].as_u64();
        amount.map_or("-".to_owned(), |amount| {
            format!("{of}{}{suffix}", amount / unit)
        })
    };
    let regions = nodes["regions"].as_array().into_iter().flatten();
    let regions: Vec<&str> = regions.filter_map(Value::as_str).collect();
    [
        number("ready", "", 1, ""),
        number("allocatableCpuMilli", "cpuMilli", 1_000, ""),
        number("allocatableMemoryBytes", "memoryBytes", 1 << 30, "Gi"),
        if regions.is_empty() {
            "-".to_owned()
        } else {
            regions.join(",")
        },
    ]
}

/// Says that nothing is placed in the cluster anew.
fn cordon(status: &Value) -> &'static str {
    match &status["cordon"] {
        Value::Null => "",
        cordon if cordon["drain"] == true => " draining",
        _ => " cordoned",
    }
}

pub(super) fn metric_template_row(item: &Item, wide: bool) -> Vec<String> {
    let text = |field: &str, none: &str| item.spec[field].as_str().unwrap_or(none).to_owned();
    let mut row = vec![
        item.metadata.namespace.clone().unwrap_or_default(),
        item.metadata.name.clone(),
        text("type", "-"),
        text("address", "the cluster's"),
    ];
    if wide {
        row.push(text("query", "-"));
    }
    row
}

pub(super) fn alert_provider_row(item: &Item, wide: bool) -> Vec<String> {
    let status = status(item);
    let count = |field: &str| status[field].as_u64().unwrap_or(0).to_string();
    let mut row = vec![
        item.metadata.namespace.clone().unwrap_or_default(),
        item.metadata.name.clone(),
        item.spec["type"].as_str().unwrap_or("-").to_owned(),
        count("sent"),
        count("failed"),
    ];
    if wide {
        let error = status["lastError"].as_str().unwrap_or_default();
        let error = if error.is_empty() { "-" } else { error };
        row.extend([count("waiting"), count("unknown"), error.to_owned()]);
    }
    row
}

pub(super) fn repository_row(item: &Item, wide: bool, style: Style) -> Vec<String> {
    let status = status(item);
    let condition = &status["conditions"][0];
    let (mood, word) = match condition["status"].as_str() {
        Some("True") => (Mood::Good, "yes"),
        Some("False") => (Mood::Bad, condition["reason"].as_str().unwrap_or("no")),
        _ => (Mood::Idle, condition["reason"].as_str().unwrap_or("-")),
    };
    let mut row = vec![
        item.metadata.name.clone(),
        text(&item.spec["git"]["url"]),
        text(&status["revision"]),
        style.paint(mood, word),
    ];
    if wide {
        let orphans = status["orphans"].as_array().map_or(0, Vec::len);
        row.push(orphans.to_string());
        row.push(text(&condition["message"]));
    }
    row
}

pub(super) fn fleet_row(item: &Item, wide: bool) -> Vec<String> {
    let status = status(item);
    let mut row = vec![
        item.metadata.name.clone(),
        text(&status["clusters"]),
        text(&status["ready"]),
        text(&status["degraded"]),
        text(&status["unknown"]),
    ];
    if wide {
        let members: Vec<&str> = status["members"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|member| member["name"].as_str())
            .collect();
        row.push(if members.is_empty() {
            "-".to_owned()
        } else {
            members.join(",")
        });
    }
    row
}

fn release(status: &Value) -> String {
    match status["revision"].as_u64() {
        Some(revision) if revision > 0 => {
            release_name(status["version"].as_str().unwrap_or_default(), revision)
        }
        _ => "-".to_owned(),
    }
}

fn clusters(status: &Value) -> String {
    match (status["done"].as_u64(), status["total"].as_u64()) {
        (Some(done), Some(total)) => format!("{done}/{total}"),
        _ => "-".to_owned(),
    }
}

pub(super) fn application_row(item: &Item, wide: bool, style: Style) -> Vec<String> {
    let status = status(item);
    let mut row = vec![
        item.metadata.namespace.clone().unwrap_or_default(),
        item.metadata.name.clone(),
        format!("{}{}", word(&status["state"], style), draft(status, style)),
        word(&status["health"], style),
        release(status),
        clusters(status),
    ];
    if wide {
        row.push(text(&status["revision"]));
        row.push(conditions(status));
    }
    row
}

/// Says that what is stored waits to be published, or that nothing of it is released.
fn draft(status: &Value, style: Style) -> String {
    let conditions = status["conditions"].as_array();
    let said = conditions.into_iter().flatten();
    let mut words = said.filter_map(|one| match one["type"].as_str() {
        Some("Draft") => Some("(draft waits)"),
        Some("SyncSuspended") => Some("(sync suspended)"),
        _ => None,
    });
    words.next().map_or_else(String::new, |word| {
        format!(" {}", style.paint(Mood::Warn, word))
    })
}

fn conditions(status: &Value) -> String {
    let found: Vec<&str> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| condition["type"].as_str())
        // The state beside it says the same.
        .filter(|kind| *kind != "Promoted")
        .collect();
    if found.is_empty() {
        "-".to_owned()
    } else {
        found.join(",")
    }
}

pub(super) fn rollout_row(item: &Item, wide: bool, style: Style) -> Vec<String> {
    let status = status(item);
    let mut row = vec![
        item.metadata.namespace.clone().unwrap_or_default(),
        item.metadata.name.clone(),
        text(&item.spec["application"]),
        word(&status["state"], style),
        release(status),
        clusters(status),
    ];
    if wide {
        let workload = &item.spec["workload"];
        row.push(format!(
            "{}/{}",
            text(&workload["kind"]),
            text(&workload["name"])
        ));
        row.push(text(&status["revision"]));
        row.push(conditions(status));
    }
    row
}
