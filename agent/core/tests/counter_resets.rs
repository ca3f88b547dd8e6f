//! Counters that start anew in the window of a check, evaluated by Prometheus' own `promtool`.

use std::{collections::BTreeSet, process::Command};

use bellwether_agent_core::analysis::{QueryTarget, SeriesSet, Side, queries};
use bellwether_api::{analysis::Metric, duration::Dur};
use serde_json::{Value, json};

/// One sample a second for half a minute, and the same from 0 after a restart: at 45 s the window of
/// 30 s holds both.
const WINDOW: Dur = Dur::from_secs(30);
const AT: &str = "45s";

fn target() -> QueryTarget {
    QueryTarget {
        series: SeriesSet::TraefikGateway,
        namespace: "shop".into(),
        workload: "web".into(),
        service: "web".into(),
        port: Some(80),
        route: "web".into(),
        copied: String::new(),
        canary_addresses: BTreeSet::new(),
        side: Side::Canary,
        in_place: false,
        per_node: false,
        revisions: None,
    }
}

fn metric(name: &str, aggregation: Option<&str>) -> Metric {
    let mut metric = json!({"name": name, "range": {"max": "500"}});
    if let Some(aggregation) = aggregation {
        metric["aggregation"] = json!(aggregation);
    }
    serde_json::from_value(metric).expect("a metric")
}

/// A counter that rises by `step` a second and starts anew in the middle.
fn restarted(name: &str, labels: &str, step: &str) -> Value {
    let service = "service=\"shop-web-canary-http-80@kubernetesgateway\"";
    json!({
        "series": format!("{name}{{{service}{labels}}}"),
        "values": format!("0+{step}x30 0+{step}x30"),
    })
}

/// 95 of 100 requests a second succeed, and all take less than 100 ms, 50 on average.
fn counters() -> Vec<Value> {
    let requests = "traefik_service_requests_total";
    let duration = "traefik_service_request_duration_seconds";
    vec![
        restarted(requests, ",code=\"200\"", "95"),
        restarted(requests, ",code=\"500\"", "5"),
        restarted(&format!("{duration}_bucket"), ",le=\"0.1\"", "100"),
        restarted(&format!("{duration}_bucket"), ",le=\"+Inf\"", "100"),
        restarted(&format!("{duration}_sum"), "", "5"),
        restarted(&format!("{duration}_count"), "", "100"),
    ]
}

fn expects(query: &str, value: u32) -> Value {
    json!({"expr": format!("round({query}, 0.001)"), "eval_time": AT,
        "exp_samples": [{"labels": "{}", "value": value}]})
}

#[test]
fn a_counter_that_starts_anew_changes_no_verdict() {
    let query = |name: &str, aggregation: Option<&str>| {
        queries(&metric(name, aggregation), &target(), WINDOW, 0).expect("it is built in")
    };
    let success = query("request-success-rate", None);
    let counted = success.requests.clone().expect("it depends on requests");
    let tests = [
        expects(&success.value, 95),
        expects(&query("request-duration", Some("P99")).value, 99),
        expects(&query("request-duration", Some("Avg")).value, 50),
        // What came between the last look before the restart and the restart is nobody's.
        expects(&format!("({counted}) >= bool 2800"), 1),
        expects(&format!("({counted}) <= bool 3000"), 1),
        // The same counters without care for their restart say something else.
        expects(
            "sum(delta(traefik_service_requests_total[30s])) < bool 0",
            1,
        ),
    ];
    let rules = json!({"rule_files": [], "evaluation_interval": "1s", "tests": [{
        "interval": "1s", "input_series": counters(), "promql_expr_test": tests,
    }]});
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/counter-resets.yaml");
    std::fs::write(path, rules.to_string()).expect("a file");
    let ran = Command::new("promtool")
        .args(["test", "rules"])
        .arg(path)
        .output()
        .expect("promtool is installed with Debian's prometheus");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}
