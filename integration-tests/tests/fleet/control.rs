//! What humans say to a run.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether_api::{
    status::Phase,
    view::{ClusterPhase, RunPhase},
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::Shop,
    traffic::{answered_by, tally},
    wait::until,
    weights::now_ms,
};
use serde_json::json;

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene, api_version},
};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_r3_paused_after_a_failure_is_resumed_or_aborted",
    "pauses",
    paused_after_failure,
)];

pub const CASES: &[Case] = &[
    (
        "steps_wait_for_approval_and_commands_are_answered_once",
        "approve",
        approve,
    ),
    (
        "suspend_holds_the_weight_and_resume_goes_on",
        "suspend",
        suspend,
    ),
    ("promote_skips_the_remaining_steps", "promote", promote),
    ("skip_skips_one_step", "skip", skip),
    (
        "abort_goes_back_and_retry_makes_a_new_attempt",
        "retry",
        abort_and_retry,
    ),
    ("approval_gate_between_waves", "gate", approval_gate),
    (
        "stale_revision_is_refused_with_exit_code_6",
        "stale",
        stale_revision,
    ),
];

fn manual(scene: &Scene) -> Shop {
    Shop {
        strategy: "{canary: {steps: [{weight: 20}, {weight: 60}]}}".into(),
        ..scene.small_shop()
    }
}

fn start(scene: &Scene) -> Result<Shop> {
    let shop = manual(scene);
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    scene.cluster_state(2, ClusterPhase::WaitingApproval)?;
    Ok(shop)
}

fn approve(scene: &Scene) -> Result<()> {
    let shop = start(scene)?;
    let status = scene.cli.call(&["rollout", "status", &scene.name], None)?;
    ensure!(
        status.code == 4,
        "waiting for a human exits with 4, not {}",
        status.code
    );
    scene
        .cli
        .run(&["rollout", "approve", &scene.name, "--reason", "looks fine"])?;
    scene.at_weight(2, 60)?;
    scene.cluster_state(2, ClusterPhase::WaitingApproval)?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

fn suspend(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {stepWeight: 5, maxWeight: 50}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.wait_run(&scene.name, 2, RUN_LIMIT, "a weight", |view| {
        view.waves
            .iter()
            .flat_map(|wave| &wave.clusters)
            .flat_map(|cluster| &cluster.tracks)
            .any(|track| track.observed_weight.percent() >= 5)
    })?;
    scene.cli.run(&["rollout", "suspend", &scene.name])?;
    // The route may still be on its way to the weight of before.
    scene.wait_run(&scene.name, 2, RUN_LIMIT, "it to stand still", |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                track.phase == Phase::Suspended && track.observed_weight == track.weight
            })
        })
    })?;
    let weight = |view: &bellwether_api::view::RunView| {
        view.waves[0].clusters[0].tracks[0]
            .observed_weight
            .percent()
    };
    let before = weight(&scene.run(&scene.name)?);
    std::thread::sleep(Duration::from_secs(6));
    let after = weight(&scene.run(&scene.name)?);
    ensure!(
        before == after,
        "a suspended run went from {before} to {after}"
    );
    scene.cli.run(&["rollout", "resume", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    Ok(())
}

fn promote(scene: &Scene) -> Result<()> {
    let shop = start(scene)?;
    scene
        .cli
        .run(&["rollout", "promote", &scene.name, "--reason", "in a hurry"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    ensure!(
        !events.contains("60 %"),
        "the step at 60 must have been skipped: {events}"
    );
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

fn skip(scene: &Scene) -> Result<()> {
    start(scene)?;
    scene
        .cli
        .run(&["rollout", "skip", &scene.name, "--reason", "known good"])?;
    scene.at_weight(2, 60)?;
    scene.cluster_state(2, ClusterPhase::WaitingApproval)?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    Ok(())
}

fn abort_and_retry(scene: &Scene) -> Result<()> {
    let shop = start(scene)?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "not yet"])?;
    scene.ended(2, RunPhase::Aborted)?;
    let member = scene.member(0)?;
    scene.assert_restored(&member, &shop)?;
    scene.cli.run(&["rollout", "retry", &scene.name])?;
    scene.at_weight(2, 20)?;
    scene.cluster_state(2, ClusterPhase::WaitingApproval)?;
    scene
        .cli
        .run(&["rollout", "promote", &scene.name, "--reason", "now"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    scene.assert_restored(&member, &shop.version("v2"))
}

fn paused_after_failure(scene: &Scene) -> Result<()> {
    let checked = scene.shop().analysis;
    let shop = Shop {
        analysis: checked.replacen('{', "{onFailure: Pause, ", 1),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v3").documents())?;
    let paused = |checks: u32| {
        let what = format!("c1 to pause after {checks} failed checks");
        let view = scene.wait_run(&scene.name, 2, RUN_LIMIT, &what, |view| {
            cluster_view(view, "c1").is_ok_and(|cluster| {
                cluster.state == ClusterPhase::WaitingApproval
                    && cluster
                        .tracks
                        .iter()
                        .any(|track| track.phase == Phase::Paused && track.failed_checks >= checks)
            })
        })?;
        let track = &cluster_view(&view, "c1")?.tracks[0];
        ensure!(
            track.observed_weight.percent() == 20,
            "the weight stays: {track:?}"
        );
        anyhow::Ok(track.failed_checks)
    };
    let failed = paused(1)?;
    let why = scene
        .cli
        .run(&["why", &format!("rollout/{}", scene.name)])?;
    for verb in ["resume", "promote", "abort"] {
        let command = format!("bellwether rollout {verb} {}", scene.name);
        ensure!(why.contains(&command), "no {command:?} in {why}");
    }
    ensure!(!why.contains("rollout approve"), "no gate waits: {why}");
    scene
        .cli
        .run(&["rollout", "resume", &scene.name, "--reason", "look again"])?;
    paused(failed + 1)?;
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    ensure!(
        events.contains("look again resumed the step"),
        "the cluster says who resumed: {events}"
    );
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "it is broken"])?;
    scene.ended(2, RunPhase::Aborted)?;
    let ended_ms = now_ms();
    std::thread::sleep(Duration::from_secs(3));
    let seconds = traffic.stop()?;
    answered_by(&seconds, ended_ms, "v1")?;
    // What failed must have failed inside v3 alone, which had a fifth of the requests at most.
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(
        all.failed > 0
            && all.failures.keys().all(|key| key.contains(" v3 500 "))
            && all.share_percent("v3") <= 25.0,
        "{all:?}"
    );
    scene.assert_restored(&scene.member(0)?, &shop)
}

fn approval_gate(scene: &Scene) -> Result<()> {
    let shop = Shop {
        destination: "{fleet: quickstart}".into(),
        waves: "[{name: canary, selector: {matchLabels: {tier: canary}}}, \
                {name: rest, maxConcurrent: 2, before: [{approval: {}}]}]"
            .into(),
        strategy: "{canary: {weights: [50]}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.wait_run(&scene.name, 2, RUN_LIMIT, "the gate", |view| {
        view.state == RunPhase::WaitingApproval
    })?;
    for index in [1, 2] {
        let live = scene.object(&scene.member(index)?, "Deployment", "web-canary")?;
        ensure!(live.is_none(), "wave `rest` must wait for the approval");
    }
    let why = scene
        .cli
        .run(&["why", &format!("rollout/{}", scene.name)])?;
    ensure!(why.contains("approv"), "why must name the approval: {why}");
    scene
        .cli
        .run(&["rollout", "approve", &scene.name, "--wave", "rest"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    Ok(())
}

fn stale_revision(scene: &Scene) -> Result<()> {
    start(scene)?;
    let answer = scene.cli.call(
        &["rollout", "promote", &scene.name, "--revision", "1"],
        None,
    )?;
    ensure!(
        answer.code == 6,
        "exit code {}: {}",
        answer.code,
        answer.stderr
    );
    ensure!(answer.stderr.contains("revision"), "{}", answer.stderr);
    // With the hub out of the way a human edits the track itself: its abort wins.
    let member = scene.member(0)?;
    let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
    let name = tracks[0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    member.patch(
        api_version("RolloutTrack"),
        "RolloutTrack",
        &scene.name,
        &name,
        &json!({"spec": {"local": {
            "run": "00000000-0000-0000-0000-000000000000", "attempt": 0,
            "abort": {"cause": "Manual", "by": "somebody at the cluster", "reason": "local"},
        }}}),
    )?;
    until(Duration::from_secs(60), "the track to go", || {
        let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
        Ok(tracks.is_empty().then_some(()))
    })?;
    scene.assert_restored(&member, &manual(scene))
}
