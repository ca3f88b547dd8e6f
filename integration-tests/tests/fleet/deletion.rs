//! Rollouts that are deleted while their run is under way, and want it finished.

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    manifests::Shop,
    wait::until,
    weights::{RunWatch, weights_in_order},
};

use crate::{
    Case,
    foreign::{Foreign, by_hand},
    scene::{RUN_LIMIT, Scene},
};

pub const CASES: &[Case] = &[(
    "foreign_rollout_that_completes_finishes_its_run_first",
    "foreignends",
    foreign_completes,
)];

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "deleting_a_rollout_that_completes_finishes_its_run_first",
    "completes",
    completes,
)];

fn completes(scene: &Scene) -> Result<()> {
    let shop = Shop {
        on_deletion: "Complete".into(),
        pre_stop_seconds: 3,
        strategy: "{canary: {steps: [{weight: 20}, {weight: 60}]}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene
        .cli
        .run(&["delete", "rollout", &format!("{}-web", scene.name), "-y"])?;
    // The run ends, and so does the release without a Rollout that follows it.
    scene.ended(3, RunPhase::Succeeded)?;
    traffic.none_lost("v2")?;
    ensure!(
        weights_in_order(&watch.stop(), "c1").contains(&60),
        "the plan's steps must all be taken"
    );
    let history = scene.cli.json(&["rollout", "history", &scene.name])?;
    let ended = history.as_array().or_else(|| history["items"].as_array());
    let second = ended
        .and_then(|runs| runs.iter().find(|run| run["revision"] == 2))
        .with_context(|| format!("revision 2 in {history}"))?;
    ensure!(second["state"] == "Succeeded", "{second}");
    let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
    ensure!(tracks.is_empty(), "{tracks:?}");
    ensure!(scene.object(&member, "Deployment", "web-canary")?.is_none());
    scene.assert_restored(&member, &shop.version("v2"))
}

/// A human is asked at half of the traffic, until nobody is there who could be.
fn foreign_completes(scene: &Scene) -> Result<()> {
    let shop = Shop {
        on_deletion: "Complete".into(),
        ..by_hand(scene)
    };
    let foreign = Foreign::adopt(scene, shop, 0)?;
    foreign.apply("v2")?;
    let run = foreign.waits_for_a_human()?.run.to_string();
    foreign.release()?;
    for reason in ["Promoting", "Succeeded"] {
        told(scene, &run, reason)?;
    }
    foreign.stands("v2", 3)?;
    foreign.is_let_go()?;
    foreign.assert_restored("v2")?;
    // Nothing begins after it: Kubernetes rolls as ever.
    foreign.apply("v3")?;
    foreign.stands("v3", 3)?;
    foreign.assert_restored("v3")?;
    foreign.uninstall()
}

/// Waits until the hub was told this of a run, whose Rollout has no record any more.
fn told(scene: &Scene, run: &str, reason: &str) -> Result<()> {
    until(RUN_LIMIT, &format!("{reason} to be told"), || {
        let arguments = ["events", "--cluster", "c1", "--limit", "500"];
        let events = scene.cli.json(&arguments)?;
        let mut events = events["items"].as_array().context("events")?.iter();
        let found = events.any(|one| one["run"] == run && one["reason"] == reason);
        Ok(found.then_some(()))
    })
}
