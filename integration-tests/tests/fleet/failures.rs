//! Releases that must not go through, and what takes their place.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase},
    view::{ClusterPhase, RunPhase},
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::Shop,
    traffic::{answered_by, tally},
    wait::until,
    weights::{RunWatch, now_ms, weights_in_order},
};
use serde_json::json;

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
    strategies::all_answer,
};

/// In three clusters.
pub const ALONE: &[Case] = &[(
    "failing_canary_is_rolled_back_and_later_waves_never_start",
    "failing",
    failing_canary,
)];

/// It ends an agent.
pub const AGENT_ENDS: &[Case] = &[(
    "failed_revision_is_held_until_it_changes_or_is_retried",
    "held",
    failed_revision_is_held,
)];

/// Judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "abort_while_promoting_returns_to_the_old_version",
        "promoabort",
        abort_while_promoting,
    ),
    (
        "failure_while_promoting_returns_to_the_old_version",
        "promofail",
        failure_while_promoting,
    ),
    (
        "deleting_the_rollout_mid_run_rolls_back_first",
        "deleted",
        deleted_mid_run,
    ),
];

pub const CASES: &[Case] = &[
    (
        "sc_r4_bad_image_gets_no_traffic_and_ends_at_the_deadline",
        "badimage",
        bad_image,
    ),
    ("new_release_supersedes_a_run", "supersede", supersede),
    (
        "killed_canary_pods_take_the_weight_to_zero",
        "killed",
        killed_canary_pods,
    ),
];

fn failing_canary(scene: &Scene) -> Result<()> {
    let shop = scene.shop();
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1", "c2", "c3"])?;
    scene.cli.apply(&shop.version("v3").documents())?;
    // onFailure defaults to Halt: the run halts at the failed check, and its cluster is back a little later.
    let what = "the run to be halted, and c1 to be back";
    let view = scene.wait_run(&scene.name, 2, RUN_LIMIT, what, |view| {
        view.state == RunPhase::Halted
            && cluster_view(view, "c1").is_ok_and(|one| one.state == ClusterPhase::Failed)
    })?;
    let ended_ms = now_ms();
    std::thread::sleep(Duration::from_secs(3));
    let seconds = traffic.stop()?;
    let first = cluster_view(&view, "c1")?;
    ensure!(
        first
            .tracks
            .iter()
            .all(|track| track.failure == Some(FailureReason::FailedChecks)),
        "c1 failed for {:?}",
        first.tracks
    );
    for cluster in ["c2", "c3"] {
        let reached = tally(&seconds, Some(cluster), 0, i64::MAX);
        ensure!(
            !reached.by_version.contains_key("v3"),
            "{cluster} must never serve v3"
        );
    }
    answered_by(&seconds, ended_ms, "v1")?;
    // What failed must have failed inside v3 alone.
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(
        all.failed > 0 && all.failures.keys().all(|key| key.contains(" v3 500 ")),
        "{:?}",
        all.failures
    );
    scene.assert_restored(&scene.member(0)?, &shop)
}

fn bad_image(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        progress_deadline: "25s".into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let bad = shop.version("does-not-exist");
    scene.cli.apply(&bad.documents())?;
    scene.in_phase(2, Phase::Progressing)?;
    all_answer(scene, &[], "v1")?;
    // Whoever has a better one brings it in over the bad one.
    let shop = shop.version("v2");
    scene.cli.apply(&shop.documents())?;
    scene.ended(3, RunPhase::Succeeded)?;
    all_answer(scene, &[], "v2")?;
    scene.cli.apply(&bad.documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene.in_phase(4, Phase::Progressing)?;
    all_answer(scene, &[], "v2")?;
    let view = scene.ended(4, RunPhase::Failed)?;
    ensure!(
        weights_in_order(&watch.stop(), "c1").is_empty(),
        "no traffic may reach a bad image"
    );
    let track = cluster_view(&view, "c1")?
        .tracks
        .first()
        .context("a track")?;
    ensure!(
        track.failure == Some(FailureReason::DeadlineExceeded),
        "{:?}",
        track.failure
    );
    scene.assert_restored(&scene.member(0)?, &shop)
}

fn manual(scene: &Scene) -> Shop {
    Shop {
        strategy: "{canary: {steps: [{weight: 20}, {weight: 60}]}}".into(),
        ..scene.small_shop()
    }
}

fn supersede(scene: &Scene) -> Result<()> {
    let shop = manual(scene);
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    let quick = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        ..shop
    };
    scene.cli.apply(&quick.version("v4").documents())?;
    scene.ended(3, RunPhase::Succeeded)?;
    let history = scene
        .cli
        .json(&["rollout", "history", &scene.name])?
        .to_string();
    ensure!(history.contains("Superseded"), "{history}");
    scene.assert_restored(&scene.member(0)?, &quick.version("v4"))
}

fn abort_while_promoting(scene: &Scene) -> Result<()> {
    // A slow stop keeps the promotion under way for long enough to be met.
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        pre_stop_seconds: 5,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.in_phase(2, Phase::Promoting)?;
    scene.cli.run(&[
        "rollout",
        "abort",
        &scene.name,
        "--reason",
        "changed our minds",
    ])?;
    scene.ended(2, RunPhase::Aborted)?;
    traffic.none_lost("v1")?;
    scene.assert_restored(&scene.member(0)?, &shop)
}

fn failure_while_promoting(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        progress_deadline: "25s".into(),
        // Without it Kubernetes' own rolling updates would cost requests too.
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let traffic = scene.traffic(&["c1"])?;
    // Pods take their time to become ready, so that the promotion is under way for long enough to be met.
    let slow = Shop {
        environment: vec![("DEMO_READY_AFTER_MS".into(), "3000".into())],
        ..shop.version("v2")
    };
    scene.cli.apply(&slow.documents())?;
    scene.in_phase(2, Phase::Promoting)?;
    // The promoted workload cannot get its new pods: a quota takes their place away.
    member.create(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "full", "namespace": scene.name},
        "spec": {"hard": {"pods": "1"}},
    }))?;
    scene.in_phase(2, Phase::RollingBack)?;
    member.delete("v1", "ResourceQuota", &scene.name, "full")?;
    scene.ended(2, RunPhase::Failed)?;
    traffic.none_lost("v1")?;
    scene.assert_restored(&member, &shop)
}

fn killed_canary_pods(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 30}]}}".into(),
        environment: vec![("DEMO_READY_AFTER_MS".into(), "6000".into())],
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 30)?;
    let member = scene.member(0)?;
    let killed = member.kill_pods(&scene.name, "bellwether.dev/run")?;
    ensure!(killed > 0, "there must have been canary pods");
    let began = std::time::Instant::now();
    until(
        Duration::from_secs(30),
        "the route to carry no canary",
        || {
            let route = scene
                .object(&member, "HTTPRoute", "web")?
                .context("the route")?;
            let weight = route["spec"]["rules"][0]["backendRefs"]
                .as_array()
                .and_then(|backends| {
                    backends
                        .iter()
                        .find(|backend| backend["name"] == "web-canary")
                })
                .map_or(0, |backend| backend["weight"].as_i64().unwrap_or(1));
            Ok((weight == 0).then_some(()))
        },
    )?;
    println!("weight 0 after {} ms", began.elapsed().as_millis());
    // It comes back to the weight by itself once pods are ready again.
    scene.at_weight(2, 0)?;
    let what = "c1 to wait for a human at 30 % again";
    scene.wait_run(&scene.name, 2, RUN_LIMIT, what, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.state == ClusterPhase::WaitingApproval
                && cluster.tracks.iter().any(|track| {
                    track.phase == Phase::WaitingPromotion && track.observed_weight.percent() == 30
                })
        })
    })?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    Ok(())
}

fn failed_revision_is_held(scene: &Scene) -> Result<()> {
    let shop = Shop {
        progress_deadline: "25s".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let bad = shop.version("does-not-exist");
    scene.cli.apply(&bad.documents())?;
    scene.ended(2, RunPhase::Failed)?;
    let member = scene.member(0)?;
    // An agent that starts again, with drift correction on, must not pick it up.
    scene.kill_agent(&member)?;
    // A change that does not touch the pods is no reason either.
    let unrelated = Shop {
        replicas: 2,
        ..bad.clone()
    };
    scene.cli.apply(&unrelated.documents())?;
    let end = std::time::Instant::now() + Duration::from_secs(15);
    while std::time::Instant::now() < end {
        ensure!(
            scene.object(&member, "Deployment", "web-canary")?.is_none(),
            "a failed revision must stay held"
        );
        std::thread::sleep(Duration::from_millis(250));
    }
    let live = scene
        .object(&member, "Deployment", "web")?
        .context("the Deployment")?;
    ensure!(live.to_string().contains("demo:v1"), "v1 must still run");
    // A change of the pods is.
    scene.cli.apply(
        &Shop {
            replicas: 2,
            ..shop.version("v2")
        }
        .documents(),
    )?;
    scene.ended(4, RunPhase::Succeeded)?;
    Ok(())
}

fn deleted_mid_run(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        ..manual(scene)
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    scene
        .cli
        .run(&["delete", "rollout", &format!("{}-web", scene.name), "-y"])?;
    until(Duration::from_secs(60), "the run to be rolled back", || {
        let canary = scene.object(&member, "Deployment", "web-canary")?;
        let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
        Ok((canary.is_none() && tracks.is_empty()).then_some(()))
    })?;
    traffic.none_lost("v1")?;
    scene.assert_restored(&member, &shop)
}
