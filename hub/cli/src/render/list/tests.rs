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
fn what_agents_report_and_who_is_closed_shows() {
    let nodes = json!({"ready": 3, "allocatableCpuMilli": 11_760,
                       "allocatableMemoryBytes": 50u64 << 30, "regions": ["eu", "us"]});
    let status = json!({"condition": "Ready", "nodes": nodes,
                        "cordon": {"drain": false, "by": "ana", "since": NOW}});
    let items = [item("Cluster", "c1", json!({}), status)];
    let drawn = draw("Cluster", &items, true);
    assert!(drawn.contains("Ready cordoned"), "{drawn}");
    let row: Vec<&str> = drawn
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    for word in ["3", "11", "50Gi", "eu,us"] {
        assert!(row.contains(&word), "{word} {drawn}");
    }
    let draining = json!({"condition": "Ready",
                          "cordon": {"drain": true, "by": "ana", "since": NOW}});
    let items = [item("Cluster", "c1", json!({}), draining)];
    assert!(draw("Cluster", &items, false).contains("Ready draining"));
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
