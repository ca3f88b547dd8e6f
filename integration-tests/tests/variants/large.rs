//! Applications near what an agent takes, and beyond.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{git_server::GitServer, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const CASES: &[Case<Members>] = &[
    (
        "more_than_an_agent_takes_is_said_beside_an_application_that_comes_in",
        "large",
        too_large,
    ),
    (
        "control_plane_eleven_hundred_objects_come_one_changes_alone_and_all_go",
        "many",
        many,
    ),
];

fn too_large(members: &Members) -> Result<()> {
    let names = members.names();
    let large = Parcel {
        items: 19,
        ..Parcel::new(&members.name, &members.name)
    };
    // 19 objects of 900,000 bytes, in one of the clusters.
    let overrides = format!(
        "  overrides:\n  - name: large\n    clusters: [{}]\n    patches:\n    \
         - {{target: {{kind: ConfigMap}}, merge: {{data: {{text: {}}}}}}}\n  components:\n",
        names[1],
        "a".repeat(900_000)
    );
    let documents = large.documents().replacen("  components:\n", &overrides, 1);
    members.cli.apply(&documents)?;
    let small = Parcel::new(&format!("{}-small", members.name), &members.name);
    members.cli.apply(&small.documents())?;
    members.wait_ended(&small.name, 1, RunPhase::Succeeded, LIMIT)?;
    let said = members.stalled(&large.name)?;
    ensure!(
        said.contains("TooLarge: 17")
            && said.contains(names[1])
            && said.contains("16777216")
            && said.contains("divide it into two applications"),
        "{said}"
    );
    members.assert_items(&names, &large.name, 0)?;
    members.cli.apply(&large.documents())?;
    members.wait_ended(&large.name, 1, RunPhase::Succeeded, LIMIT)?;
    members.assert_items(&names, &large.name, large.items)
}

/// Objects of a release that are more than are remembered by name.
const MANY: usize = 1_100;

/// ConfigMaps of one line each; one document for each, as a file in Git.
fn configuration(name: &str, changed: Option<usize>) -> String {
    let document = |number: usize| {
        let version = if changed == Some(number) { "v2" } else { "v1" };
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\n\
             metadata: {{name: {name}-{number}, labels: {{parcel: {name}}}}}\n\
             data: {{version: {version}}}\n"
        )
    };
    (0..MANY).map(document).collect()
}

/// The resource version of each ConfigMap.
fn versions(members: &Members, cluster: &str) -> Result<BTreeMap<String, String>> {
    let listed = members
        .cluster(cluster)?
        .list("v1", "ConfigMap", &members.name)?;
    let version = |object: &Value| {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().map(str::to_owned);
        (metadata["labels"]["parcel"] == members.name.as_str())
            .then(|| text("name").zip(text("resourceVersion")))
            .flatten()
    };
    Ok(listed.iter().filter_map(version).collect())
}

fn many(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let cluster = members.names()[2];
    let git = GitServer::start()?;
    git.write("many/all.yaml", &configuration(name, None))?;
    git.commit("v1")?;
    let application = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [cluster]}, "targetNamespace": name,
            "components": [{"name": "many", "sync": {"interval": "10s"},
                "git": {"url": git.url(), "branch": "main", "path": "many"}}],
        },
    });
    members.cli.apply(&application.to_string())?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    let first = versions(members, cluster)?;
    ensure!(first.len() == MANY, "{} of {MANY} came", first.len());
    remembered(members, cluster)?;

    git.write("many/all.yaml", &configuration(name, Some(MANY / 2)))?;
    git.commit("v2")?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    let second = versions(members, cluster)?;
    let written: Vec<&String> = second
        .iter()
        .filter(|(object, version)| first.get(*object) != Some(version))
        .map(|(object, _)| object)
        .collect();
    ensure!(
        second.len() == MANY && written == [&format!("{name}-{}", MANY / 2)],
        "{} are there, and written were {written:?}",
        second.len()
    );

    members
        .cli
        .run(&["delete", "application", name, "--clusters", "1"])?;
    until(LIMIT, "all of them to go", || {
        Ok(versions(members, cluster)?.is_empty().then_some(()))
    })
}

/// Fails unless the cluster remembers the objects packed: by name they would not fit into one record.
fn remembered(members: &Members, cluster: &str) -> Result<()> {
    let records = members.cluster(cluster)?.list(
        "bellwether.dev/v1alpha1",
        "SyncRecord",
        "bellwether-system",
    )?;
    let key = format!("application/default/{}", members.name);
    let units = records
        .iter()
        .filter_map(|record| record["spec"]["units"].as_array());
    let unit = units.flatten().find(|unit| unit["key"] == key.as_str());
    ensure!(
        unit.is_some_and(|unit| unit["packedObjects"].is_string()),
        "{unit:?}"
    );
    Ok(())
}
