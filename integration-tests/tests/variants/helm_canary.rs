//! A stock chart of a registry with an Ingress, published as versions and upgraded step by step by a human.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    chart_repository::packed,
    cluster::Member,
    fixture::cluster_view,
    oci_registry::{OciRegistry, PASSWORD, USER},
    suite::Case,
    traffic::Traffic,
    wait::until,
};
use serde_json::json;

use crate::{
    providers::{EACH_RATE, has_share, none_lost, registered, waits_at},
    scene::Scene,
};

pub const CASES: &[Case<Scene>] = &[(
    "sc_v1_helm_canary_waits_for_a_human_at_each_step",
    NAMESPACE,
    manual_gates,
)];

/// The application and its namespace.
pub const NAMESPACE: &str = "helmcanary";

/// The secret of the hub that opens the registry.
const CREDENTIALS: &str = "helmcanary-registry";

fn documents(scene: &Scene, url: &str, published: &str, version: &str) -> String {
    let application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": scene.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": ["c1"]},
            "targetNamespace": scene.name,
            "publishVersion": published,
            "components": [{
                "name": "demo",
                "helm": {
                    "repository": url, "chart": "app", "version": version, "releaseName": "demo",
                    "credentialsRef": {"name": CREDENTIALS},
                    "values": {
                        "replicaCount": 5,
                        "service": {"port": 8090},
                        "ingress": {
                            "enabled": true, "className": "nginx", "host": scene.shop().host(),
                        },
                    },
                },
                "rollout": {
                    "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
                    "service": {"name": "demo-app", "port": 8090},
                    "traffic": [{"nginx": {"ingress": "demo-app"}}],
                    "strategy": {"canary": {"steps": [{"weight": 20}, {"weight": 90}]}},
                    "analysis": {"interval": "1s"},
                    // A human may take longer.
                    "progressDeadline": "20s",
                },
            }],
        },
    });
    application.to_string()
}

/// The pods that run a version, by their identities.
fn pods_of(member: &Member, scene: &Scene, version: &str) -> Result<BTreeSet<String>> {
    let image = format!("bellwether.local/demo:{version}");
    let pods = member.list("v1", "Pod", &scene.name)?;
    Ok(pods
        .iter()
        .filter(|pod| pod["spec"]["containers"][0]["image"] == image.as_str())
        .filter_map(|pod| pod["metadata"]["uid"].as_str().map(str::to_owned))
        .collect())
}

/// The image that the workload has.
fn image(member: &Member, scene: &Scene) -> Result<String> {
    let live = scene.object(member, "Deployment", "app")?.context("app")?;
    let image = live["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    image.map(str::to_owned).context("an image")
}

/// Waits until the application says that something waits to be published; nothing of it is released.
fn is_a_draft(scene: &Scene) -> Result<()> {
    until(Duration::from_secs(60), "a draft to be told", || {
        let shown = scene.cli.json(&["get", "application", &scene.name])?;
        let conditions = shown["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let is_told = conditions
            .filter(|one| one["type"] == "Draft")
            .any(|one| one["status"] == "True");
        Ok(is_told.then_some(()))
    })?;
    let run = scene.run(&scene.name)?;
    ensure!(run.revision == 1, "{run:?}");
    Ok(())
}

/// The hub shows the second version as what is wanted, whatever the workload has still.
fn wants_the_second(scene: &Scene) -> Result<()> {
    let run = scene.run(&scene.name)?;
    ensure!(
        (run.version.as_str(), run.from_version.as_str()) == ("v2", "v1"),
        "{run:?}"
    );
    let shown = scene.cli.json(&["get", "application", &scene.name])?;
    let spec = &shown["spec"];
    let chart = &spec["components"][0]["helm"]["version"];
    ensure!(
        *chart == "2.0.0" && spec["publishVersion"] == "v2",
        "{shown}"
    );
    Ok(())
}

fn manual_gates(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let registry = OciRegistry::start()?;
    registry.push_chart("app", "1.0.0", packed("app", "1.0.0", &[])?)?;
    let values = include_str!("../../charts/app/values.yaml").replace("tag: v1", "tag: v2");
    let second = packed("app", "2.0.0", &[("values.yaml", &values)])?;
    registry.push_chart("app", "2.0.0", second)?;
    let url = registry.charts();
    let (user, password) = (format!("username={USER}"), format!("password={PASSWORD}"));
    let set = ["secret", "set", CREDENTIALS, "--from-literal", &user];
    scene
        .cli
        .run(&[&set[..], &["--from-literal", &password]].concat())?;
    scene.cli.apply(&documents(scene, &url, "v1", "1.0.0"))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let first = pods_of(&member, scene, "v1")?;
    ensure!(first.len() == 5, "plainly installed: {first:?}");
    let file = scene.directory.join("traffic-helmcanary.jsonl");
    let host = scene.shop().host();
    let traffic = Traffic::start_through("nginx", &scene.lab, &["c1"], &host, EACH_RATE, &file)?;

    // Another chart under the same published version is a draft.
    scene.cli.apply(&documents(scene, &url, "v1", "2.0.0"))?;
    is_a_draft(scene)?;
    scene.cli.apply(&documents(scene, &url, "v2", "2.0.0"))?;
    for (weight, of_v2) in [(20, 1), (90, 5)] {
        waits_at(scene, weight)?;
        let canary = pods_of(&member, scene, "v2")?;
        ensure!(canary.len() == of_v2, "at {weight} %: {canary:?}");
        ensure!(
            pods_of(&member, scene, "v1")? == first,
            "pods of v1 stay the same ones"
        );
        let held = image(&member, scene)?;
        ensure!(held.ends_with(":v1"), "the workload waits: {held}");
        wants_the_second(scene)?;
        for (kind, name) in [
            ("Deployment", "app-canary"),
            ("Service", "demo-app-canary"),
            ("Ingress", "demo-app-canary"),
        ] {
            ensure!(
                scene.object(&member, kind, name)?.is_some(),
                "no {kind} {name}"
            );
        }
        has_share(&traffic, weight)?;
        if weight == 20 {
            // Longer than the deadline, which stands still while a human is awaited.
            std::thread::sleep(Duration::from_secs(22));
            let view = scene.run(&scene.name)?;
            let track = &cluster_view(&view, "c1")?.tracks[0];
            ensure!(track.phase == Phase::Paused, "{track:?}");
            ensure!(
                track.waiting_on.iter().any(|wait| !wait.message.is_empty()),
                "{track:?}"
            );
        }
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(1));
    none_lost(traffic)?;
    let last = image(&member, scene)?;
    ensure!(last.ends_with(":v2"), "{last}");
    let promoted = "five pods of v2 and none of v1";
    until(Duration::from_secs(60), promoted, || {
        let v2 = pods_of(&member, scene, "v2")?.len();
        Ok((v2 == 5 && pods_of(&member, scene, "v1")?.is_empty()).then_some(()))
    })?;
    for (kind, name) in [
        ("Deployment", "app-canary"),
        ("Service", "demo-app-canary"),
        ("Ingress", "demo-app-canary"),
    ] {
        let left = scene.object(&member, kind, name)?;
        ensure!(left.is_none(), "{kind} {name} is left: {left:?}");
    }
    Ok(())
}
