//! Workloads with pods that were there before the application that brings them, with a Rollout.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, manifests::Shop, wait::until};
use serde_json::{Value, json};

use crate::{Case, scene::Scene};

/// They end an agent.
pub const AGENT_ENDS: &[Case] = &[
    (
        "taking_over_identical_workloads_restarts_no_pod_and_configuration_rolls_as_a_canary",
        "takenas",
        |scene| taken_over(scene, "IfIdentical", 3),
    ),
    (
        "taking_over_workloads_that_differ_restarts_no_pod_and_configuration_rolls_as_a_canary",
        "takenany",
        |scene| taken_over(scene, "Always", 2),
    ),
];

/// Pods of the user's workload, none of the canary's.
const STABLE: &str = "app=web,!bellwether.dev/run";

fn shop(scene: &Scene, adopt: &str, version: &str) -> Shop {
    Shop {
        strategy: "{canary: {weights: [20, 60]}}".into(),
        extra: format!("  sync: {{adopt: {adopt}}}\n"),
        config: vec![("DEMO_VERSION".into(), version.into())],
        ..scene.small_shop()
    }
}

/// Makes everything by hand, with so many pods, and waits until they are ready.
fn by_hand(scene: &Scene, member: &Member, shop: &Shop, pods: u32) -> Result<BTreeSet<String>> {
    member.create_namespace(&scene.name)?;
    for mut object in shop.manifests() {
        if object["kind"] == "Deployment" {
            object["spec"]["replicas"] = json!(pods);
        }
        member.create(&object)?;
    }
    until(Duration::from_secs(60), "the pods made by hand", || {
        let workload = deployment(scene, member)?;
        Ok((workload["status"]["readyReplicas"] == json!(pods)).then_some(()))
    })?;
    uids(scene, member)
}

fn deployment(scene: &Scene, member: &Member) -> Result<Value> {
    let found = scene.object(member, "Deployment", "web")?;
    found.context("Deployment web")
}

fn uids(scene: &Scene, member: &Member) -> Result<BTreeSet<String>> {
    let pods = member.pods(&scene.name, STABLE)?.into_iter();
    Ok(pods.filter_map(|pod| pod.metadata.uid).collect())
}

fn stamp(workload: &Value) -> &Value {
    &workload["spec"]["template"]["metadata"]["annotations"]["bellwether.dev/config-digest"]
}

fn taken_over(scene: &Scene, adopt: &str, pods: u32) -> Result<()> {
    let one = shop(scene, adopt, "one");
    let member = scene.member(0)?;
    let before = by_hand(scene, &member, &one, pods)?;
    let made = deployment(scene, &member)?;

    scene.install(&one)?;
    let taken = deployment(scene, &member)?;
    ensure!(
        taken["metadata"]["uid"] == made["metadata"]["uid"] && taken["spec"]["replicas"] == 3,
        "it is taken over: {taken}"
    );
    ensure!(
        taken["spec"]["template"] == made["spec"]["template"],
        "its template is what it was: {taken}"
    );
    ensure!(
        uids(scene, &member)?.is_superset(&before),
        "taking it over restarted pods"
    );
    // An agent that starts anew remembers it.
    scene.kill_agent(&member)?;
    scene.agent_is_ready(&member)?;

    let two = shop(scene, adopt, "two");
    scene.cli.apply(&two.documents())?;
    scene.at_weight(2, 20)?;
    ensure!(
        uids(scene, &member)?.is_superset(&before),
        "pods were replaced before the promotion"
    );
    let tested = deployment(scene, &member)?;
    ensure!(
        stamp(&tested).is_null(),
        "the old version has no stamp: {tested}"
    );
    scene.at_weight(2, 60)?;
    scene.ended(2, RunPhase::Succeeded)?;
    let promoted = deployment(scene, &member)?;
    ensure!(stamp(&promoted).is_string(), "the new one has: {promoted}");
    // The last ones still stop.
    until(Duration::from_secs(60), "the old pods to be gone", || {
        let left = !uids(scene, &member)?.is_disjoint(&before);
        Ok((!left).then_some(()))
    })?;
    scene.assert_restored(&member, &two)
}
