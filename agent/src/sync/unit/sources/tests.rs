use std::time::Duration;

use serde_json::{Value, json};

use super::super::chart_hooks::tests::{
    house::{House, KEY, bundle_of, config_map},
    server::Server,
};

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// A release that is applied plainly, with a plan whose metric is read at `address`; absent = no plan.
fn release(revision: u64, address: Option<&str>) -> Vec<u8> {
    let objects = [config_map("web", &revision.to_string())];
    let bundle = bundle_of(revision, 1, &[], &objects);
    let mut bundle: Value = serde_json::from_slice(&bundle).expect("JSON");
    bundle["mode"] = json!("Plain");
    if let Some(address) = address {
        bundle["rollouts"] = json!([{"name": "web", "spec": {
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "strategy": {"canary": {"weights": [50]}},
            "analysis": {"metrics": [{"name": "queue", "query": "max(queue)", "range": {"max": "1"},
                "source": {"type": "Prometheus", "address": address}}]},
        }}]);
    }
    serde_json::to_vec(&bundle).expect("JSON")
}

/// Passes until something else is known of what the plans name.
async fn heard(house: &mut House) {
    let before = house.unit.shell.own_sources.silent(KEY);
    assert_eq!(house.work().await, Ok(Vec::new()));
    let unit = &house.unit;
    unit.name_sources();
    let changed = async {
        while unit.shell.own_sources.silent(KEY) == before {
            unit.poke.woken().await;
        }
    };
    let changed = tokio::time::timeout(Duration::from_secs(20), changed);
    changed.await.expect("what becomes known wakes the unit");
    assert_eq!(house.work().await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_source_that_a_plan_names_shows_at_once_that_nobody_is_there() {
    let server = Server::default();
    let mut house = House::on(&server).await;
    let shell = std::sync::Arc::clone(&house.unit.shell);
    let asking = tokio::spawn(async move {
        let meter = shell.meter.clone();
        shell.own_sources.run(meter).await;
    });
    house.install(&release(1, Some(NOBODY))).await;
    heard(&mut house).await;
    let told = house.events("MetricsUnreachable");
    assert_eq!(told.len(), 1, "{told:?}");
    let which =
        "http://127.0.0.1:1 (metric queue of rollout web): failed to reach the metrics source";
    assert!(told[0].starts_with(which), "{told:?}");
    let warnings = house.unit.all_warnings(&house.record());
    let expected = format!("a source of metrics does not answer: {which}");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with(&expected)),
        "{warnings:?}"
    );
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.events("MetricsUnreachable"), told, "once");

    // A release that names another place, and one that names none.
    house.install(&release(2, Some("http://127.0.0.1:2"))).await;
    heard(&mut house).await;
    let told = house.events("MetricsUnreachable");
    assert!(told[1].starts_with("http://127.0.0.1:2 "), "{told:?}");
    house.install(&release(3, None)).await;
    heard(&mut house).await;
    assert_eq!(house.events("MetricsReachable").len(), 1);
    assert_eq!(house.unit.all_warnings(&house.record()), [""; 0]);
    asking.abort();
}
