//! A chart that was written for Flagger, from a Helm repository to a promoted canary.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::Verdict,
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    chart_repository::ChartRepository,
    fixture::cluster_view,
    hook_double::HookDouble,
    traffic::tally,
    wait::until,
    weights::{RunWatch, now_ms, weights_in_order},
};
use serde_json::json;

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene, are_told_in_order},
};

/// One by one: it is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_f1_chart_written_for_flagger_goes_out_by_its_own_canary",
    "flagger",
    chart_for_flagger,
)];

/// The weights that the chart's values ask for.
const WEIGHTS: [u8; 5] = [10, 20, 30, 40, 50];

/// The application: whatever version of the chart is newest, looked for every ten seconds.
fn documents(scene: &Scene, url: &str, double: &HookDouble, canary: bool) -> Result<String> {
    let prometheus = &scene.lab.cluster("c1")?.prometheus_url;
    let values = json!({
        "route": {"host": scene.shop().host()},
        "canary": {
            "enabled": canary,
            "analysis": {"interval": "3s", "threshold": 10, "maxWeight": 50, "stepWeight": 10},
            // Tests share two cores with whatever else runs.
            "thresholds": {"successRate": 99, "latency": 5000},
            "metricTemplate": {"enabled": true, "address": prometheus},
            "acceptanceTest": {"enabled": true, "url": double.url("/acceptance")},
            "loadTest": {
                "enabled": true,
                "cmd": format!("hey -z 2m -q 5 -c 2 {}", double.url("/load")),
            },
        },
    });
    let application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": scene.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": ["c1"]},
            "targetNamespace": scene.name,
            "sync": {"interval": "10s"},
            "components": [{"name": "app", "helm": {
                "repository": url, "chart": "app", "version": "~0.1", "releaseName": "stable",
                "values": values,
            }}],
        },
    });
    Ok(application.to_string())
}

fn chart_for_flagger(scene: &Scene) -> Result<()> {
    let double = HookDouble::start(&scene.lab.bridge_address)?;
    let mut repository = ChartRepository::start()?;
    repository.publish("app", "0.1.1", &[])?;
    let url = repository.url();
    let member = scene.member(0)?;

    // Without its switch the chart is a plain release.
    scene.cli.apply(&documents(scene, &url, &double, false)?)?;
    let view = scene.ended(1, RunPhase::Succeeded)?;
    ensure!(
        cluster_view(&view, "c1")?.tracks.is_empty(),
        "nothing is governed: {view:?}"
    );
    scene.cli.apply(&documents(scene, &url, &double, true)?)?;
    scene.ended(2, RunPhase::Succeeded)?;
    ensure!(
        double.calls("/acceptance").is_empty(),
        "the switch alone brings no new version"
    );
    let route = scene
        .object(&member, "HTTPRoute", "stable-app")?
        .context("the route that Flagger would make")?;

    let traffic = scene.traffic(&["c1"])?;
    let values = include_str!("../../charts/app/values.yaml").replace("tag: v1", "tag: v2");
    repository.publish("app", "0.1.2", &[("values.yaml", &values)])?;
    let published_ms = now_ms();
    scene.wait_run(
        &scene.name,
        3,
        Duration::from_secs(60),
        "the new tag to be seen",
        |_| true,
    )?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    judged(scene)?;
    let run = scene.ended(3, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(1));
    let seconds = traffic.stop()?;
    let weights = weights_in_order(&watch.stop(), "c1");
    // Who begins to watch once the release is there may miss the first one.
    ensure!(
        weights.len() >= 4 && WEIGHTS.ends_with(&weights),
        "weights: {weights:?}"
    );

    told_in_order(scene, &run)?;
    let acceptance = double.calls("/acceptance");
    ensure!(acceptance.len() == 1, "{} calls", acceptance.len());
    let said = acceptance[0].json()?;
    ensure!(said["metadata"]["type"] == "bash", "{said}");
    ensure!(!double.calls("/load").is_empty(), "no load was made");
    let all = tally(&seconds, Some("c1"), published_ms, i64::MAX);
    ensure!(all.total > 1_000 && all.failed == 0, "{:?}", all.failures);

    for (kind, name) in [
        ("Deployment", "app-canary"),
        ("Service", "stable-app-canary"),
        ("Deployment", "app-primary"),
        ("Service", "stable-app-primary"),
    ] {
        let left = scene.object(&member, kind, name)?;
        ensure!(left.is_none(), "{kind} {name} is there: {left:?}");
    }
    let live = scene.object(&member, "Deployment", "app")?.context("app")?;
    let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(image == "bellwether.local/demo:v2", "{live}");
    let after = scene.object(&member, "HTTPRoute", "stable-app")?;
    let after = after.context("the route stays")?;
    ensure!(after["spec"] == route["spec"], "{}", after["spec"]);
    Ok(())
}

/// New revision, starting analysis, each weight, waiting for the promotion, completed: as Flagger tells it.
fn told_in_order(scene: &Scene, run: &RunView) -> Result<()> {
    let events = scene.events_of(run)?;
    let weights = WEIGHTS.map(|weight| format!("{weight} %"));
    let mut expected = vec![("ClusterGranted", "c1"), ("Started", "")];
    expected.extend(
        weights
            .iter()
            .map(|weight| ("WeightInForce", weight.as_str())),
    );
    expected.extend([("Promoting", ""), ("Succeeded", "")]);
    are_told_in_order(&events, &expected)
}

/// Waits until every metric of the Canary passed a check, the chart's own query among them.
fn judged(scene: &Scene) -> Result<()> {
    let wanted = [
        "request-success-rate",
        "request-duration",
        "404s-percentage",
    ];
    until(RUN_LIMIT, "all three metrics to pass a check", || {
        let view = scene.run(&scene.name)?;
        // The release is there before its run has decided anything.
        let Ok(cluster) = cluster_view(&view, "c1") else {
            return Ok(None);
        };
        let Some(track) = cluster.tracks.first() else {
            return Ok(None);
        };
        let passed = |name: &str| {
            let mut checks = track.checks.iter();
            checks.any(|check| check.metric == name && check.verdict == Verdict::Pass)
        };
        if !wanted.into_iter().all(passed) {
            return Ok(None);
        }
        ensure!(
            track.checks[2].limit == "≤ 5" && track.failure_threshold == 10,
            "{track:?}"
        );
        Ok(Some(()))
    })
}
