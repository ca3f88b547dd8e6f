//! Rollouts that are deleted while their run is under way, and want it finished.

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    manifests::Shop,
    weights::{RunWatch, weights_in_order},
};

use crate::{Case, scene::Scene};

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
