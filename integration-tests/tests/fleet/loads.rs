//! Loads that hooks make without a URL: they are seen at the pods that answer them.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{cluster::Member, manifests::Shop, wait::until};
use serde_json::json;

use crate::{
    Case,
    hooks::hooks,
    scene::{RUN_LIMIT, Scene},
};

pub const CASES: &[Case] = &[(
    "hooks_make_load_that_arrives_at_the_canary",
    "loads",
    arriving,
)];

/// How long requests are counted.
const COUNTED_FOR: Duration = Duration::from_secs(4);
/// Requests a second that are made where nothing says how many.
const DEFAULT_RATE: u64 = 10;
/// Those that the fleet says.
const FLEET_RATE: u64 = 200;

/// A fleet of the first cluster with these defaults, as YAML on one line.
fn fleet(scene: &Scene, defaults: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {}}}\n\
         spec: {{clusters: [c1], defaults: {defaults}}}\n---\n",
        scene.name
    )
}

/// A hook that names nothing makes load as by default, and as its fleet says where that does. Nobody
/// asks through the gateway meanwhile: the canary alone answers.
fn arriving(scene: &Scene) -> Result<()> {
    let shop = Shop {
        destination: format!("{{fleet: {}}}", scene.name),
        strategy: "{canary: {weights: [50]}}".into(),
        extra_rollout: hooks(&[
            json!({"name": "plain"}),
            json!({"type": "ConfirmPromotion", "name": "counted", "approval": {}}),
        ]),
        ..scene.small_shop()
    };
    let documents =
        |defaults: &str, version: &str| fleet(scene, defaults) + &shop.version(version).documents();
    let member = scene.member(0)?;
    scene.cli.apply(&documents("{}", "v1"))?;
    scene.ended(1, RunPhase::Succeeded)?;

    scene.cli.apply(&documents("{}", "v2"))?;
    let made = counted(scene, &member, 2)?;
    ensure!(made > 0, "no load has arrived at the canary");

    let defaults = format!("{{loadGenerator: {{rate: {FLEET_RATE}, concurrency: 10}}}}");
    scene.cli.apply(&documents(&defaults, "v1"))?;
    let made = counted(scene, &member, 3)?;
    // Twice what there is by default: a machine that is busy makes less than it should, never more.
    let least = 2 * DEFAULT_RATE * COUNTED_FOR.as_secs();
    ensure!(made > least, "{made} requests: not as the fleet says");
    scene.assert_restored(&member, &shop.version("v1"))
}

/// Counts what the canary of a run answers while its only weight is in force, and has the run promoted.
fn counted(scene: &Scene, member: &Member, revision: u64) -> Result<u64> {
    scene.in_phase(revision, Phase::WaitingPromotion)?;
    let answered = |selector: &str| {
        scene
            .lab
            .answered("c1", member, (scene.name.as_str(), selector))
    };
    let (canary, stable) = ("bellwether.dev/run", "app=web,!bellwether.dev/run");
    until(RUN_LIMIT, "a request to arrive", || {
        Ok((answered(canary)? > 0).then_some(()))
    })?;
    let (began, started) = (answered(canary)?, Instant::now());
    sleep(COUNTED_FOR);
    let made = answered(canary)? - began;
    let rate = f64::from(u32::try_from(made)?) / started.elapsed().as_secs_f64();
    println!("revision {revision}: {made} requests, {rate:.0} a second");
    let others = answered(stable)?;
    ensure!(
        others == 0,
        "{others} requests came to the stable version: somebody asks through the gateway"
    );
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(revision, RunPhase::Succeeded)?;
    Ok(made)
}
