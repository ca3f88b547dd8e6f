//! A DaemonSet with a copy beside it, behind the gateway.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    cluster::Member, manifests::Shop, traffic::tally, wait::until, weights::now_ms,
};
use serde_json::{Value, json};

use crate::{Case, batch_traffic::has_share, scene::Scene};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "copy_of_a_daemon_set_takes_its_share_and_loses_no_request",
    "daemons",
    copy_beside_it,
)];

fn manifests(shop: &Shop) -> Vec<Value> {
    let mut manifests = shop.manifests();
    manifests[0]["kind"] = json!("DaemonSet");
    if let Some(spec) = manifests[0]["spec"].as_object_mut() {
        spec.remove("replicas");
    }
    manifests
}

fn documents(shop: &Shop) -> String {
    let mut text = shop.documents();
    for (written, made) in shop.manifests().iter().zip(manifests(shop)) {
        text = text.replace(&written.to_string(), &made.to_string());
    }
    text.replace("kind: Deployment,", "kind: DaemonSet,")
}

/// Waits until nothing of a run is left, and fails unless the DaemonSet and its Service are as written.
fn is_as_written(scene: &Scene, member: &Member, shop: &Shop) -> Result<()> {
    until(
        Duration::from_secs(60),
        "the run's objects to be gone",
        || {
            let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
            let service = scene.object(member, "Service", "web-canary")?;
            let copy = scene.object(member, "DaemonSet", "web-canary")?;
            Ok((tracks.is_empty() && service.is_none() && copy.is_none()).then_some(()))
        },
    )?;
    let live = scene.object(member, "DaemonSet", "web")?;
    let live = live.context("the DaemonSet")?;
    let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(
        live["spec"]["updateStrategy"]["type"] == "RollingUpdate"
            && *image == format!("bellwether.local/demo:{}", shop.version),
        "not as written: {}",
        live["spec"]
    );
    let service = scene
        .object(member, "Service", "web")?
        .context("the Service")?;
    ensure!(
        service["spec"]["selector"] == json!({"app": "web"}),
        "still pinned: {}",
        service["spec"]
    );
    Ok(())
}

fn copy_beside_it(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        strategy: "{canary: {steps: [{weight: 40}]}}".into(),
        ..scene.small_shop()
    };
    scene.cli.apply(&documents(&shop))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let member = scene.member(0)?;
    let old = scene
        .object(&member, "DaemonSet", "web")?
        .context("it is there")?;
    let nodes = old["status"]["desiredNumberScheduled"].clone();

    let traffic = scene.traffic(&["c1"])?;
    let started_ms = now_ms();
    let next = shop.version("v2");
    for end in [RunPhase::Aborted, RunPhase::Succeeded] {
        if end == RunPhase::Aborted {
            scene.cli.apply(&documents(&next))?;
        } else {
            scene.cli.run(&["rollout", "retry", &scene.name])?;
        }
        scene.at_weight(2, 40)?;
        scene.in_phase(2, Phase::WaitingPromotion)?;
        let copy = scene
            .object(&member, "DaemonSet", "web-canary")?
            .context("the copy")?;
        ensure!(copy["status"]["numberReady"] == nodes, "{}", copy["status"]);
        has_share(&traffic, 40.0, 5.0)?;
        if end == RunPhase::Aborted {
            let abort = ["rollout", "abort", &scene.name, "--reason", "enough"];
            scene.cli.run(&abort)?;
            scene.ended(2, end)?;
            is_as_written(scene, &member, &shop)?;
        } else {
            scene.cli.run(&["rollout", "approve", &scene.name])?;
            scene.ended(2, end)?;
            is_as_written(scene, &member, &next)?;
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.stop()?;
    let all = tally(&seconds, Some("c1"), started_ms, now_ms());
    ensure!(all.total >= 1_000, "only {} requests", all.total);
    let failed: Vec<_> = seconds.iter().filter(|one| one.status != 200).collect();
    ensure!(all.failed == 0, "requests failed: {failed:?}");
    Ok(())
}
