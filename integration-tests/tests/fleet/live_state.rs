//! What an operator had changed by hand before an upgrade, and a rollback brings back.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, manifests::Shop, wait::until};
use serde_json::{Value, json};

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene, api_version},
};

/// It ends an agent.
pub const AGENT_ENDS: &[Case] = &[(
    "sc_v2_v3_rollback_brings_back_what_was_changed_by_hand",
    "byhandback",
    brought_back,
)];

const BY_HAND: &str = "by hand";

fn brought_back(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        extra: "  sync: {drift: Report}\n".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    change_by_hand(scene, &member)?;
    warned(scene, "was changed by somebody else")?;
    let before = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;

    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 50)?;
    let during = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
    ensure!(
        !during.is_empty() && during.is_subset(&before),
        "the canary replaced pods of the old version: {during:?} of {before:?}"
    );
    scene.ended(2, RunPhase::Succeeded)?;
    runs(scene, &member, 3, "hello")?;
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    for said in ["LiveStateKept", "spec.replicas", "env[DEMO_GREETING].value"] {
        ensure!(events.contains(said), "no {said:?} in {events}");
    }

    let back = scene.cli.run(&[
        "rollout",
        "rollback",
        &scene.name,
        "--reason",
        "it was better before",
        "--wait",
        "--timeout",
        "200s",
    ])?;
    let told = back.lines().any(|line| {
        let facts = ["c1", "revision 3 = 1", "Succeeded", "Healthy", "done"];
        facts.iter().all(|fact| line.contains(fact))
    });
    ensure!(told, "c1 does not tell its four facts: {back}");
    runs(scene, &member, 4, BY_HAND)?;
    warned(scene, "others had changed what this release says")?;

    // An agent that starts anew knows no more than what is kept, and looks at everything again.
    let pods = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
    scene.kill_agent(&member)?;
    scene.agent_is_ready(&member)?;
    scene.cli.run(&["rollout", "history", &scene.name])?;
    warned(scene, "others had changed what this release says")?;
    std::thread::sleep(Duration::from_secs(5));
    runs(scene, &member, 4, BY_HAND)?;
    ensure!(
        member.pod_uids(&scene.name, "bellwether.local/demo:v1")? == pods,
        "pods were replaced"
    );
    Ok(())
}

fn deployment(scene: &Scene, member: &Member) -> Result<Value> {
    scene
        .object(member, "Deployment", "web")?
        .context("the Deployment")
}

/// Scales the workload, and sets a variable of its container, as a human would.
fn change_by_hand(scene: &Scene, member: &Member) -> Result<()> {
    let live = deployment(scene, member)?;
    let mut containers = live["spec"]["template"]["spec"]["containers"].clone();
    let variables = containers[0]["env"].as_array_mut().context("variables")?;
    for variable in variables {
        if variable["name"] == "DEMO_GREETING" {
            variable["value"] = BY_HAND.into();
        }
    }
    let patch = json!({"spec": {
        "replicas": 4, "template": {"spec": {"containers": containers}}}});
    let kind = "Deployment";
    member.patch(api_version(kind), kind, &scene.name, "web", &patch)?;
    runs(scene, member, 4, BY_HAND)
}

/// Waits until the workload has so many pods, all of which got that greeting.
fn runs(scene: &Scene, member: &Member, replicas: usize, greeting: &str) -> Result<()> {
    let what = format!("{replicas} pods with {greeting:?}");
    until(RUN_LIMIT, &what, || {
        let live = deployment(scene, member)?;
        let pods = member.pods(&scene.name, "app=web,!bellwether.dev/run")?;
        let greetings: BTreeSet<String> = pods
            .iter()
            .flat_map(|pod| pod.spec.iter().flat_map(|spec| &spec.containers))
            .flat_map(|container| container.env.iter().flatten())
            .filter(|variable| variable.name == "DEMO_GREETING")
            .filter_map(|variable| variable.value.clone())
            .collect();
        let status = &live["status"];
        let there = live["spec"]["replicas"] == replicas
            && status["observedGeneration"] == live["metadata"]["generation"]
            && status["availableReplicas"] == replicas
            && pods.len() == replicas
            && greetings.len() == 1
            && greetings.contains(greeting);
        Ok(there.then_some(()))
    })
}

/// Waits until the hub has a warning of the cluster with that text.
fn warned(scene: &Scene, text: &str) -> Result<()> {
    until(
        Duration::from_secs(60),
        &format!("a warning {text:?}"),
        || {
            let shown = scene
                .cli
                .json(&["tree", &format!("rollout/{}", scene.name)])?;
            Ok(shown.to_string().contains(text).then_some(()))
        },
    )
}
