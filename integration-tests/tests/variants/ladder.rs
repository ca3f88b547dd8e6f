//! A canary that goes all the way by itself, with a fixed number of pods, through an Ingress.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::{Phase, TrackSummary},
    view::RunPhase,
};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, hook_double::HookDouble, manifests::Shop, suite::Case,
    traffic::Traffic, wait::until,
};
use serde_json::{Value, json};

use crate::{
    providers::{EACH_RATE, all_answer, none_lost, registered, shop},
    scene::{RUN_LIMIT, Scene},
};

pub const NAMESPACE: &str = "ladder";

pub const CASES: &[Case<Scene>] = &[(
    "sc_a1_automatic_ladder_by_nginx_with_a_fixed_total_loses_no_request",
    NAMESPACE,
    ladder,
)];

/// Weight, pods of the new version, pods of the workload.
const LADDER: [(u8, u32, u32); 5] = [(20, 1, 3), (40, 2, 2), (60, 3, 1), (80, 4, 1), (100, 4, 0)];
/// What the hook at the end tells.
const TOLD: &str = r#"{"msgtype":"text","text":{"content":"deploy success"}}"#;
const CANARY_WEIGHT: &str = "/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight";

fn ladder(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let double = HookDouble::start(&scene.lab.bridge_address)?;
    let base = shop(scene);
    let shop = Shop {
        replicas: 4,
        traffic: "[{nginx: {ingress: web}}]".into(),
        routes: vec![ingress(scene, &base.host())],
        strategy: "{canary: {stepWeight: 20, maxWeight: 100}}".into(),
        // Long enough for the hub to show each rung's pods.
        analysis: "{interval: 4s}".into(),
        extra_rollout: format!(
            "  instances: {{mode: FixedTotal}}\n  hooks: {}\n",
            json!([{"type": "PostRollout", "name": "robot", "url": double.url("/robot"),
                "timeout": "5s", "rawBody": true, "metadata": {"data": TOLD}}])
        ),
        ..base
    };
    scene.install(&shop)?;
    let url = scene.lab.cluster("c1")?.nginx_url.clone();
    let file = scene.directory.join("traffic-ladder.jsonl");
    let traffic =
        Traffic::start_through("nginx", &scene.lab, &["c1"], &shop.host(), EACH_RATE, &file)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let seen = watch(scene, &member)?;
    ensure!(
        seen.weights == [20, 40, 60, 80, 100],
        "weights of the canary Ingress: {:?}",
        seen.weights
    );
    for rung in LADDER {
        ensure!(
            seen.rungs.contains(&rung),
            "no {rung:?} in {:?}",
            seen.rungs
        );
    }
    until(RUN_LIMIT, "the robot to be told", || {
        Ok((!double.calls("/robot").is_empty()).then_some(()))
    })?;
    scene.cli.run(&["rollout", "finish", &scene.name])?;
    std::thread::sleep(Duration::from_secs(1));
    let told = double.calls("/robot");
    ensure!(told.len() == 1 && told[0].body == TOLD, "{told:?}");
    none_lost(traffic)?;
    let left = scene.object(&member, "Ingress", "web-canary")?;
    ensure!(left.is_none(), "the canary Ingress is left: {left:?}");
    all_answer(&url, &shop, ("X-User", "anybody"), "v2")?;
    scene.assert_restored(&member, &shop.version("v2"))
}

fn ingress(scene: &Scene, host: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "namespace": scene.name},
        "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix",
             "backend": {"service": {"name": "web", "port": {"number": 80}}}},
        ]}}]},
    })
}

#[derive(Default)]
struct Seen {
    /// Weights of the canary Ingress in order of time, each as often as it came anew.
    weights: Vec<u8>,
    /// Weight and pods, when both versions had as many as they were to have.
    rungs: BTreeSet<(u8, u32, u32)>,
}

/// Looks at the run until it has succeeded.
fn watch(scene: &Scene, member: &Member) -> Result<Seen> {
    let mut seen = Seen::default();
    until(RUN_LIMIT, "the run to succeed", || {
        let view = scene.run(&scene.name)?;
        let track = cluster_view(&view, "c1")
            .ok()
            .and_then(|cluster| cluster.tracks.first().cloned());
        if let Some(track) = track.filter(|_| view.revision == 2) {
            look(&mut seen, &track)?;
        }
        let canary = scene.object(member, "Ingress", "web-canary")?;
        if let Some(canary) = canary {
            let weight = canary.pointer(CANARY_WEIGHT).and_then(Value::as_str);
            let weight = weight.unwrap_or("0").parse().context("a weight")?;
            let is_new = seen.weights.last() != Some(&weight);
            // Before the first weight, and after the promotion, it has none.
            if is_new && weight > 0 {
                seen.weights.push(weight);
            }
        }
        let over = view.revision == 2 && view.state.is_terminal();
        ensure!(
            !over || view.state == RunPhase::Succeeded,
            "it ended as {:?}",
            view.state
        );
        Ok(over.then_some(()))
    })?;
    Ok(seen)
}

fn look(seen: &mut Seen, track: &TrackSummary) -> Result<()> {
    let weight = track.observed_weight.percent();
    let (canary, stable) = (&track.canary, &track.stable);
    if !matches!(track.phase, Phase::Progressing) || weight == 0 {
        return Ok(());
    }
    let needed = u32::from(weight).div_ceil(25).min(4);
    ensure!(
        canary.ready >= needed.min(canary.desired) && (weight == 100 || stable.desired > 0),
        "at {weight} %: {canary:?} and {stable:?}"
    );
    if canary.ready == canary.desired && stable.ready == stable.desired {
        seen.rungs.insert((weight, canary.ready, stable.desired));
    }
    Ok(())
}
