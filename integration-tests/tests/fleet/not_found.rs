//! Requests that find nothing, judged by a built-in template.

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{CheckResult, FailureReason, Verdict},
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::Shop,
    traffic::tally,
    weights::{RunWatch, now_ms, weights_in_order},
};

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
};

/// One by one: a share of requests is measured.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_f2_canary_that_finds_nothing_goes_back_and_a_healthy_one_passes",
    "notfound",
    not_found,
)];

const ANALYSIS: &str = "{interval: 2s, failureThreshold: 3, metrics: [{name: not-found, \
    template: {name: not-found-percentage}, range: {max: \"5\"}, window: 10s, minRequests: 100}]}";

fn not_found(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [20, 50]}}".into(),
        analysis: ANALYSIS.into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    let healthy = shop.version("v2");
    scene.cli.apply(&healthy.documents())?;
    let (value, verdict) = measured(scene, 2, Verdict::Pass)?;
    ensure!(
        value.abs() < f64::EPSILON && verdict.limit == "≤ 5",
        "a share of nothing is 0, not unknown: {verdict:?}"
    );
    scene.ended(2, RunPhase::Succeeded)?;
    let succeeded_ms = now_ms();

    let lost = Shop {
        environment: vec![("DEMO_NOT_FOUND_PERCENT".into(), "10".into())],
        ..shop.version("v4")
    };
    scene.cli.apply(&lost.documents())?;
    let (value, verdict) = measured(scene, 3, Verdict::Fail)?;
    // A tenth, of a hundred requests or some more: series that are new count from their second sample on.
    ensure!((5.0..=15.0).contains(&value), "{verdict:?}");
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let view = scene.ended(3, RunPhase::Failed)?;
    let ended_ms = now_ms();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let seconds = traffic.stop()?;
    let track = &cluster_view(&view, "c1")?.tracks[0];
    ensure!(
        (track.failure, track.failed_checks) == (Some(FailureReason::FailedChecks), 3),
        "{track:?}"
    );
    let weights = weights_in_order(&watch.stop(), "c1");
    ensure!(weights == [20], "a failed check halts: {weights:?}");
    let before = tally(&seconds, None, 0, succeeded_ms);
    ensure!(
        before.total > 0 && before.failed == 0,
        "{:?}",
        before.failures
    );
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(
        all.failed > 0 && all.failures.keys().all(|key| key.contains(" v4 404 ")),
        "{:?}",
        all.failures
    );
    let after = tally(&seconds, None, ended_ms, i64::MAX);
    ensure!(
        after.total > 0 && after.share_percent("v2") >= 100.0,
        "after: {after:?}"
    );
    scene.assert_restored(&scene.member(0)?, &healthy)
}

/// Waits until the metric of `revision` was measured with `verdict`, and returns what it was.
fn measured(scene: &Scene, revision: u64, verdict: Verdict) -> Result<(f64, CheckResult)> {
    let wanted = |view: &RunView| {
        let track = cluster_view(view, "c1").ok()?.tracks.first()?;
        let check = track
            .checks
            .iter()
            .find(|check| check.metric == "not-found");
        check.filter(|check| check.verdict == verdict).cloned()
    };
    let what = format!("not-found to be measured as {verdict:?}");
    let view = scene.wait_run(&scene.name, revision, RUN_LIMIT, &what, |view| {
        wanted(view).is_some()
    })?;
    let check = wanted(&view).context("it was just there")?;
    let value = check.value.as_deref().context("a verdict has a value")?;
    let value = value
        .parse()
        .with_context(|| format!("{value:?} is no number"))?;
    Ok((value, check))
}
