//! Workloads that an autoscaler sizes, and their disruption budgets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    cluster::Member, manifests::Shop, traffic::tally, wait::until, weights::now_ms,
};
use serde_json::{Value, json};

use crate::{
    Case,
    foreign::{Foreign, by_hand},
    scene::Scene,
};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "autoscaled_workload_that_shrank_has_its_pods_before_its_traffic",
    "autoback",
    autoscaled_and_aborted,
)];

pub const CASES: &[Case] = &[
    (
        "autoscaled_workload_is_rolled_out_and_keeps_its_size",
        "autoscaled",
        autoscaled,
    ),
    (
        "foreign_autoscaled_workload_goes_back_with_its_pods",
        "foreignscale",
        foreign_and_aborted,
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
    autoscaler_of(scene, "Deployment", min, max)
}

/// An autoscaler of the workload `web` of a kind.
pub fn autoscaler_of(scene: &Scene, kind: &str, min: u32, max: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web-scaler", "namespace": scene.name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "web"},
            "minReplicas": min, "maxReplicas": max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}],
        },
    })
}

/// Sets the autoscaler's minimum, which Kubernetes keeps without any metrics.
pub fn set_minimum(scene: &Scene, member: &Member, min: u32) -> Result<()> {
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

/// Waits until a Deployment wants that many pods, and all are ready.
pub fn has_size(scene: &Scene, member: &Member, name: &str, pods: u64) -> Result<()> {
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
    // Pods that the autoscaler takes away answer until the gateway has forgotten them.
    let shop = Shop {
        pre_stop_seconds: 3,
        ..sized(&manual(scene), 4)
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    member.create(&autoscaler(scene, 4, 6))?;
    has_size(scene, &member, "web", 4)?;
    let traffic = scene.traffic(&["c1"])?;
    let started_ms = now_ms();
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    // An autoscaler whose metric sees the old version alone takes half of it away.
    set_minimum(scene, &member, 1)?;
    member.scale(&scene.name, "web", 2)?;
    has_size(scene, &member, "web", 2)?;
    let aborted_ms = now_ms();
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
    let ended_ms = now_ms();
    let seconds = traffic.stop()?;
    let all = tally(&seconds, None, started_ms, ended_ms);
    ensure!(all.failed == 0, "requests failed: {:?}", all.failures);
    let back = tally(&seconds, None, aborted_ms, ended_ms);
    println!("{} requests, {} on the way back", all.total, back.total);
    ensure!(back.total > 0, "nobody asked while it went back");
    let (wanted, _) = size(scene, &member, "web")?;
    ensure!(
        wanted == 4,
        "{wanted} pods, not those that carry everything"
    );
    scene.assert_restored(&member, &sized(&shop, 4))
}

/// Nobody of ours delivers it: its owner's size is the autoscaler's, and the pods that it needs before its
/// requests come back are written beside both.
fn foreign_and_aborted(scene: &Scene) -> Result<()> {
    let foreign = Foreign::adopt(scene, sized(&by_hand(scene), 4), 0)?;
    let member = &foreign.member;
    member.create(&autoscaler(scene, 4, 6))?;
    foreign.apply("v2")?;
    foreign.waits_for_a_human()?;
    has_size(scene, member, "web-canary", 4)?;
    foreign.assert_held("v2")?;
    set_minimum(scene, member, 1)?;
    member.scale(&scene.name, "web", 2)?;
    has_size(scene, member, "web", 2)?;
    foreign.say(&["abort", "--reason", "bad"])?;
    foreign.in_state(RunPhase::Failed)?;
    has_size(scene, member, "web", 4)?;
    foreign.assert_held("v2")?;
    // What its autoscaler wants next stays: the run is over.
    member.scale(&scene.name, "web", 3)?;
    has_size(scene, member, "web", 3)?;
    foreign.apply("v1")?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.stands("v1", 4)?;
    until(LIMIT, "its fields to be its owner's", || {
        let managers = foreign.deployment()?["metadata"]["managedFields"].to_string();
        Ok((!managers.contains("bellwether")).then_some(()))
    })?;
    foreign.assert_restored("v1")?;
    foreign.part()
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
