//! A route that nobody wrote: the rollout asks for it, splits by it, and takes it along.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{manifests::Shop, suite::Case, traffic::Traffic, wait::until};
use serde_json::json;

use crate::{
    providers::{RATE, has_share, none_lost, registered, shop, waits_at},
    scene::Scene,
};

pub const CASES: &[Case<Scene>] = &[(
    "created_route_splits_traffic_and_goes_with_its_rollout",
    NAMESPACE,
    created,
)];

/// The application and its namespace.
pub const NAMESPACE: &str = "created";

fn created(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let base = shop(scene);
    let shop = Shop {
        traffic: format!(
            "[{{gatewayApi: {{httpRoutes: [web]}}, \
             create: {{gateways: [gateway/gateway], hosts: [{}], timeout: 30s}}}}]",
            base.host()
        ),
        // Something else, so that no HTTPRoute is written.
        routes: vec![json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "other", "namespace": scene.name},
            "spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]},
        })],
        strategy: "{canary: {steps: [{weight: 30}]}}".into(),
        ..base
    };
    scene.install(&shop)?;
    let route = || scene.object(&member, "HTTPRoute", "web");
    let first = route()?.context("the HTTPRoute is there with the first release")?;
    let file = scene.directory.join("traffic-created.jsonl");
    let traffic = Traffic::start(&scene.lab, &["c1"], &shop.host(), RATE, &file)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    waits_at(scene, 30)?;
    has_share(&traffic, 30)?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    scene.ended(2, RunPhase::Succeeded)?;
    // The gateway may use what it knew for two seconds more.
    std::thread::sleep(Duration::from_secs(4));
    none_lost(traffic)?;
    scene.assert_restored(&member, &shop.version("v2"))?;
    let last = route()?.context("the HTTPRoute stays between runs")?;
    ensure!(
        last["spec"] == first["spec"],
        "the route is as it was made: {}",
        last["spec"]
    );
    let rollout = format!("{}-web", scene.name);
    scene.cli.run(&["delete", "rollout", &rollout, "-y"])?;
    until(Duration::from_secs(60), "the route to go", || {
        Ok(route()?.is_none().then_some(()))
    })?;
    let service = scene.object(&member, "Service", "web")?;
    ensure!(service.is_some(), "what the application writes stays");
    Ok(())
}
