//! Hands that reach for the workload in the middle of a run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, RunPhase, RunView};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, manifests::Shop, wait::until,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Case,
    autoscaling::has_size,
    scene::{Scene, api_version},
};

pub const CASES: &[Case] = &[
    (
        "rollout_restart_and_a_human_edit_do_not_change_a_run",
        "edited",
        edited,
    ),
    (
        "workload_that_is_scaled_paused_and_resumed_by_hand_goes_on_from_there",
        "byhand",
        scaled_and_paused,
    ),
];

const LIMIT: Duration = Duration::from_secs(30);
/// The image of the version before.
const OLD: &str = "bellwether.local/demo:v1";

fn gated(scene: &Scene, weight: u8) -> Shop {
    Shop {
        strategy: format!("{{canary: {{steps: [{{weight: {weight}}}]}}}}"),
        ..scene.small_shop()
    }
}

fn patch(scene: &Scene, member: &Member, change: &Value) -> Result<()> {
    let kind = "Deployment";
    member.patch(api_version(kind), kind, &scene.name, "web", change)
}

/// Whether an edit by hand holds what is shown.
fn is_held(shown: &impl Serialize) -> bool {
    serde_json::to_string(shown).is_ok_and(|text| text.contains("ForeignEdit"))
}

/// Waits until the second run is held by an edit, and names it.
fn held(scene: &Scene) -> Result<()> {
    let view = scene.wait_run(&scene.name, 2, LIMIT, "ForeignEdit", is_held)?;
    ensure!(!view.waiting_on.is_empty(), "an edit by hand is waited on");
    Ok(())
}

/// Waits until nothing holds the second run but the human that its step waits for.
fn let_go(scene: &Scene) -> Result<RunView> {
    let what = "c1 to wait for its step's human alone";
    scene.wait_run(&scene.name, 2, LIMIT, what, |view| {
        cluster_view(view, "c1")
            .is_ok_and(|one| one.state == ClusterPhase::WaitingApproval && !is_held(one))
    })
}

fn edited(scene: &Scene) -> Result<()> {
    let shop = gated(scene, 20);
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let before = member.pod_uids(&scene.name, OLD)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    // The release names the count: another one is an edit like any other.
    member.scale(&scene.name, "web", 4)?;
    held(scene)?;
    member.scale(&scene.name, "web", 3)?;
    let_go(scene)?;
    until(LIMIT, "the pods of before alone", || {
        Ok((member.pod_uids(&scene.name, OLD)? == before).then_some(()))
    })?;
    // What `kubectl rollout restart` does.
    patch(
        scene,
        &member,
        &json!({"spec": {"template": {"metadata": {"annotations": {
            "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}}}),
    )?;
    held(scene)?;
    let after = member.pod_uids(&scene.name, OLD)?;
    ensure!(
        before == after,
        "a restart must not replace stable pods during a run"
    );
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "edited"])?;
    scene.ended(2, RunPhase::Aborted)?;
    scene.assert_restored(&member, &shop)
}

/// A workload whose count its release leaves to whoever scales it.
fn scaled_and_paused(scene: &Scene) -> Result<()> {
    let shop = gated(scene, 50);
    let release = |version: &str| -> Result<String> {
        let written = shop.version(version).documents();
        let uncounted = written.replace("\"replicas\":3,", "");
        ensure!(uncounted != written, "no count: {written}");
        Ok(uncounted)
    };
    scene.cli.apply(&release("v1")?)?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    member.scale(&scene.name, "web", 2)?;
    has_size(scene, &member, "web", 2)?;

    // What `kubectl rollout pause` and `kubectl rollout resume` do.
    let (pause, resume) = (
        json!({"spec": {"paused": true}}),
        json!({"spec": {"paused": null}}),
    );
    patch(scene, &member, &pause)?;
    scene.cli.apply(&release("v2")?)?;
    let rollout = format!("rollout/{}", scene.name);
    until(LIMIT, "`why` to name the pause", || {
        let why = scene.cli.run(&["why", &rollout])?;
        let is_named = why.contains("WorkloadPaused") && why.contains("Deployment");
        Ok(is_named.then_some(()))
    })?;
    ensure!(
        scene.object(&member, "Deployment", "web-canary")?.is_none(),
        "nothing begins while its user has paused it"
    );
    patch(scene, &member, &resume)?;
    scene.at_weight(2, 50)?;
    has_size(scene, &member, "web-canary", 1)?;

    member.scale(&scene.name, "web", 4)?;
    has_size(scene, &member, "web", 4)?;
    has_size(scene, &member, "web-canary", 2)?;
    let_go(scene)?;
    let before = member.pod_uids(&scene.name, OLD)?;
    patch(scene, &member, &resume)?;
    held(scene)?;
    let live = scene.object(&member, "Deployment", "web")?.context("web")?;
    ensure!(
        live["spec"]["paused"] != true && live.to_string().contains(OLD),
        "an edit by hand is left: {live}"
    );
    patch(scene, &member, &pause)?;
    let view = let_go(scene)?;
    let track = &cluster_view(&view, "c1")?.tracks[0];
    ensure!(track.observed_weight.percent() == 50, "{track:?}");
    let after = member.pod_uids(&scene.name, OLD)?;
    ensure!(before == after, "the old pods were changed");
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    let scaled = Shop {
        replicas: 4,
        ..shop.version("v2")
    };
    scene.assert_restored(&member, &scaled)
}
