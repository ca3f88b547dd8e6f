//! Parts that go down while a run is under way. These run alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::Phase,
    view::{ClusterPhase, RunPhase},
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::{METRICS, Shop},
    traffic::tally,
    wait::until,
    weights::{RunWatch, weights_in_order},
};

use jiff::Timestamp;

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
    two_hubs::everything_once,
};

pub const CASES: &[Case] = &[
    (
        "sc_r5_agent_killed_over_and_over_repeats_and_skips_no_weight",
        "agentkill",
        agent_killed,
    ),
    (
        "sc_r5_agent_away_with_no_run_leaves_the_application_alone",
        "agentaway",
        agent_away,
    ),
    (
        "sc_x1_sc_x5_hub_killed_mid_wave_and_started_again",
        "hubkill",
        hub_killed,
    ),
    (
        "sc_x2_cluster_that_is_cut_off_is_unknown_and_catches_up",
        "cut",
        cluster_cut,
    ),
];

const AGENT: &str = "app.kubernetes.io/name=bellwether-agent";

fn agent_killed(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [20, 40, 60]}}".into(),
        analysis: "{interval: 2s}".into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    let mut last = None;
    let mut kills = 0;
    until(Duration::from_secs(300), "the run to end", || {
        let view = scene.run(&scene.name)?;
        if view.revision == 2 && view.state.is_terminal() {
            return Ok(Some(()));
        }
        // The boundary is met as soon as phase or step differ from what was met last.
        // Right after the apply the new run has no clusters yet.
        let met = cluster_view(&view, "c1")
            .ok()
            .and_then(|cluster| cluster.tracks.first())
            .map(|track| (track.phase, track.step, track.observed_weight));
        if view.revision == 2 && met.is_some() && met != last {
            last = met;
            kills += member.kill_pods("bellwether-system", AGENT)?;
        }
        Ok(None)
    })?;
    let view = scene.ended(2, RunPhase::Succeeded)?;
    ensure!(
        cluster_view(&view, "c1")?.state == ClusterPhase::Succeeded,
        "{view:?}"
    );
    ensure!(kills >= 4, "the agent was only killed {kills} times");
    let weights = weights_in_order(&watch.stop(), "c1");
    ensure!(
        weights == [20, 40, 60],
        "after {kills} kills the weights were {weights:?}"
    );
    let counts = tally(&traffic.stop()?, None, 0, i64::MAX);
    ensure!(
        counts.failed == 0,
        "requests failed over {kills} kills: {counts:?}"
    );
    scene.assert_restored(&member, &shop.version("v2"))
}

fn agent_away(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let scale = |replicas: u32| {
        member.patch(
            "apps/v1",
            "Deployment",
            "bellwether-system",
            "bellwether-agent",
            &serde_json::json!({"spec": {"replicas": replicas}}),
        )
    };
    let traffic = scene.traffic(&["c1"])?;
    scale(0)?;
    until(Duration::from_secs(60), "the agent to be gone", || {
        Ok(member
            .pods("bellwether-system", AGENT)?
            .is_empty()
            .then_some(()))
    })?;
    let uids = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
    std::thread::sleep(Duration::from_secs(5));
    ensure!(
        uids == member.pod_uids(&scene.name, "bellwether.local/demo:v1")?,
        "pods changed"
    );
    scale(1)?;
    let counts = tally(&traffic.stop()?, None, 0, i64::MAX);
    ensure!(counts.total > 300 && counts.failed == 0, "{counts:?}");
    until(Duration::from_secs(60), "the agent to be back", || {
        let clusters = scene.cli.run(&["get", "clusters"])?;
        let ready = clusters
            .lines()
            .any(|line| line.starts_with("c1") && line.contains("Ready"));
        Ok(ready.then_some(()))
    })
}

fn hub_killed(scene: &Scene) -> Result<()> {
    let shop = Shop {
        destination: "{fleet: quickstart}".into(),
        waves: "[{name: canary, selector: {matchLabels: {tier: canary}}, after: [{soak: 2s}]}, \
                {name: rest, maxConcurrent: 1}]"
            .into(),
        strategy: "{canary: {weights: [20, 40, 60]}}".into(),
        analysis: METRICS.to_owned(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1", "c2", "c3"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    scene.hub.lock().expect("no panic while held").kill()?;
    let member = scene.member(0)?;
    // Without the hub the granted run goes to its end, and nothing else starts.
    until(
        Duration::from_secs(120),
        "the granted run to finish without the hub",
        || {
            let live = scene
                .object(&member, "Deployment", "web")?
                .context("the Deployment")?;
            let canary = scene.object(&member, "Deployment", "web-canary")?;
            Ok((live.to_string().contains("demo:v2") && canary.is_none()).then_some(()))
        },
    )?;
    std::thread::sleep(Duration::from_secs(5));
    for index in [1, 2] {
        let other = scene.member(index)?;
        let live = scene
            .object(&other, "Deployment", "web")?
            .context("the Deployment")?;
        ensure!(
            live.to_string().contains("demo:v1"),
            "nothing may start without the hub"
        );
        ensure!(
            scene.object(&other, "Deployment", "web-canary")?.is_none(),
            "nor a canary"
        );
    }
    scene.hub.lock().expect("no panic while held").restart()?;
    let run = scene.ended(2, RunPhase::Succeeded)?;
    traffic.none_lost("v2")?;
    everything_once(scene, &run)?;
    measured_without_the_hub(scene)?;
    let events = scene.cli.json(&[
        "events",
        &format!("rollout/{}", scene.name),
        "--limit",
        "500",
    ])?;
    let mut numbers: Vec<(String, u64)> = events
        .as_array()
        .or_else(|| events["items"].as_array())
        .context("a list of events")?
        .iter()
        .filter_map(|event| {
            Some((
                event["cluster"].as_str()?.to_owned(),
                event["sequence"].as_u64()?,
            ))
        })
        .collect();
    numbers.sort();
    ensure!(!numbers.is_empty(), "there must be events: {events}");
    for pair in numbers.windows(2) {
        ensure!(
            pair[0].0 != pair[1].0 || pair[1].1 == pair[0].1 + 1,
            "events have a gap or a double: {numbers:?}"
        );
    }
    Ok(())
}

/// What the agent of `c1` measured at the steps that it took while the hub was away has reached it, in
/// order.
fn measured_without_the_hub(scene: &Scene) -> Result<()> {
    let path = ["checks", &scene.name, "--cluster", "c1", "--limit", "240"];
    until(
        Duration::from_secs(30),
        "what was measured without the hub",
        || {
            let found = scene.cli.json(&path)?;
            let steps: Vec<u64> = found["items"]
                .as_array()
                .context("a list of measurements")?
                .iter()
                .filter(|one| one["metric"] == "request-success-rate" && one["verdict"] == "Pass")
                .filter_map(|one| one["step"].as_u64())
                .collect();
            ensure!(steps.is_sorted(), "they came in another order: {found}");
            Ok((steps.contains(&1) && steps.contains(&2)).then_some(()))
        },
    )
}

/// When the hub last heard of a cluster.
fn last_seen(scene: &Scene, cluster: &str) -> Result<Timestamp> {
    let shown = scene.cli.json(&["get", "cluster", cluster])?;
    let at = shown["status"]["lastSeen"].as_str();
    Ok(at.with_context(|| shown.to_string())?.parse()?)
}

fn cluster_cut(scene: &Scene) -> Result<()> {
    let shop = Shop {
        destination: "{fleet: quickstart}".into(),
        waves: "[{name: canary, selector: {matchLabels: {tier: canary}}}, \
                {name: rest, maxConcurrent: 2}]"
            .into(),
        strategy: "{canary: {weights: [50]}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.lab.cut("c3")?;
    let cut_at = Timestamp::now();
    let told = until(Duration::from_secs(90), "c3 to read Unknown", || {
        let clusters = scene.cli.run(&["get", "clusters"])?;
        let line = clusters
            .lines()
            .find(|line| line.starts_with("c3"))
            .unwrap_or_default();
        Ok(line.contains("Unknown").then(|| line.to_owned()))
    });
    scene.cli.apply(&shop.version("v2").documents())?;
    let waits = scene.wait_run(&scene.name, 2, RUN_LIMIT, "c2 to be done", |view| {
        cluster_view(view, "c2").is_ok_and(|cluster| cluster.state == ClusterPhase::Succeeded)
    });
    let rows = ["c1", "c3"].map(|cluster| last_seen(scene, cluster));
    let untouched = scene.lab.kubectl(
        "c3",
        &["-n", &scene.name, "get", "deployment", "web", "-o", "json"],
    );
    scene.lab.heal("c3")?;
    let (told, waits, untouched) = (told?, waits?, untouched?);
    let [c1, c3] = rows;
    let (c1, c3) = (c1?, c3?);
    ensure!(
        c3 <= cut_at && cut_at < c1,
        "cut off at {cut_at}, c3 was seen last at {c3} and c1 at {c1}"
    );
    ensure!(told.contains(" ago"), "it shows how long ago: {told}");
    ensure!(
        !waits.state.is_terminal(),
        "a wave with an unreachable cluster must wait"
    );
    ensure!(
        cluster_view(&waits, "c3")?.state == ClusterPhase::Unreachable,
        "c3 is {:?}",
        cluster_view(&waits, "c3")?.state
    );
    ensure!(
        untouched.contains("demo:v1"),
        "an unreachable cluster is not granted"
    );
    let view = scene.ended(2, RunPhase::Succeeded)?;
    let track = cluster_view(&view, "c3")?;
    ensure!(
        track
            .tracks
            .iter()
            .all(|track| track.phase == Phase::Succeeded),
        "c3 catches up by its own canary: {track:?}"
    );
    Ok(())
}
