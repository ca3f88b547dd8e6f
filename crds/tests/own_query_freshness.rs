//! What is asked about the series behind a query of one's own, evaluated by Prometheus' own `promtool`.

use std::process::Command;

use bellwether_api::{
    duration::Dur,
    query_freshness::{Freshness, PART},
};
use serde_json::{Value, json};

const WINDOW: Dur = Dur::from_secs(60);
/// Ten minutes and five seconds after the first scrape; there is one every 15 s.
const AT: &str = "605s";

/// Samples from the beginning until half a minute, or eight minutes, before [`AT`], as of a target
/// whose end nobody has seen.
const UNTIL_570: &str = "0+1x38";
const UNTIL_480: &str = "0+1x32";
/// The same, and then the mark that Prometheus sets when it has seen it.
const GONE_AT_570: &str = "0+1x37 stale";

fn series(name: &str, values: &str) -> Value {
    json!({"series": name, "values": values})
}

/// What the parts are to be, as `promtool` compares them.
fn expects(query: &str, parts: &[(&str, f64)]) -> Value {
    let asked = Freshness::of(query, WINDOW)
        .expect("it can be read")
        .expect("it reads something");
    let sample = |(part, value): &(&str, f64)| json!({"labels": format!("{{{PART}=\"{part}\"}}"), "value": value});
    let samples: Vec<Value> = parts.iter().map(sample).collect();
    json!({"expr": asked.query, "eval_time": AT, "exp_samples": samples})
}

#[test]
fn old_series_are_told_from_new_ones_and_from_none() {
    let input = [
        series("live{pod=\"a\"}", "0+1x100"),
        // Of several series the newest sample counts.
        series("live{pod=\"b\"}", UNTIL_480),
        series("dead", UNTIL_480),
        series("late", UNTIL_570),
        series("gone", GONE_AT_570),
        series("once", "_x40 7"),
    ];
    let tests = [
        expects("max(live)", &[("age-0", 5.0)]),
        expects("max(dead)", &[("age-0", 125.0)]),
        expects("max(dead) / max(live)", &[("age-0", 125.0), ("age-1", 5.0)]),
        // What is not there has no age: it never was, or nobody exports it any more.
        expects("max(never) or vector(0)", &[]),
        expects("max(gone)", &[]),
        expects("max(never) or max(live)", &[("age-1", 5.0)]),
        expects("sum(rate(live[1m]))", &[("age-0", 5.0), ("scrapes-0", 4.0)]),
        expects(
            "sum(rate(late[1m]))",
            &[("age-0", 35.0), ("scrapes-0", 2.0)],
        ),
        // The samples of a range still count when their series is gone: the last one is of 555 s.
        expects(
            "sum(rate(gone[2m]))",
            &[("age-0", 50.0), ("scrapes-0", 5.0)],
        ),
        expects("sum(rate(never[1m])) or vector(0)", &[]),
        expects(
            "sum(rate(once[1m])) or vector(0)",
            &[("age-0", 5.0), ("scrapes-0", 1.0)],
        ),
        expects(
            "max(max_over_time(late[5m]))",
            &[("age-0", 35.0), ("scrapes-0", 18.0)],
        ),
        // Seen from the moment that the query looks at.
        expects("max(live offset 1m)", &[("age-0", 5.0)]),
        expects("max(dead offset 1m)", &[("age-0", 65.0)]),
        expects(
            "sum(rate(live[1m] offset 1m))",
            &[("age-0", 5.0), ("scrapes-0", 4.0)],
        ),
        expects("max(live @ 307)", &[("age-0", 7.0)]),
        expects("max(live @ 307 offset 1m)", &[("age-0", 7.0)]),
        expects(
            "max_over_time(sum(rate(live[1m]))[5m:30s])",
            &[("age-0", 5.0), ("scrapes-0", 24.0)],
        ),
        expects(
            "max({__name__=~\"live|dead\",pod=~\"a.*\"})",
            &[("age-0", 5.0)],
        ),
    ];
    let rules = json!({"rule_files": [], "evaluation_interval": "15s", "tests": [{
        "interval": "15s", "input_series": input, "promql_expr_test": tests,
    }]});
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/own-query-freshness.yaml");
    std::fs::write(path, rules.to_string()).expect("a file");
    let ran = Command::new("promtool")
        .args(["test", "rules"])
        .arg(path)
        .output()
        .expect("promtool is installed with Debian's prometheus");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}
