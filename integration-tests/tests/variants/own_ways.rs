//! Components of one application that are kept each in its own way.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, RunPhase};
use bellwether_integration_tests::{cluster::Member, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_components_adopt_and_correct_each_in_its_own_way",
    "ownways",
    own_ways,
)];

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// Makes an object that is there before the application.
fn before(members: &Members, member: &Member, name: &str, data: &Value) -> Result<()> {
    let mut object = map(name, data);
    object["metadata"]["namespace"] = members.name.as_str().into();
    member.create(&object)
}

fn live(members: &Members, cluster: &str, name: &str) -> Result<Value> {
    let found = members.read(cluster, "ConfigMap", name)?;
    found.with_context(|| format!("ConfigMap {name} in {cluster}"))
}

fn documents(members: &Members, clusters: &[&str]) -> String {
    let component = |name: &str, sync: Value| json!({"name": name, "sync": sync, "manifests": [map(name, &json!({"a": "released"}))]});
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": clusters}, "targetNamespace": members.name,
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
            "sync": {"adopt": "Never", "drift": "Off"},
            "components": [
                component("corrected", json!({"drift": "Correct"})),
                component("reported", json!({"drift": "Report"})),
                component("free", json!({})),
                component("taken", json!({"adopt": "Always"})),
                component("same", json!({"adopt": "IfIdentical"})),
                component("stays", json!({"deletion": "Orphan"})),
            ],
        },
    })
    .to_string()
}

fn own_ways(members: &Members) -> Result<()> {
    let (here, there) = (members.names()[2], members.names()[3]);
    let (released, foreign) = (json!({"a": "released"}), json!({"a": "mine", "b": "mine"}));
    before(members, members.cluster(here)?, "taken", &foreign)?;
    before(members, members.cluster(here)?, "same", &released)?;
    before(members, members.cluster(there)?, "same", &foreign)?;
    before(members, members.cluster(there)?, "free", &released)?;
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let taken = uid(&live(members, here, "taken")?);
    let same = uid(&live(members, here, "same")?);

    members.cli.apply(&documents(members, &[here, there]))?;
    let what = "one cluster to refuse it and the other to have it";
    let run = members.wait_run(&members.name, 1, LIMIT, what, |run| {
        let state = |name: &str| {
            let mut clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
            clusters.find(|one| one.name == name).map(|one| one.state)
        };
        state(here) == Some(ClusterPhase::Succeeded) && state(there) == Some(ClusterPhase::Failed)
    })?;
    let said = serde_json::to_string(&run)?;
    for words in [
        "same exists already and it differs",
        "free exists already and sync.adopt is Never",
    ] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    let untouched = members.read(there, "ConfigMap", "corrected")?;
    ensure!(
        untouched.is_none(),
        "nothing is half applied: {untouched:?}"
    );
    ensure!(live(members, there, "same")?["data"] == foreign);

    let object = live(members, here, "taken")?;
    ensure!(
        object["data"] == json!({"a": "released", "b": "mine"}) && uid(&object) == taken,
        "it is taken over as it is: {object}"
    );
    ensure!(uid(&live(members, here, "same")?) == same);
    corrected(members, here)?;

    for name in ["same", "free"] {
        let member = members.cluster(there)?;
        member.delete("v1", "ConfigMap", &members.name, name)?;
    }
    members.cli.run(&["rollout", "retry", &members.name])?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for name in ["corrected", "reported", "free", "taken", "same"] {
        ensure!(live(members, there, name)?["data"] == released, "{name}");
    }
    parted(members, &[here, there])
}

/// The application goes, and leaves what one of its components says.
fn parted(members: &Members, clusters: &[&str]) -> Result<()> {
    let delete = ["delete", "application", members.name.as_str(), "-y"];
    members.cli.run(&delete)?;
    for cluster in clusters {
        until(LIMIT, "the others to go", || {
            for name in ["corrected", "reported", "free", "same"] {
                if members.read(cluster, "ConfigMap", name)?.is_some() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        // Objects are parted with one after the other.
        until(LIMIT, "the one that stays to be nobody's", || {
            let stays = live(members, cluster, "stays")?;
            let managers = stays["metadata"]["managedFields"].to_string();
            ensure!(stays["data"]["a"] == "released", "{cluster}: {stays}");
            Ok((!managers.contains("bellwether")).then_some(()))
        })?;
    }
    Ok(())
}

/// Somebody changes three objects: one is put back, one is told of, and of one nothing is said.
fn corrected(members: &Members, cluster: &str) -> Result<()> {
    let by_hand = json!({"data": {"a": "by hand"}});
    for name in ["free", "reported", "corrected"] {
        let member = members.cluster(cluster)?;
        member.patch("v1", "ConfigMap", &members.name, name, &by_hand)?;
    }
    until(LIMIT, "the one to be put back", || {
        let object = live(members, cluster, "corrected")?;
        Ok((object["data"]["a"] == "released").then_some(()))
    })?;
    let told = |name: &str| {
        format!(
            "ConfigMap/{}/{name} was changed by somebody else",
            members.name
        )
    };
    let tree = until(LIMIT, "the other to be told of", || {
        let arguments = ["tree", "application", members.name.as_str()];
        let tree = members.cli.run(&arguments)?;
        Ok(tree.contains(&told("reported")).then_some(tree))
    })?;
    ensure!(!tree.contains(&told("free")), "{tree}");
    for name in ["reported", "free"] {
        let object = live(members, cluster, name)?;
        ensure!(object["data"]["a"] == "by hand", "{name} is left: {object}");
    }
    Ok(())
}
