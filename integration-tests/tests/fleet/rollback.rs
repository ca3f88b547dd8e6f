//! Going back to what ran before, by a human's word.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::Phase,
    view::{ClusterPhase, RunPhase},
};
use bellwether_integration_tests::{manifests::Shop, traffic::tally, weights::now_ms};

use crate::{
    Case,
    scene::{Scene, are_told_in_order},
};

/// Under traffic.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_v2_suspend_then_rollback_keeps_the_stable_pods",
    "rollback",
    suspend_then_rollback,
)];

pub const CASES: &[Case] = &[(
    "sc_a1_events_tell_the_whole_run_in_order",
    "told",
    events_in_order,
)];

const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];
/// How long the first step stays by its own clock.
const STEP: Duration = Duration::from_secs(15);
/// From the word to the last answer of the version that is left: one check interval, the way through
/// hub and agent, and the gateway's own throttle of 2 s.
const PROPAGATION_MS: i64 = 8_000;

/// The pods of v1 of every cluster, with when they started.
fn stable_pods(scene: &Scene) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut found = BTreeMap::new();
    for (index, cluster) in CLUSTERS.into_iter().enumerate() {
        let pods = scene
            .member(index)?
            .list("v1", "Pod", &scene.name)?
            .into_iter()
            .filter(|pod| {
                pod["spec"]["containers"][0]["image"] == "bellwether.local/demo:v1"
                    && pod["metadata"]["deletionTimestamp"].is_null()
            })
            .map(|pod| format!("{} {}", pod["metadata"]["uid"], pod["status"]["startTime"]))
            .collect();
        found.insert(cluster.to_owned(), pods);
    }
    Ok(found)
}

fn under_way(scene: &Scene, shop: &Shop, revision: u64) -> Result<()> {
    scene.cli.apply(&shop.documents())?;
    scene.at_weight(revision, 20)?;
    Ok(())
}

fn suspend_then_rollback(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: format!(
            "{{canary: {{steps: [{{weight: 20, advance: After, after: {}s}}, {{weight: 60}}]}}}}",
            STEP.as_secs()
        ),
        analysis: "{interval: 1s}".into(),
        ..scene.shop()
    };
    scene.install(&shop)?;
    let before = stable_pods(scene)?;
    ensure!(before.values().all(|pods| pods.len() == 5), "{before:?}");
    let traffic = scene.traffic(&CLUSTERS)?;
    let started_ms = now_ms();

    // v2 is aborted, the third release is under way.
    under_way(scene, &shop.version("v2"), 2)?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "not this one"])?;
    scene.ended(2, RunPhase::Aborted)?;
    let third = Shop {
        environment: vec![("DEMO_THIRD".to_owned(), "1".to_owned())],
        ..shop.version("v2")
    };
    under_way(scene, &third, 3)?;
    let at_step = Instant::now();
    let said = scene.cli.run(&["rollout", "suspend", &scene.name])?;
    for word in [
        &scene.name,
        "suspended",
        "cluster/c1",
        "cluster/c2",
        "cluster/c3",
    ] {
        ensure!(said.contains(word), "no {word:?} in {said}");
    }
    scene.in_phase(3, Phase::Suspended)?;
    // Its own clock has passed, and moves nothing.
    std::thread::sleep((STEP + Duration::from_secs(3)).saturating_sub(at_step.elapsed()));
    let view = scene.run(&scene.name)?;
    ensure!(view.state == RunPhase::Suspended, "{:?}", view.state);
    scene.at_weight(3, 20)?;

    let asked_ms = now_ms();
    let back = scene.cli.run(&[
        "rollout",
        "rollback",
        &scene.name,
        "--reason",
        "looks wrong",
        "--wait",
        "--timeout",
        "200s",
    ])?;
    for cluster in CLUSTERS {
        let told = back
            .lines()
            .filter(|line| line.starts_with(cluster))
            .any(|line| {
                ["revision 4 = 1", "Succeeded", "Healthy", "done"]
                    .iter()
                    .all(|fact| line.contains(fact))
            });
        ensure!(told, "{cluster} does not tell its four facts: {back}");
    }
    let view = scene.ended(4, RunPhase::Succeeded)?;
    let back_ms = now_ms();
    ensure!(view.restores == Some(1), "{:?}", view.restores);
    // Some seconds of nothing but what was restored, and no release follows by itself.
    std::thread::sleep(Duration::from_secs(5));
    let ended_ms = now_ms();
    let seconds = traffic.stop()?;
    let all = tally(&seconds, None, started_ms, ended_ms);
    ensure!(all.failed == 0 && all.total > 0, "{:?}", all.failures);
    // A machine that stood still meanwhile is late by that.
    let after = tally(
        &seconds,
        None,
        back_ms.max(asked_ms + PROPAGATION_MS),
        ended_ms,
    );
    ensure!(
        after.total > 0 && after.by_version.keys().all(|version| version == "v1"),
        "{:?}",
        after.by_version
    );
    ensure!(
        stable_pods(scene)? == before,
        "the stable pods were touched"
    );
    for index in 0..CLUSTERS.len() {
        scene.assert_restored(&scene.member(index)?, &shop)?;
    }
    reads_as_rolled_back(scene)
}

/// The record says v2 still; what runs instead, and why, stands beside it.
fn reads_as_rolled_back(scene: &Scene) -> Result<()> {
    ensure!(scene.run(&scene.name)?.revision == 4, "a release followed");
    let shown = scene.cli.json(&["get", "application", &scene.name])?;
    let condition = shown["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["type"] == "RolledBack")
        .with_context(|| format!("no condition RolledBack: {}", shown["status"]))?;
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains("looks wrong"), "{message}");
    let history = scene.cli.run(&["rollout", "history", &scene.name])?;
    ensure!(history.contains("restores 1"), "{history}");
    scene
        .cli
        .run(&["rollout", "finish", &scene.name, "--reason", "done with it"])?;
    let retry = scene.cli.call(&["rollout", "retry", &scene.name], None)?;
    ensure!(retry.code == 6, "{}: {}", retry.code, retry.stderr);
    Ok(())
}

fn events_in_order(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [20, 60]}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let run = scene.ended(2, RunPhase::Succeeded)?;
    scene.cluster_state(2, ClusterPhase::Succeeded)?;
    let own = scene.events_of(&run)?;
    let numbers: BTreeSet<String> = own
        .iter()
        .map(|one| format!("{} {}", one["cluster"], one["sequence"]))
        .collect();
    ensure!(
        numbers.len() == own.len(),
        "an event is told twice: {own:#?}"
    );
    // New revision, each weight, promotion, completed.
    let expected = [
        ("WaveStarted", ""),
        ("ClusterGranted", "c1"),
        ("Started", ""),
        ("WeightInForce", "20 %"),
        ("WeightInForce", "60 %"),
        ("Promoting", ""),
        ("Succeeded", ""),
        ("ClusterSucceeded", "c1"),
        ("Succeeded", "every wave"),
    ];
    are_told_in_order(&own, &expected)?;
    let about_objects = own.iter().any(|one| one["object"].is_string());
    ensure!(about_objects, "no event names its object: {own:#?}");
    Ok(())
}
