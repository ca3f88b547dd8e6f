//! Blue-green: all traffic is switched at once, and at once back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase},
    view::RunPhase,
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::{METRICS, Shop},
    traffic::{Second, Traffic, tally},
    weights::{Look, RunWatch, now_ms, spans_in_force, weights_in_order},
};

use crate::{Case, scene::Scene};

/// Judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_k5_failing_green_gives_all_traffic_back_at_once",
    "greenfails",
    failing_green,
)];

/// How long one check takes.
const INTERVAL_MS: i64 = 2_000;

/// Green answers every fifth request with 500, then another one answers all of them well. Both have
/// every request while they are checked.
fn failing_green(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        strategy: "{blueGreen: {iterations: 3, analysisTraffic: All}}".into(),
        analysis: METRICS.into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    fails(scene, &shop, &traffic)?;
    let again_ms = now_ms();
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene.ended(3, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(2));
    let looks = watch.stop();
    let seconds = traffic.stop()?;
    all_on_green(&looks, &seconds, "v2")?;
    let passed = tally(&seconds, Some("c1"), again_ms, i64::MAX);
    ensure!(
        passed.total >= 2_000 && passed.failed == 0,
        "requests failed: {:?}",
        passed.failures
    );
    // What was lost before is what green itself answered.
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(
        all.failures.keys().all(|key| key.contains(" v3 500 ")),
        "{:?}",
        all.failures
    );
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

fn fails(scene: &Scene, shop: &Shop, traffic: &Traffic) -> Result<()> {
    let member = scene.member(0)?;
    let blue = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
    scene.cli.apply(&shop.version("v3").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let view = scene.ended(2, RunPhase::Failed)?;
    let ended_ms = now_ms();
    let looks = watch.stop();
    let track = cluster_view(&view, "c1")?.tracks.first();
    let track = track.context("a track")?;
    ensure!(
        (track.failure, track.failed_checks) == (Some(FailureReason::FailedChecks), 2),
        "{track:?}"
    );
    ensure!(
        member.pod_uids(&scene.name, "bellwether.local/demo:v1")? == blue,
        "blue's pods were touched"
    );
    scene.assert_restored(&member, shop)?;
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.so_far()?;
    all_on_green(&looks, &seconds, "v3")?;
    gone_within_a_check(&looks, &seconds)?;
    let after = tally(&seconds, Some("c1"), ended_ms, now_ms());
    ensure!(
        after.total > 0 && after.failed == 0 && after.share_percent("v1") >= 100.0,
        "after the end: {after:?}"
    );
    Ok(())
}

/// While its weight was in force, green answered every request.
fn all_on_green(looks: &[Look], seconds: &[Second], green: &str) -> Result<()> {
    let weights = weights_in_order(looks, "c1");
    ensure!(weights == [100], "weights: {weights:?}");
    let mut counted = 0;
    for span in spans_in_force(looks, "c1") {
        // What ended it was seen a little later than it happened.
        let inside = tally(seconds, Some("c1"), span.from_ms, span.to_ms - 1_000);
        let answered = inside.by_version.get(green).copied().unwrap_or_default();
        ensure!(answered == inside.total, "{span:?}: {inside:?}");
        counted += answered;
    }
    ensure!(counted >= 200, "only {counted} requests were counted");
    Ok(())
}

/// From the failed check on that was one too many, green has no request after one check's time.
fn gone_within_a_check(looks: &[Look], seconds: &[Second]) -> Result<()> {
    let back = looks
        .iter()
        .find(|look| matches!(look.phase, Some(Phase::RollingBack | Phase::Failed)))
        .context("no look at the way back")?;
    let of_green = seconds.iter().filter(|second| second.version == "v3");
    let last = of_green.map(|second| second.t).max();
    let last = last.context("green answered nothing")?;
    ensure!(
        last < back.at_ms + INTERVAL_MS,
        "green answered at {last}, {} ms after the way back began",
        last - back.at_ms
    );
    Ok(())
}
