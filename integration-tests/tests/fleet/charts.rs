//! Components that the hub renders, from a Helm repository to pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    chart_repository::ChartRepository, cluster::Member, fixture::AGENT_IMAGE, wait::until,
};
use serde_json::Value;

use crate::{Case, scene::Scene};

pub const CASES: &[Case] = &[
    (
        "chart_of_a_repository_is_rendered_for_its_cluster_and_rolled",
        "chart",
        chart,
    ),
    (
        "hooks_of_a_chart_run_around_its_release_and_hold_it_back",
        "charthooks",
        hooks,
    ),
];

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

/// A Job of these moments; `argument` decides how it ends.
fn job(name: &str, moments: &str, argument: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    \
         helm.sh/hook: {moments}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
         restartPolicy: Never\n      containers:\n      - {{name: main, image: '{AGENT_IMAGE}', \
         imagePullPolicy: Never, args: ['{argument}']}}\n"
    )
}

fn hooks(scene: &Scene) -> Result<()> {
    let mut repository = ChartRepository::start()?;
    let member = scene.member(0)?;
    for (version, argument) in [
        ("1.0.0", "--help"),
        ("1.1.0", "--no-such-flag"),
        ("1.2.0", "--help"),
    ] {
        let migrate = job("migrate", "pre-install,pre-upgrade", argument);
        let greet = job("greet", "post-install,post-upgrade", "--help");
        let files = [
            ("templates/migrate.yaml", migrate.as_str()),
            ("templates/greet.yaml", greet.as_str()),
        ];
        repository.publish("web", version, &files)?;
    }
    let apply = |version: &str, image: &str| -> Result<()> {
        let documents = documents(scene, &repository, version, image);
        scene.cli.apply(&documents).map(|_| ())
    };
    apply("1.0.0", "v1")?;
    scene.ended(1, RunPhase::Succeeded)?;
    ensure!(moment(scene, &member, "migrate")?.ends_with(".pre-install"));
    ensure!(moment(scene, &member, "greet")?.ends_with(".post-install"));
    let before = web(scene, &member)?;

    apply("1.1.0", "v2")?;
    scene.ended(2, RunPhase::Failed)?;
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    let said = format!("pre-upgrade hook Job/{}/migrate failed", scene.name);
    ensure!(events.contains(&said), "{events}");
    ensure!(moment(scene, &member, "migrate")?.ends_with(".pre-upgrade"));
    ensure!(
        moment(scene, &member, "greet")?.ends_with(".post-install"),
        "nothing comes after a hook that failed"
    );
    let after = web(scene, &member)?;
    ensure!(
        before["spec"] == after["spec"],
        "nothing is applied: {after}"
    );

    apply("1.2.0", "v2")?;
    scene.ended(3, RunPhase::Succeeded)?;
    ensure!(moment(scene, &member, "greet")?.ends_with(".post-upgrade"));
    let image = &web(scene, &member)?["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(image == "bellwether.local/demo:v2", "{image}");
    Ok(())
}

/// The mark of the last hook of a name.
fn moment(scene: &Scene, member: &Member, job: &str) -> Result<String> {
    let live = member
        .get("batch/v1", "Job", &scene.name, job)?
        .with_context(|| format!("Job {job}"))?;
    let mark = live["metadata"]["labels"]["bellwether.dev/hook"].as_str();
    Ok(mark.unwrap_or_default().to_owned())
}

fn web(scene: &Scene, member: &Member) -> Result<Value> {
    let live = scene.object(member, "Deployment", "web")?;
    live.context("the Deployment")
}
