//! Tables of objects.

use bellwether_api::{
    call::{ActionVerb, ActionView, Item, RunList},
    cluster::METRICS_REACHABLE,
    strategy::Manual,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    span::{ago, between, release_name, until},
    style::{Mood, Style, mood_of, run_word},
};

/// Draws objects of one kind; NAME first, AGE last.
#[must_use]
pub fn table(kind: &str, items: &[Item], wide: bool, now: Timestamp, style: Style) -> String {
    let titles: &[&str] = match (kind, wide) {
        ("Cluster", false) => &["NAME", "STATUS", "LAST-SEEN", "KUBERNETES", "LABELS", "AGE"],
        ("Cluster", true) => &[
            "NAME",
            "STATUS",
            "LAST-SEEN",
            "KUBERNETES",
            "LABELS",
            "AGENT",
            "CERTIFICATE-ENDS",
            "MESSAGE",
            "AGE",
        ],
        ("Fleet", false) => &["NAME", "CLUSTERS", "READY", "DEGRADED", "UNKNOWN", "AGE"],
        ("Fleet", true) => &[
            "NAME", "CLUSTERS", "READY", "DEGRADED", "UNKNOWN", "MEMBERS", "AGE",
        ],
        ("Application", false) => &[
            "NAMESPACE",
            "NAME",
            "STATE",
            "HEALTH",
            "RELEASE",
            "CLUSTERS",
            "AGE",
        ],
        ("Application", true) => &[
            "NAMESPACE",
            "NAME",
            "STATE",
            "HEALTH",
            "RELEASE",
            "CLUSTERS",
            "REVISION",
            "CONDITIONS",
            "AGE",
        ],
        ("Repository", false) => &["NAME", "URL", "REVISION", "SYNCED", "AGE"],
        ("Repository", true) => &[
            "NAME", "URL", "REVISION", "SYNCED", "ORPHANS", "MESSAGE", "AGE",
        ],
        ("MetricTemplate", false) => &["NAMESPACE", "NAME", "TYPE", "ADDRESS", "AGE"],
        ("MetricTemplate", true) => &["NAMESPACE", "NAME", "TYPE", "ADDRESS", "QUERY", "AGE"],
        (_, false) => &[
            "NAMESPACE",
            "NAME",
            "APPLICATION",
            "STATE",
            "RELEASE",
            "CLUSTERS",
            "AGE",
        ],
        (_, true) => &[
            "NAMESPACE",
            "NAME",
            "APPLICATION",
            "STATE",
            "RELEASE",
            "CLUSTERS",
            "WORKLOAD",
            "REVISION",
            "CONDITIONS",
            "AGE",
        ],
    };
    let rows = items.iter().map(|item| {
        let mut row = match kind {
            "Cluster" => cluster_row(item, wide, now, style),
            "Fleet" => fleet_row(item, wide),
            "Application" => application_row(item, wide, style),
            "MetricTemplate" => metric_template_row(item, wide),
            "Repository" => repository_row(item, wide, style),
            _ => rollout_row(item, wide, style),
        };
        row.push(ago(item.metadata.creation_timestamp.as_deref(), now));
        row
    });
    grid(titles, rows)
}

/// Draws past runs, and under them what humans said to them.
#[must_use]
pub fn history(runs: &RunList, now: Timestamp, style: Style) -> String {
    let titles = [
        "REV", "VERSION", "OUTCOME", "CLUSTERS", "TOOK", "BY", "REASON", "AGE",
    ];
    let rows = runs.items.iter().map(|run| {
        let (mood, word) = run_word(run.state);
        let end = run
            .finished_at
            .as_deref()
            .and_then(|at| at.parse().ok())
            .unwrap_or(now);
        vec![
            run.revision.to_string(),
            release_name(&run.version, run.revision),
            match run.restores {
                Some(restores) => format!("{} (restores {restores})", style.paint(mood, word)),
                None => style.paint(mood, word),
            },
            format!("{}/{}", run.done, run.total),
            between(Some(&run.created_at), Some(end)),
            run.by.clone(),
            if run.reason.is_empty() {
                "-".to_owned()
            } else {
                run.reason.clone()
            },
            ago(Some(&run.created_at), now),
        ]
    });
    let runs_drawn = grid(&titles, rows);
    let said: Vec<Vec<String>> = runs
        .items
        .iter()
        .flat_map(|run| run.actions.iter().rev())
        .map(|action| action_row(action, now))
        .collect();
    if said.is_empty() {
        return runs_drawn;
    }
    let titles = ["REV", "SAID", "WHERE", "BY", "ANSWER", "REASON", "AGE"];
    format!("{runs_drawn}\n{}", grid(&titles, said))
}

fn action_row(action: &ActionView, now: Timestamp) -> Vec<String> {
    let said = &action.request;
    let set = said.weight.map(|weight| Manual {
        weight,
        replicas: said.replicas,
    });
    let what = match set {
        Some(set) if said.verb == ActionVerb::SetWeight.word() => format!("set-weight {set}"),
        _ if said.to_revision.is_some() => {
            format!("{} to {}", said.verb, said.to_revision.unwrap_or_default())
        }
        _ => said.verb.clone(),
    };
    let place = match (&said.cluster, &said.wave) {
        (Some(cluster), _) => format!("cluster {cluster}"),
        (None, Some(wave)) => format!("wave {wave}"),
        (None, None) => "-".to_owned(),
    };
    let answer = action
        .result
        .as_ref()
        .and_then(|result| result["outcome"].as_str())
        .unwrap_or("-");
    vec![
        action.revision.to_string(),
        what,
        place,
        action.by.clone(),
        answer.to_owned(),
        if said.reason.is_empty() {
            "-".to_owned()
        } else {
            said.reason.clone()
        },
        ago(Some(&action.created_at), now),
    ]
}

/// Draws a grid without lines. Cells may hold colours.
#[must_use]
pub fn grid(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines: Vec<Vec<String>> =
        vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    lines.extend(rows);
    let mut widths = vec![0; titles.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(shown_width(cell));
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(cell);
            row.extend(std::iter::repeat_n(' ', width - shown_width(cell) + 3));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn shown_width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell)
        .to_string()
        .chars()
        .count()
}

fn status(item: &Item) -> &Value {
    item.status.as_ref().unwrap_or(&Value::Null)
}

fn text(value: &Value) -> String {
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

fn cluster_row(item: &Item, wide: bool, now: Timestamp, style: Style) -> Vec<String> {
    let status = status(item);
    let mut row = vec![
        item.metadata.name.clone(),
        format!(
            "{}{}{}",
            word(&status["condition"], style),
            skew(status),
            metrics(status)
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
        row.push(text(&status["message"]));
    }
    row
}

fn metric_template_row(item: &Item, wide: bool) -> Vec<String> {
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

fn repository_row(item: &Item, wide: bool, style: Style) -> Vec<String> {
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

fn fleet_row(item: &Item, wide: bool) -> Vec<String> {
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

fn application_row(item: &Item, wide: bool, style: Style) -> Vec<String> {
    let status = status(item);
    let mut row = vec![
        item.metadata.namespace.clone().unwrap_or_default(),
        item.metadata.name.clone(),
        word(&status["state"], style),
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

fn conditions(status: &Value) -> String {
    let found: Vec<&str> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    if found.is_empty() {
        "-".to_owned()
    } else {
        found.join(",")
    }
}

fn rollout_row(item: &Item, wide: bool, style: Style) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use bellwether_api::call::{Item, ItemMeta, RunList};
    use serde_json::{Value, json};

    use super::{history, table};
    use crate::{render::Style, sample::NOW};

    fn item(kind: &str, name: &str, spec: Value, status: Value) -> Item {
        Item {
            api_version: bellwether_api::API_VERSION.into(),
            kind: kind.into(),
            metadata: ItemMeta {
                name: name.into(),
                namespace: matches!(kind, "Application" | "Rollout").then(|| "shop".into()),
                labels: [("tier".to_owned(), "canary".to_owned())].into(),
                creation_timestamp: Some("2026-03-01T10:00:00Z".into()),
                ..ItemMeta::default()
            },
            spec,
            status: Some(status),
        }
    }

    fn draw(kind: &str, items: &[Item], wide: bool) -> String {
        table(
            kind,
            items,
            wide,
            NOW.parse().expect("a time"),
            Style::PLAIN,
        )
    }

    #[test]
    fn clusters_show_how_old_their_word_is() {
        let items = [
            item(
                "Cluster",
                "eu-edge-1",
                json!({}),
                json!({"condition": "Ready", "lastSeen": "2026-03-01T12:09:55Z",
                       "kubernetesVersion": "v1.33.2", "message": ""}),
            ),
            item(
                "Cluster",
                "eu-west-1",
                json!({}),
                json!({"condition": "Unknown", "lastSeen": "2026-03-01T12:00:00Z",
                       "message": "no heartbeat for 10m"}),
            ),
        ];
        insta::assert_snapshot!(draw("Cluster", &items, false));
        assert!(draw("Cluster", &items, true).contains("no heartbeat for 10m"));
    }

    #[test]
    fn a_wrong_clock_shows_by_how_much() {
        let cluster = |ahead: i64| {
            item(
                "Cluster",
                "eu-edge-1",
                json!({}),
                json!({"condition": "ClockSkew", "lastSeen": "2026-03-01T12:09:55Z",
                       "clockAheadSeconds": ahead}),
            )
        };
        let drawn = draw("Cluster", &[cluster(3_661), cluster(-600)], false);
        assert!(drawn.contains("ClockSkew +61m"), "{drawn}");
        assert!(drawn.contains("ClockSkew -10m"), "{drawn}");
    }

    #[test]
    fn metrics_that_do_not_answer_show_with_a_word_for_why() {
        let cluster = |status: &str| {
            let reason = json!([{"type": "MetricsReachable", "status": status,
                                 "reason": "Unauthorized", "message": ""}]);
            let status = json!({"condition": "Degraded", "conditions": reason});
            draw(
                "Cluster",
                &[item("Cluster", "c1", json!({}), status)],
                false,
            )
        };
        let drawn = cluster("False");
        assert!(drawn.contains("Degraded metrics Unauthorized"), "{drawn}");
        assert!(!cluster("True").contains("metrics"));
    }

    #[test]
    fn metric_templates_show_where_they_are_read() {
        let spec = json!({"type": "Http", "address": "http://stats", "query": "/a#/b"});
        let items = [
            item("MetricTemplate", "errors", spec, json!({})),
            item(
                "MetricTemplate",
                "up",
                json!({"type": "Prometheus", "query": "up"}),
                json!({}),
            ),
        ];
        let narrow = draw("MetricTemplate", &items, false);
        assert!(
            narrow.contains("http://stats") && !narrow.contains("/a#/b"),
            "{narrow}"
        );
        assert!(narrow.contains("the cluster's"), "{narrow}");
        assert!(draw("MetricTemplate", &items, true).contains("/a#/b"));
    }

    #[test]
    fn history_shows_what_was_said_to_a_run() {
        let runs = |actions: Value| -> RunList {
            let run = json!({
                "run": uuid::Uuid::nil(), "revision": 2, "version": "v2", "state": "Succeeded",
                "done": 1, "total": 1, "by": "ana", "createdAt": "2026-03-01T12:00:00Z",
                "finishedAt": "2026-03-01T12:05:00Z", "actions": actions,
            });
            serde_json::from_value(json!({"items": [run]})).expect("runs")
        };
        let said = json!([
            {"id": uuid::Uuid::nil(), "run": uuid::Uuid::nil(), "revision": 2, "type": "setweight",
             "weight": 30, "replicas": "20%", "cluster": "c1", "reason": "slowly", "by": "ana",
             "createdAt": "2026-03-01T12:01:00Z", "result": {"outcome": "Executed", "message": ""}},
            {"id": uuid::Uuid::nil(), "run": uuid::Uuid::nil(), "revision": 2, "type": "promote",
             "reason": "", "by": "ben", "createdAt": "2026-03-01T12:04:00Z"},
        ]);
        let now = NOW.parse().expect("a time");
        insta::assert_snapshot!(history(&runs(said), now, Style::PLAIN));
        let silent = history(&runs(json!([])), now, Style::PLAIN);
        assert!(!silent.contains("SAID"), "{silent}");
    }

    #[test]
    fn every_kind_has_its_table() {
        let status = json!({"state": "Progressing", "health": "Healthy", "revision": 7,
                            "version": "2.4.1", "done": 1, "total": 3, "clusters": 3, "ready": 2,
                            "degraded": 0, "unknown": 1, "members": [{"name": "a"}]});
        let spec = json!({"application": "web", "workload": {"kind": "Deployment", "name": "web"}});
        let text: Vec<String> = ["Fleet", "Application", "Rollout"]
            .into_iter()
            .flat_map(|kind| {
                let items = [item(kind, "web", spec.clone(), status.clone())];
                [draw(kind, &items, false), draw(kind, &items, true)]
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
