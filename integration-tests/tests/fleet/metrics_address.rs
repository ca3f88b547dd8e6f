//! A cluster whose metrics are read at the wrong place.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether_api::{status::FailureReason, view::RunPhase};
use bellwether_integration_tests::{
    manifests::{METRICS, Shop},
    wait::until,
};
use serde_json::{Value, json};

use crate::{Case, hooks::failure, scene::Scene};

/// One by one: other tests measure in the same cluster.
pub const ALONE: &[Case] = &[(
    "wrong_metrics_address_shows_at_once",
    "wrongaddress",
    wrong_address,
)];

const LIMIT: Duration = Duration::from_secs(60);

fn wrong_address(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [50, 80]}}".into(),
        analysis: METRICS.into(),
        progress_deadline: "30s".into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let before = scene.cli.json(&["get", "cluster", "c1"])?;
    let right = before["spec"]["metrics"]["address"].clone();
    reachable(scene, "True")?;
    // Nothing listens on that port.
    let wrong = json!(format!("http://{}:9", scene.lab.bridge_address));
    set(scene, &before, &wrong)?;
    let shown = shows(scene, &shop);
    set(scene, &before, &right)?;
    reachable(scene, "True")?;
    shown
}

/// Sets where the cluster's metrics are read.
fn set(scene: &Scene, cluster: &Value, address: &Value) -> Result<()> {
    let document = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "c1", "labels": cluster["metadata"]["labels"]},
        "spec": {"metrics": {"address": address}},
    });
    scene.cli.apply(&document.to_string())?;
    Ok(())
}

/// Waits until the cluster's condition has that status, and returns it.
fn reachable(scene: &Scene, status: &str) -> Result<Value> {
    until(LIMIT, &format!("MetricsReachable to be {status}"), || {
        let shown = scene.cli.json(&["get", "cluster", "c1"])?;
        let conditions = shown["status"]["conditions"].as_array();
        Ok(conditions.into_iter().flatten().find_map(|one| {
            (one["type"] == "MetricsReachable" && one["status"] == status).then(|| one.clone())
        }))
    })
}

fn shows(scene: &Scene, shop: &Shop) -> Result<()> {
    let condition = reachable(scene, "False")?;
    ensure!(condition["reason"] == "Unreachable", "{condition}");
    let clusters = scene.cli.run(&["get", "clusters"])?;
    ensure!(
        clusters
            .lines()
            .any(|line| line.starts_with("c1 ") && line.contains("Degraded metrics Unreachable")),
        "{clusters}"
    );
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    let why = scene
        .cli
        .run(&["why", &format!("rollout/{}", scene.name)])?;
    ensure!(
        why.contains("MetricsUnreachable") && why.contains("its metrics do not answer"),
        "{why}"
    );
    // It goes nowhere without an answer, and the deadline takes it back.
    let view = scene.ended(2, RunPhase::Failed)?;
    let failure = failure(&view)?;
    ensure!(
        failure == (Some(FailureReason::DeadlineExceeded), 0),
        "{failure:?}"
    );
    let weights = scene.weights_told(&view, "c1")?;
    ensure!(weights == [50], "weights: {weights:?}");
    let events = scene.events_of(&view)?;
    for reason in ["CheckUnknown", "ClusterFailed"] {
        let mut told = events.iter().filter(|one| one["reason"] == reason);
        ensure!(
            told.any(|one| one
                .to_string()
                .contains("failed to reach the metrics source")),
            "{reason} does not say why: {events:#?}"
        );
    }
    traffic.none_lost("v1")?;
    scene.assert_restored(&scene.member(0)?, shop)
}
