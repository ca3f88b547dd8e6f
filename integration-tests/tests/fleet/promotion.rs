//! How traffic comes back to the workload, and pods that never become ready.

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase},
    view::RunPhase,
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::Shop,
    traffic::tally,
    weights::{RunWatch, weights_in_order},
};

use crate::{Case, scene::Scene};

/// One by one: lost requests are counted.
pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "sc_k3_staged_promotion_returns_in_steps",
        "staged",
        staged_promotion,
    ),
    (
        "sc_f4_deadline_of_pods_that_never_become_ready_rolls_back",
        "unready",
        never_ready,
    ),
];

fn staged_promotion(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {stepWeight: 25, maxWeight: 50, stepWeightPromotion: 20}}".into(),
        analysis: "{interval: 3s}".into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    scene.ended(2, RunPhase::Succeeded)?;
    let seconds = traffic.stop()?;
    let looks = watch.stop();
    let tested = weights_in_order(&looks, "c1");
    ensure!(tested == [25, 50], "weights of the test: {tested:?}");
    // What the new version has, in the canary and in the workload, only grows from here on.
    let mut returned: Vec<u8> = looks
        .iter()
        .filter(|look| look.cluster == "c1")
        .filter(|look| matches!(look.phase, Some(Phase::Promoting | Phase::Finalising)))
        .map(|look| look.observed)
        .collect();
    returned.dedup();
    ensure!(
        returned == [50, 30, 10, 0],
        "the canary's weights of the promotion: {returned:?}"
    );
    let early = looks
        .iter()
        .find(|look| look.phase == Some(Phase::Finalising) && look.observed > 0);
    ensure!(early.is_none(), "finalising with traffic: {early:?}");
    let all = tally(&seconds, Some("c1"), 0, i64::MAX);
    ensure!(
        all.total > 1_000 && all.failed == 0,
        "{} of {} requests were lost: {:?}",
        all.failed,
        all.total,
        all.failures
    );
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

fn never_ready(scene: &Scene) -> Result<()> {
    let shop = Shop {
        progress_deadline: "12s".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    let unready = Shop {
        environment: vec![("DEMO_READY_AFTER_MS".into(), "600000".into())],
        ..shop.version("v2")
    };
    scene.cli.apply(&unready.documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let view = scene.ended(2, RunPhase::Failed)?;
    let seconds = traffic.stop()?;
    ensure!(
        weights_in_order(&watch.stop(), "c1").is_empty(),
        "no traffic may reach pods that are not ready"
    );
    let track = cluster_view(&view, "c1")?
        .tracks
        .first()
        .context("a track")?;
    ensure!(
        track.failure == Some(FailureReason::DeadlineExceeded),
        "{:?}",
        track.failure
    );
    let all = tally(&seconds, Some("c1"), 0, i64::MAX);
    ensure!(
        all.total > 100 && all.failed == 0 && !all.by_version.contains_key("v2"),
        "{all:?}"
    );
    scene.assert_restored(&scene.member(0)?, &shop)
}
