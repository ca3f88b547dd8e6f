//! Mirrored requests: the new version is checked with copies that no user sees.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    cluster::Member,
    fixture::cluster_view,
    manifests::Shop,
    traffic::{Traffic, tally},
    weights::{RunWatch, now_ms, weights_in_order},
};

use crate::scene::{RUN_LIMIT, Scene};

/// How long the new version's copies are counted.
const COUNTED_FOR: Duration = Duration::from_secs(3);

/// Releases v1 as the third revision over v2, while `streams` ask; returns what was released.
pub fn blue_green(
    scene: &Scene,
    member: &Member,
    shop: &Shop,
    streams: &[&Traffic],
) -> Result<Shop> {
    let shop = Shop {
        strategy: "{blueGreen: {iterations: 30, analysisTraffic: Mirror}}".into(),
        analysis: "{interval: 1s}".into(),
        ..shop.version("v1")
    };
    scene.cli.apply(&shop.documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let checked = "green to be checked";
    scene.wait_run(&scene.name, 3, RUN_LIMIT, checked, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            let mut tracks = cluster.tracks.iter();
            tracks.any(|track| track.current.iteration >= 1)
        })
    })?;
    gets_copies(scene, member, "v2", streams)?;
    scene.ended(3, RunPhase::Succeeded)?;
    let weights = weights_in_order(&watch.stop(), "c1");
    ensure!(weights == [100], "switched at once: {weights:?}");
    Ok(shop)
}

/// The new version answers what users ask, and users see `old` alone.
pub fn gets_copies(scene: &Scene, member: &Member, old: &str, streams: &[&Traffic]) -> Result<()> {
    let from_ms = now_ms();
    let began = copies(scene, member)?;
    std::thread::sleep(COUNTED_FOR);
    let copied = copies(scene, member)? - began;
    let to_ms = now_ms();
    let view = scene.run(&scene.name)?;
    let track = cluster_view(&view, "c1")?.tracks.first();
    let track = track.context("a track")?;
    ensure!(
        track.observed_weight.percent() == 0,
        "it was counted before the switch: {track:?}"
    );
    let mut asked = 0;
    for traffic in streams {
        let users = tally(&traffic.so_far()?, Some("c1"), from_ms, to_ms);
        ensure!(
            users.total > 0 && users.share_percent(old) >= 100.0,
            "users saw the new version: {users:?}"
        );
        asked += users.total;
    }
    println!("the new version got {copied} copies while users asked {asked} times");
    ensure!(
        copied * 2 >= asked,
        "the new version got {copied} copies of {asked} requests"
    );
    Ok(())
}

/// How many requests the new version's pods have answered.
fn copies(scene: &Scene, member: &Member) -> Result<u64> {
    let green = (scene.name.as_str(), "bellwether.dev/run");
    scene.lab.answered("c1", member, green)
}
