//! HTTPProxies of Contour, under measured traffic through its Envoy on the real cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::Verdict, view::RunPhase};
use bellwether_integration_tests::{
    fixture::cluster_view, manifests::Shop, suite::Case, traffic::Traffic,
};
use serde_json::json;

use crate::{
    providers::{RATE, all_answer, has_share, none_lost, registered, shop, waits_at},
    scene::{RUN_LIMIT, Scene},
};

pub const CASES: &[Case<Scene>] = &[(
    "provider_contour_splits_by_weight_and_header_and_is_judged_by_envoys_series",
    NAMESPACE,
    contour,
)];

/// The application and its namespace.
pub const NAMESPACE: &str = "contour";

fn contour(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let base = shop(scene);
    let shop = Shop {
        traffic: "[{contour: {httpProxy: web}}]".into(),
        routes: vec![json!({
            "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy",
            "metadata": {"name": "web", "namespace": scene.name},
            "spec": {
                "virtualhost": {"fqdn": base.host()},
                "routes": [{
                    "conditions": [{"prefix": "/"}],
                    "services": [{"name": "web", "port": 80}],
                }],
            },
        })],
        strategy: "{canary: {steps: [\
            {weight: 20, match: [{headers: [{name: x-user, exact: insider}]}]}, {weight: 50}]}}"
            .into(),
        ..base
    };
    scene.install(&shop)?;
    let url = scene.lab.cluster("c1")?.contour_url.clone();
    let file = scene.directory.join("traffic-contour.jsonl");
    let traffic =
        Traffic::start_through("contour", &scene.lab, &["c1"], &shop.host(), RATE, &file)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    // The way back first, while the canary has its share.
    waits_at(scene, 20)?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "not yet"])?;
    scene.ended(2, RunPhase::Aborted)?;
    scene.assert_restored(&member, &shop)?;
    scene.cli.run(&["rollout", "retry", &scene.name])?;
    for weight in [20, 50] {
        waits_at(scene, weight)?;
        if weight == 20 {
            all_answer(&url, &shop, ("X-User", "insider"), "v2")?;
        }
        has_share(&traffic, weight)?;
        judged(scene)?;
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    // Envoy may use what it knew while Contour tells it the end.
    std::thread::sleep(Duration::from_secs(1));
    none_lost(traffic)?;
    scene.assert_restored(&member, &shop.version("v2"))
}

/// Waits until both metrics have passed by values of Envoy's: the duration is one of milliseconds, and
/// not one request failed.
fn judged(scene: &Scene) -> Result<()> {
    let view = scene.wait_run(&scene.name, 2, RUN_LIMIT, "both metrics to pass", |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                track.checks.len() == 2
                    && track
                        .checks
                        .iter()
                        .all(|check| check.verdict == Verdict::Pass)
            })
        })
    })?;
    let track = cluster_view(&view, "c1")?
        .tracks
        .first()
        .context("a track")?;
    let value = |metric: &str| -> Result<f64> {
        let check = track.checks.iter().find(|check| check.metric == metric);
        let value = check.and_then(|check| check.value.as_deref());
        let value = value.with_context(|| format!("{metric} has no value"))?;
        Ok(value.parse()?)
    };
    let (success, duration) = (value("request-success-rate")?, value("request-duration")?);
    println!("success rate {success} %, duration {duration} ms");
    ensure!(
        (success - 100.0).abs() < f64::EPSILON,
        "success rate {success}"
    );
    ensure!(
        duration > 0.0 && duration < 5_000.0,
        "duration {duration} ms"
    );
    Ok(())
}
