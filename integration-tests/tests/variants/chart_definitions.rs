//! What becomes of the definitions in a chart's folder `crds`.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    agent_process::SYSTEM, chart_repository::ChartRepository, cluster::Member, suite::Case,
    wait::until,
};
use serde_json::{Value, json};

use crate::{
    scene::api_version,
    stage::{LIMIT, Members, grant_everywhere},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_definition_of_a_chart_comes_and_outlives_release_and_application",
    "chartcrds",
    definitions,
)];

const GROUP: &str = "apiextensions.k8s.io";
/// What the chart `web` defines.
const WIDGETS: &str = "widgets.charts.example";

fn application(members: &Members, cluster: &str, url: &str, version: &str) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [cluster]}, "targetNamespace": members.name,
            "components": [{"name": "web", "helm": {
                "repository": url, "chart": "web", "version": version, "includeCRDs": true,
                "values": {
                    "fullnameOverride": "web", "serviceAccount": {"create": false},
                    "image": {"repository": "bellwether.local/demo", "tag": "v1"},
                },
            }}],
        },
    })
    .to_string()
}

fn definitions(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let cluster = members.names()[1];
    let member = members.cluster(cluster)?;
    grant_everywhere(member, name, &[(GROUP, "customresourcedefinitions")])?;
    let mut repository = ChartRepository::start()?;
    repository.publish("web", "1.0.0", &[])?;
    repository.publish("web", "2.0.0", &[("crds/widgets.yaml", "")])?;
    let apply = |version: &str| {
        let document = application(members, cluster, &repository.url(), version);
        members.cli.apply(&document)
    };
    let before = member.get_cluster(&format!("{GROUP}/v1"), "CustomResourceDefinition", WIDGETS)?;
    ensure!(before.is_none(), "it is there already: {before:?}");
    apply("1.0.0")?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    // Somebody uses what the release brought.
    member.create(&json!({
        "apiVersion": "charts.example/v1", "kind": "Widget",
        "metadata": {"name": "wheel", "namespace": name}, "spec": {"size": 3},
    }))?;
    let first = both(members, member)?;

    apply("2.0.0")?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    let live = members.read(cluster, "Deployment", "web")?;
    let live = live.context("the Deployment of the chart")?;
    let chart = &live["metadata"]["labels"]["helm.sh/chart"];
    ensure!(chart == "web-2.0.0", "{live}");
    let second = both(members, member)?;
    ensure!(second == first, "a release without it: {second:?}");

    // The application has it again when it goes.
    apply("1.0.0")?;
    members.wait_ended(name, 3, RunPhase::Succeeded, LIMIT)?;
    members.cli.run(&["delete", "application", name, "-y"])?;
    // Definitions are deleted last, where they are.
    until(LIMIT, "the agent to hold nothing of it", || {
        Ok(holds_nothing(members, member)?.then_some(()))
    })?;
    members.assert_absent(&[cluster], "Deployment", "web")?;
    let last = both(members, member)?;
    ensure!(last == first, "without the application: {last:?}");
    Ok(())
}

/// The identities of the definition and of the object of its kind, of which neither is on its way out.
fn both(members: &Members, member: &Member) -> Result<[Value; 2]> {
    let definition =
        member.get_cluster(&format!("{GROUP}/v1"), "CustomResourceDefinition", WIDGETS)?;
    let definition = definition.context("no definition of Widgets")?;
    let widget = member.get("charts.example/v1", "Widget", &members.name, "wheel")?;
    let widget = widget.context("no Widget")?;
    for object in [&definition, &widget] {
        let metadata = &object["metadata"];
        ensure!(metadata["deletionTimestamp"].is_null(), "{metadata}");
    }
    Ok([definition, widget].map(|object| object["metadata"]["uid"].clone()))
}

/// Tells whether the application was taken away, and the agent's records hold no object of it any more.
fn holds_nothing(members: &Members, member: &Member) -> Result<bool> {
    let key = format!("application/default/{}", members.name);
    let records = member.list(api_version("SyncRecord"), "SyncRecord", SYSTEM)?;
    let mut units = records
        .iter()
        .filter_map(|record| record["spec"]["units"].as_array())
        .flatten();
    Ok(units
        .find(|unit| unit["key"] == key.as_str())
        .is_none_or(|unit| unit["digest"].is_null() && unit["objects"].is_null()))
}
