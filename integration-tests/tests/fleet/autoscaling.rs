//! Workloads that an autoscaler sizes, and their disruption budgets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, manifests::Shop, wait::until};
use serde_json::{Value, json};

use crate::{Case, scene::Scene};

pub const CASES: &[Case] = &[
    (
        "autoscaled_workload_is_rolled_out_and_keeps_its_size",
        "autoscaled",
        autoscaled,
    ),
    (
        "autoscaled_workload_that_shrank_has_its_pods_before_its_traffic",
        "autoback",
        autoscaled_and_aborted,
    ),
    (
        "scaled_object_of_keda_is_an_autoscaler",
        "keda",
        scaled_object,
    ),
    (
        "canary_pods_count_in_the_users_budget_and_no_second_one_is_made",
        "budget",
        disruption_budget,
    ),
];

const LIMIT: Duration = Duration::from_secs(90);

fn autoscaler(scene: &Scene, min: u32, max: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web-scaler", "namespace": scene.name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": min, "maxReplicas": max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}],
        },
    })
}

/// Sets the autoscaler's minimum, which Kubernetes keeps without any metrics.
fn set_minimum(scene: &Scene, member: &Member, min: u32) -> Result<()> {
    let patch = json!({"spec": {"minReplicas": min}});
    let (version, kind) = ("autoscaling/v2", "HorizontalPodAutoscaler");
    member.patch(version, kind, &scene.name, "web-scaler", &patch)
}

/// Pods that a Deployment wants, and those that are ready.
fn size(scene: &Scene, member: &Member, name: &str) -> Result<(u64, u64)> {
    let live = scene.object(member, "Deployment", name)?;
    let count = |path: &str| {
        let value = live.as_ref().and_then(|live| live.pointer(path));
        value.and_then(Value::as_u64).unwrap_or(0)
    };
    Ok((count("/spec/replicas"), count("/status/readyReplicas")))
}

fn has_size(scene: &Scene, member: &Member, name: &str, pods: u64) -> Result<()> {
    let what = format!("{name} to have {pods} pods");
    until(LIMIT, &what, || {
        Ok((size(scene, member, name)? == (pods, pods)).then_some(()))
    })
}

fn manual(scene: &Scene) -> Shop {
    Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    }
}

/// The same application with the size that its autoscaler gave it.
fn sized(shop: &Shop, replicas: u32) -> Shop {
    Shop {
        replicas,
        ..shop.clone()
    }
}

fn autoscaled(scene: &Scene) -> Result<()> {
    let shop = manual(scene);
    scene.install(&shop)?;
    let member = scene.member(0)?;
    member.create(&autoscaler(scene, 4, 6))?;
    has_size(scene, &member, "web", 4)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    // Half of four would do for the traffic; the autoscaler's minimum holds for both versions.
    ensure!(
        size(scene, &member, "web")?.0 == 4,
        "the manifest's size came back"
    );
    has_size(scene, &member, "web-canary", 4)?;
    set_minimum(scene, &member, 5)?;
    has_size(scene, &member, "web", 5)?;
    has_size(scene, &member, "web-canary", 5)?;
    scene
        .cli
        .run(&["rollout", "promote", &scene.name, "--reason", "good"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    ensure!(size(scene, &member, "web")?.0 == 5, "an old size came back");
    scene.assert_restored(&member, &sized(&shop.version("v2"), 5))
}

/// The autoscaler has not scaled yet when the run begins: the size that was applied passes to it.
fn autoscaled_and_aborted(scene: &Scene) -> Result<()> {
    let shop = sized(&manual(scene), 4);
    scene.install(&shop)?;
    let member = scene.member(0)?;
    member.create(&autoscaler(scene, 4, 6))?;
    has_size(scene, &member, "web", 4)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    // An autoscaler whose metric sees the old version alone takes half of it away.
    set_minimum(scene, &member, 1)?;
    member.scale(&scene.name, "web", 2)?;
    has_size(scene, &member, "web", 2)?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "bad"])?;
    until(LIMIT, "the traffic to leave the canary", || {
        // Pods last: there are never fewer than when the share was read.
        let route = scene
            .object(&member, "HTTPRoute", "web")?
            .context("a route")?;
        let canary = share(&route);
        let (_, ready) = size(scene, &member, "web")?;
        ensure!(
            ready * 25 >= 100 - canary,
            "{ready} of 4 pods carry {} % of the traffic",
            100 - canary
        );
        Ok((canary == 0).then_some(()))
    })?;
    scene.ended(2, RunPhase::Aborted)?;
    let (wanted, _) = size(scene, &member, "web")?;
    ensure!(
        wanted == 4,
        "{wanted} pods, not those that carry everything"
    );
    scene.assert_restored(&member, &sized(&shop, 4))
}

/// The canary's share of a route, in percent.
fn share(route: &Value) -> u64 {
    let backends = route
        .pointer("/spec/rules/0/backendRefs")
        .and_then(Value::as_array);
    let weight = |canary: bool| -> u64 {
        let all = backends.into_iter().flatten();
        all.filter(|backend| (backend["name"] == "web-canary") == canary)
            .map(|backend| backend["weight"].as_u64().unwrap_or(1))
            .sum()
    };
    let all = weight(true) + weight(false);
    (weight(true) * 100).checked_div(all).unwrap_or(0)
}

fn scaled_object(scene: &Scene) -> Result<()> {
    let shop = manual(scene);
    scene.install(&shop)?;
    let member = scene.member(0)?;
    // Nothing answers for KEDA here: the test scales as it would.
    member.create(&json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "web-events", "namespace": scene.name},
        "spec": {
            "scaleTargetRef": {"name": "web"}, "minReplicaCount": 2, "maxReplicaCount": 6,
            "triggers": [{"type": "cron", "metadata": {
                "timezone": "UTC", "start": "0 6 * * *", "end": "0 20 * * *", "desiredReplicas": "4"}}],
        },
    }))?;
    member.scale(&scene.name, "web", 4)?;
    has_size(scene, &member, "web", 4)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    has_size(scene, &member, "web-canary", 2)?;
    member.scale(&scene.name, "web", 6)?;
    has_size(scene, &member, "web", 6)?;
    has_size(scene, &member, "web-canary", 3)?;
    scene
        .cli
        .run(&["rollout", "promote", &scene.name, "--reason", "good"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    scene.assert_restored(&member, &sized(&shop.version("v2"), 6))
}

fn disruption_budget(scene: &Scene) -> Result<()> {
    let shop = Shop {
        objects: vec![json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": scene.name},
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}},
        })],
        ..manual(scene)
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    until(LIMIT, "the budget to count both versions", || {
        let budget = scene
            .object(&member, "PodDisruptionBudget", "web")?
            .context("the user's budget")?;
        Ok(
            (budget["status"]["expectedPods"] == 5 && budget["status"]["currentHealthy"] == 5)
                .then_some(()),
        )
    })?;
    let budgets = member.list("policy/v1", "PodDisruptionBudget", &scene.name)?;
    ensure!(budgets.len() == 1, "{budgets:?}");
    scene
        .cli
        .run(&["rollout", "promote", &scene.name, "--reason", "good"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    let budgets = member.list("policy/v1", "PodDisruptionBudget", &scene.name)?;
    ensure!(budgets.len() == 1, "{budgets:?}");
    scene.assert_restored(&member, &shop.version("v2"))
}
