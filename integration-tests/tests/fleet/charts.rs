//! Components that the hub renders, from a Helm repository to pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{chart_repository::ChartRepository, wait::until};

use crate::{Case, scene::Scene};

pub const CASES: &[Case] = &[(
    "chart_of_a_repository_is_rendered_for_its_cluster_and_rolled",
    "chart",
    chart,
)];

/// The application, with that version of the chart and that image.
fn documents(scene: &Scene, repository: &ChartRepository, version: &str, image: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n  \
         destination: {{clusters: [c1]}}\n  targetNamespace: {name}\n  components:\n  - name: web\n    \
         helm:\n      repository: {url}\n      chart: web\n      version: {version}\n      \
         releaseName: web\n      includeCRDs: false\n      values:\n        replicaCount: 2\n        \
         serviceAccount: {{create: false}}\n        \
         image: {{repository: bellwether.local/demo, tag: {image}, pullPolicy: Never}}\n    \
         rollout:\n      \
         workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}\n      \
         strategy: {{canary: {{weights: [50]}}}}\n      analysis: {{interval: 1s}}\n",
        name = scene.name,
        url = repository.url(),
    )
}

fn chart(scene: &Scene) -> Result<()> {
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.0.0", &[])?;
    let member = scene.member(0)?;
    scene
        .cli
        .apply(&documents(scene, &repository, "1.0.0", "v1"))?;
    scene.ended(1, RunPhase::Succeeded)?;
    let map = scene
        .object(&member, "ConfigMap", "web")?
        .context("the ConfigMap")?;
    let version = map["data"]["kubernetes"].as_str().unwrap_or_default();
    ensure!(
        version.starts_with("v1."),
        "it is rendered for the version of the cluster: {map}"
    );
    ensure!(map["data"]["monitoring"] == "false", "{map}");

    scene
        .cli
        .apply(&documents(scene, &repository, "1.0.0", "v2"))?;
    scene.ended(2, RunPhase::Succeeded)?;
    let live = scene
        .object(&member, "Deployment", "web")?
        .context("the Deployment")?;
    let pod = &live["spec"]["template"]["spec"];
    ensure!(
        pod["containers"][0]["image"] == "bellwether.local/demo:v2",
        "{live}"
    );
    ensure!(
        pod["volumes"][0]["configMap"]["defaultMode"] == 420,
        "0644 of the chart is octal: {live}"
    );

    let broken = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Values.a-b.name }}\n";
    repository.publish("web", "1.1.0", &[("templates/service.yaml", broken)])?;
    scene
        .cli
        .apply(&documents(scene, &repository, "1.1.0", "v1"))?;
    let name = &scene.name;
    until(
        Duration::from_secs(60),
        "the chart's error to be shown",
        || {
            let shown = scene.cli.call(&["describe", "application", name], None)?;
            let names_it = shown.stdout.contains("templates/service.yaml:4");
            Ok(names_it.then_some(()))
        },
    )?;
    let after = scene
        .object(&member, "Deployment", "web")?
        .context("the Deployment")?;
    ensure!(
        after["spec"] == live["spec"],
        "what cannot be rendered changes nothing: {after}"
    );
    Ok(())
}
