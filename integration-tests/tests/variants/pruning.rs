//! What a release leaves out, of a component that keeps what it made and of one that does not.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_a_component_keeps_what_it_made_and_another_does_not",
    "pruning",
    pruning,
)];

fn component(name: &str, prune: bool, maps: &[&str]) -> Value {
    let maps = maps
        .iter()
        .map(|map| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map}}));
    json!({"name": name, "sync": {"prune": prune}, "manifests": maps.collect::<Vec<Value>>()})
}

fn pruning(members: &Members) -> Result<()> {
    let cluster = members.names()[2];
    let apply = |revision: u64, components: &[Value]| -> Result<()> {
        let document = json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": members.name, "namespace": "default"},
            "spec": {"destination": {"clusters": [cluster]}, "targetNamespace": members.name,
                "components": components},
        });
        members.cli.apply(&document.to_string())?;
        members.wait_ended(&members.name, revision, RunPhase::Succeeded, LIMIT)?;
        Ok(())
    };
    let is_there =
        |name: &str| -> Result<bool> { Ok(members.read(cluster, "ConfigMap", name)?.is_some()) };
    let both = ["first", "second"].map(|one| format!("kept-{one}"));
    let kept: Vec<&str> = both.iter().map(String::as_str).collect();
    apply(
        1,
        &[
            component("kept", false, &kept),
            component("plain", true, &["plain-first", "plain-second"]),
        ],
    )?;
    apply(
        2,
        &[
            component("kept", false, &kept[..1]),
            component("plain", true, &["plain-first"]),
        ],
    )?;
    until(LIMIT, "what the other component left out to go", || {
        Ok((!is_there("plain-second")?).then_some(()))
    })?;
    ensure!(is_there("kept-second")?, "its component keeps it");
    let subject = format!("app/{}", members.name);
    until(LIMIT, "the tree to say what stays", || {
        let tree = members.cli.run(&["tree", &subject])?;
        let said = tree
            .lines()
            .any(|line| line.contains("kept-second") && line.contains("and stays"));
        Ok(said.then_some(()))
    })?;

    // Also when the component itself is gone.
    apply(3, &[component("plain", true, &["plain-third"])])?;
    until(LIMIT, "the other component's object to go", || {
        Ok((!is_there("plain-first")?).then_some(()))
    })?;
    for name in &kept {
        let left = members.read(cluster, "ConfigMap", name)?;
        left.with_context(|| format!("{name} stays"))?;
    }
    left(members, cluster)
}

/// The cluster leaves by the change that says for the first time that objects stay.
fn left(members: &Members, cluster: &str) -> Result<()> {
    let other = members.names()[3];
    let document = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {"destination": {"clusters": [other]}, "targetNamespace": members.name,
            "sync": {"deletion": "Orphan"}, "components": [component("plain", true, &["plain-third"])]},
    });
    members.cli.apply(&document.to_string())?;
    until(LIMIT, "the object to belong to nobody", || {
        let object = members.read(cluster, "ConfigMap", "plain-third")?;
        let object = object.context("the object stays")?;
        let managers = object["metadata"]["managedFields"].to_string();
        Ok((!managers.contains("bellwether-sync")).then_some(()))
    })?;
    members.wait_object(other, "ConfigMap", "plain-third")?;
    Ok(())
}
