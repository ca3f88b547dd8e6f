//! Updates in place that say where requests go: a StatefulSet behind the gateway.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase},
    view::RunPhase,
};
use bellwether_integration_tests::{
    cluster::Member,
    fixture::cluster_view,
    manifests::Shop,
    traffic::{Traffic, tally},
    wait::until,
    weights::now_ms,
};
use serde_json::{Value, json};

use crate::{
    Case,
    batches::{only_from, pods, waits_at},
    scene::{RUN_LIMIT, Scene},
    strategies::all_answer,
};

/// One by one: each is judged by requests that were lost or went astray.
pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "sc_r1_batches_for_employees_then_half_then_all_lose_no_request",
        "employees",
        employees_first,
    ),
    (
        "sc_r2_batch_of_five_percent_waits_for_a_human",
        "fivepercent",
        five_percent,
    ),
    (
        "sc_r3_batches_go_on_and_back_by_metrics",
        "bymetrics",
        by_metrics,
    ),
];

/// A StatefulSet with its Service and route.
fn set(scene: &Scene, replicas: u32, steps: &str) -> Shop {
    Shop {
        replicas,
        pre_stop_seconds: 2,
        strategy: format!("{{batch: {{steps: {steps}}}}}"),
        ..scene.small_shop()
    }
}

fn manifests(shop: &Shop) -> Vec<Value> {
    let mut manifests = shop.manifests();
    manifests[0]["kind"] = json!("StatefulSet");
    // Peers find each other by a Service of their own, which no run touches.
    manifests[0]["spec"]["serviceName"] = json!("peers");
    manifests
}

fn documents(shop: &Shop) -> String {
    let mut text = shop.documents();
    for (written, made) in shop.manifests().iter().zip(manifests(shop)) {
        text = text.replace(&written.to_string(), &made.to_string());
    }
    text.replace("kind: Deployment,", "kind: StatefulSet,")
}

/// Waits until nothing of a run is left, and fails when an object differs from what the user wrote.
fn is_as_written(scene: &Scene, member: &Member, shop: &Shop) -> Result<()> {
    until(
        Duration::from_secs(60),
        "the run's objects to be gone",
        || {
            let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
            let service = scene.object(member, "Service", "web-canary")?;
            Ok((tracks.is_empty() && service.is_none()).then_some(()))
        },
    )?;
    for written in manifests(shop) {
        let kind = written["kind"].as_str().context("a kind")?;
        let live = scene.object(member, kind, "web")?.context("it is there")?;
        scene.assert_equals_fresh(member, &written, &live)?;
    }
    Ok(())
}

/// Requests that are counted at least to measure a share.
const COUNTED: u64 = 1_000;

/// Counts what c1 answers from now on, and fails unless v2 has `percent` of it, give or take `tolerance` points.
pub fn has_share(traffic: &Traffic, percent: f64, tolerance: f64) -> Result<()> {
    let from_ms = now_ms();
    let counted = until(Duration::from_secs(60), "enough requests", || {
        let counted = tally(&traffic.so_far()?, Some("c1"), from_ms, now_ms());
        Ok((counted.total >= COUNTED).then_some(counted))
    })?;
    let share = counted.share_percent("v2");
    ensure!(
        (share - percent).abs() <= tolerance,
        "v2 has {share:.1} % of {} requests, not {percent} %",
        counted.total
    );
    Ok(())
}

fn approve(scene: &Scene) -> Result<()> {
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    Ok(())
}

/// Waits until the route carries the weight of the step that waits for a human.
fn carries(scene: &Scene, step: u32, new: u32, total: u32, weight: u8) -> Result<()> {
    waits_at(scene, step, new, total)?;
    let view = scene.run(&scene.name)?;
    let tracks = &cluster_view(&view, "c1")?.tracks;
    ensure!(
        tracks
            .iter()
            .all(|track| track.observed_weight.percent() == weight),
        "not at {weight} %: {tracks:?}"
    );
    Ok(())
}

const EMPLOYEE: (&str, &str) = ("x-employee", "true");

fn employees_first(scene: &Scene) -> Result<()> {
    let steps = "[{replicas: 33%, match: [{headers: [{name: x-employee, exact: 'true'}]}]}, \
                 {replicas: 50%, weight: 50}, {replicas: 100%}]";
    let shop = set(scene, 10, steps);
    let next = shop.version("v2");
    scene.cli.apply(&documents(&shop))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let before = pods(scene, &member)?;
    let traffic = scene.traffic(&["c1"])?;
    let started_ms = now_ms();

    scene.cli.apply(&documents(&next))?;
    carries(scene, 0, 4, 10, 0)?;
    only_from(&pods(scene, &member)?, &before, 6, "v2")?;
    all_answer(scene, &[EMPLOYEE], "v2")?;
    all_answer(scene, &[("x-employee", "false")], "v1")?;
    let others = tally(&traffic.so_far()?, Some("c1"), started_ms, now_ms());
    ensure!(
        others.total > 0 && others.share_percent("v1") >= 100.0,
        "others were answered by new pods: {others:?}"
    );
    let shown = scene.cli.run(&["get", "rollout", &scene.name])?;
    ensure!(shown.contains("+match"), "matches are not shown: {shown}");

    approve(scene)?;
    carries(scene, 1, 5, 10, 50)?;
    only_from(&pods(scene, &member)?, &before, 5, "v2")?;
    has_share(&traffic, 50.0, 5.0)?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "enough"])?;
    scene.ended(2, RunPhase::Aborted)?;
    only_from(&pods(scene, &member)?, &before, 5, "v1")?;
    all_answer(scene, &[EMPLOYEE], "v1")?;
    is_as_written(scene, &member, &shop)?;

    let before = pods(scene, &member)?;
    scene.cli.run(&["rollout", "retry", &scene.name])?;
    for (step, new, weight) in [(0, 4, 0), (1, 5, 50)] {
        carries(scene, step, new, 10, weight)?;
        only_from(&pods(scene, &member)?, &before, 10 - new, "v2")?;
        approve(scene)?;
    }
    waits_at(scene, 2, 10, 10)?;
    all_answer(scene, &[], "v2")?;
    approve(scene)?;
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.stop()?;
    is_as_written(scene, &member, &next)?;
    let all = tally(&seconds, Some("c1"), started_ms, now_ms());
    ensure!(all.total >= 10_000, "only {} requests", all.total);
    ensure!(all.failed == 0, "requests failed: {:?}", all.failures);
    Ok(())
}

fn five_percent(scene: &Scene) -> Result<()> {
    let shop = set(scene, 5, "[{weight: 5}, {weight: 5, replicas: 40%}]");
    scene.cli.apply(&documents(&shop))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let traffic = scene.traffic(&["c1"])?;
    let started_ms = now_ms();
    scene.cli.apply(&documents(&shop.version("v2")))?;
    carries(scene, 0, 1, 5, 5)?;
    has_share(&traffic, 5.0, 3.0)?;
    approve(scene)?;
    // Pods and traffic apart: twice the pods have the same share.
    carries(scene, 1, 2, 5, 5)?;
    has_share(&traffic, 5.0, 3.0)?;
    approve(scene)?;
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.stop()?;
    is_as_written(scene, &member, &shop.version("v2"))?;
    let all = tally(&seconds, Some("c1"), started_ms, now_ms());
    ensure!(all.failed == 0, "requests failed: {:?}", all.failures);
    Ok(())
}

fn by_metrics(scene: &Scene) -> Result<()> {
    let steps = "[{weight: 40, advance: Auto}, {weight: 70, replicas: 60%, advance: Auto}, \
                 {replicas: 100%, advance: Auto}]";
    let judged = |policy: &str| Shop {
        analysis: format!(
            "{{interval: 2s, failureThreshold: 2, onFailure: {policy}, metrics: [\
             {{name: request-success-rate, range: {{min: \"99\"}}, window: 10s, minRequests: 20}}]}}"
        ),
        ..set(scene, 5, steps)
    };
    let shop = judged("Rollback");
    scene.cli.apply(&documents(&shop))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let traffic = scene.traffic(&["c1"])?;

    // A fifth of what v3 answers are errors.
    let before = pods(scene, &member)?;
    scene.cli.apply(&documents(&shop.version("v3")))?;
    let view = scene.ended(2, RunPhase::Failed)?;
    let track = cluster_view(&view, "c1")?
        .tracks
        .first()
        .context("a track")?;
    ensure!(
        track.failure == Some(FailureReason::FailedChecks),
        "{:?}: {}",
        track.failure,
        track.message
    );
    only_from(&pods(scene, &member)?, &before, 3, "v1")?;
    is_as_written(scene, &member, &shop)?;

    // The template that failed is not tried again; this is another.
    let paused = Shop {
        environment: vec![("DEMO_TRY".to_owned(), "2".to_owned())],
        ..judged("Pause")
    };
    scene.cli.apply(&documents(&paused.version("v3")))?;
    scene.wait_run(&scene.name, 3, RUN_LIMIT, "the batch to pause", |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                (track.phase, track.step) == (Phase::Paused, Some(0))
                    && track.observed_weight.percent() == 40
            })
        })
    })?;
    only_from(&pods(scene, &member)?, &before, 3, "v3")?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "seen"])?;
    scene.ended(3, RunPhase::Aborted)?;

    scene.cli.apply(&documents(&shop.version("v2")))?;
    scene.ended(4, RunPhase::Succeeded)?;
    let seconds = traffic.stop()?;
    is_as_written(scene, &member, &shop.version("v2"))?;
    // What failed must have failed inside v3 alone.
    let others: Vec<_> = seconds
        .iter()
        .filter(|second| second.status != 200)
        .filter(|second| (second.version.as_str(), second.status) != ("v3", 500))
        .collect();
    ensure!(others.is_empty(), "requests failed: {others:?}");
    Ok(())
}
