//! A fix over an old version that broke after it had come in.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::Shop,
    wait::until,
    weights::{RunWatch, weights_in_order},
};
use serde_json::json;

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
};

pub const CASES: &[Case] = &[(
    "a_fix_is_promoted_over_a_version_whose_pods_do_not_start",
    "replaced",
    promoted_over_broken,
)];

/// What the first version needs to start, and no release brings.
const CONFIG: &str = "outside";

/// The first version takes its environment from a ConfigMap of somebody else.
fn documents(shop: &Shop) -> Result<String> {
    let text = shop.documents();
    let with = format!("\"envFrom\":[{{\"configMapRef\":{{\"name\":\"{CONFIG}\"}}}}],\"image\":");
    ensure!(text.contains("\"image\":"), "the Deployment has no image");
    Ok(text.replacen("\"image\":", &with, 1))
}

/// Two of three pods cannot start any more: the fix that needs no such ConfigMap comes in while the third
/// one serves.
fn promoted_over_broken(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    let member = scene.member(0)?;
    member.create_namespace(&scene.name)?;
    member.create(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": CONFIG, "namespace": scene.name}, "data": {"OUTSIDE": "yes"},
    }))?;
    scene.cli.apply(&documents(&shop)?)?;
    scene.ended(1, RunPhase::Succeeded)?;
    let traffic = scene.traffic(&["c1"])?;
    member.delete("v1", "ConfigMap", &scene.name, CONFIG)?;
    for pod in member.pods(&scene.name, "app=web")?.iter().take(2) {
        let name = pod.metadata.name.as_deref().context("pods have names")?;
        member.delete("v1", "Pod", &scene.name, name)?;
    }
    until(Duration::from_secs(30), "two pods not to start", || {
        let live = scene
            .object(&member, "Deployment", "web")?
            .context("the Deployment")?;
        Ok((live["status"]["unavailableReplicas"] == 2).then_some(()))
    })?;
    let fix = shop.version("v2");
    scene.cli.apply(&fix.documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene.in_phase(2, Phase::Initializing)?;
    let why = scene
        .cli
        .run(&["why", &format!("rollout/{}", scene.name)])?;
    let way = format!("bellwether rollout promote {}", scene.name);
    ensure!(why.contains(&way), "why must name the way out: {why}");
    let reason = ["--reason", "v1 does not start"];
    scene
        .cli
        .run(&[&["rollout", "promote", &scene.name][..], &reason].concat())?;
    let view = scene.wait_ended(&scene.name, 2, RunPhase::Succeeded, RUN_LIMIT)?;
    ensure!(cluster_view(&view, "c1").is_ok(), "c1 took part");
    traffic.none_lost("v2")?;
    let weights = weights_in_order(&watch.stop(), "c1");
    ensure!(weights.is_empty(), "no canary got anything: {weights:?}");
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    ensure!(
        events.contains("ReplacedUntested") && events.contains("v1 does not start"),
        "the promotion must be told with its reason: {events}"
    );
    scene.assert_restored(&member, &fix)
}
