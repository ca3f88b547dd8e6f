//! What comes before what: applications, components, and the add-ons of a fleet.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_applications_and_components_wait_for_what_they_depend_on",
    "ordered",
    ordered,
)];

/// While an add-on is not healthy, nothing else comes into a cluster anew.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_late_joiner_gets_its_add_ons_before_anything_else",
    "equipped",
    add_ons,
)];

/// An application of these components.
fn application(members: &Members, name: &str, more: &Value, components: &Value) -> Value {
    let mut spec = json!({
        "destination": {"fleet": "breadth"}, "targetNamespace": members.name,
        "waves": [{"name": "all", "maxConcurrent": "100%"}], "components": components,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
}

/// Not healthy until somebody gives it an address.
fn balanced(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80}]}})
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

/// Waits until `why` says this of the application.
fn wait_why(members: &Members, application: &str, sentence: &str) -> Result<()> {
    let mut said = String::new();
    until(LIMIT, &format!("why to say {sentence:?}"), || {
        said = members.cli.call(&["why", application], None)?.stdout;
        Ok(said.contains(sentence).then_some(()))
    })
    .with_context(|| said.clone())
}

fn ordered(members: &Members) -> Result<()> {
    let names = members.names();
    let (last, ready) = names.split_last().context("clusters")?;
    let (with_cache, without) = ready.split_at(4);
    let base = format!("{}-db", members.name);
    let documents = application(
        members,
        &members.name,
        &json!({"dependsOn": [{"name": base}]}),
        &json!([
            {"name": "web", "dependsOn": ["settings", "cache"], "manifests": [map("web")]},
            {"name": "cache", "dependsOn": ["settings"], "destination": {"clusters": with_cache},
                "manifests": [balanced("cache")]},
            {"name": "settings", "manifests": [map("settings")]},
        ]),
    );
    let database = json!([{"name": "db", "manifests": [balanced("db")]}]);
    let database = application(members, &base, &json!({}), &database);
    members
        .cli
        .apply(&format!("{documents}\n---\n{database}"))?;

    for cluster in &names {
        members.wait_object(cluster, "Service", "db")?;
    }
    let awaited = format!("waiting for application default/{base}:");
    wait_why(
        members,
        &members.name,
        &format!("{awaited} 0 of 8 clusters healthy"),
    )?;
    members.assert_absent(&names, "ConfigMap", "settings")?;
    for cluster in ready {
        members.give_address(cluster, "db")?;
    }
    for cluster in ready {
        members.wait_object(cluster, "ConfigMap", "settings")?;
    }
    wait_why(
        members,
        &members.name,
        &format!("{awaited} 7 of 8 clusters healthy"),
    )?;
    members.assert_absent(&[last], "ConfigMap", "settings")?;

    // Where the cache does not go, it is stepped over.
    for cluster in without {
        members.wait_object(cluster, "ConfigMap", "web")?;
        members.assert_absent(&[cluster], "Service", "cache")?;
    }
    for cluster in with_cache {
        members.wait_object(cluster, "Service", "cache")?;
        members.assert_absent(&[cluster], "ConfigMap", "web")?;
        members.give_address(cluster, "cache")?;
        members.wait_object(cluster, "ConfigMap", "web")?;
    }
    members.give_address(last, "db")?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for cluster in &names {
        members.wait_object(cluster, "ConfigMap", "web")?;
    }
    taken_away(members, &base)
}

/// What is depended on is not deleted before whoever depends on it.
fn taken_away(members: &Members, base: &str) -> Result<()> {
    let early = members
        .cli
        .call(&["delete", "application", base, "-y"], None)?;
    ensure!(
        early.code != 0 && early.stderr.contains(&members.name),
        "{early:?}"
    );
    for application in [&members.name, base] {
        members
            .cli
            .run(&["delete", "application", application, "-y"])?;
    }
    for cluster in members.names() {
        for (kind, name) in [("ConfigMap", "web"), ("Service", "db")] {
            members.wait_gone(cluster, kind, name)?;
        }
    }
    Ok(())
}

fn label(members: &Members, cluster: &str, change: &str) -> Result<()> {
    let arguments = ["label", "cluster", cluster, change];
    members.cli.run(&arguments).map(|_| ())
}

fn add_ons(members: &Members) -> Result<()> {
    let fleet = members.name.as_str();
    let (tools, shop) = (format!("{fleet}-tools"), fleet);
    let (first, second, late) = (members.names()[0], members.names()[1], members.names()[2]);
    for cluster in [first, second] {
        label(members, cluster, "equipped=yes")?;
    }
    let shops = application(
        members,
        shop,
        &json!({"destination": {"fleet": fleet}}),
        &json!([{"name": "shop", "manifests": [map("shop")]}]),
    );
    let equipped = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": fleet},
        "spec": {"selector": {"matchLabels": {"equipped": "yes"}}},
    });
    let first_alone = tools_of(members, &tools, first);
    members
        .cli
        .apply(&format!("{first_alone}\n---\n{shops}\n---\n{equipped}"))?;
    members.wait_object(first, "Service", "tools")?;
    members.give_address(first, "tools")?;
    members.wait_ended(&tools, 1, RunPhase::Succeeded, LIMIT)?;
    members.wait_ended(shop, 1, RunPhase::Succeeded, LIMIT)?;
    members.assert_absent(&[second, late], "Service", "tools")?;

    members.cli.run(&["addon", "enable", fleet, &tools])?;
    members.wait_object(second, "Service", "tools")?;
    wait_healthy(members, fleet, "1/2")?;
    // What a cluster has goes on, whatever becomes of its add-ons.
    members.wait_object(second, "ConfigMap", "shop")?;
    members.give_address(second, "tools")?;
    wait_healthy(members, fleet, "2/2")?;

    label(members, late, "equipped=yes")?;
    members.wait_object(late, "Service", "tools")?;
    wait_healthy(members, fleet, "2/3")?;
    members.assert_absent(&[late], "ConfigMap", "shop")?;
    members.give_address(late, "tools")?;
    members.wait_object(late, "ConfigMap", "shop")?;
    disabled(members, &tools, &[second, late])
}

/// The add-on, which without its fleet is in one cluster alone.
fn tools_of(members: &Members, name: &str, cluster: &str) -> Value {
    application(
        members,
        name,
        &json!({"destination": {"clusters": [cluster]}}),
        &json!([{"name": "tools", "manifests": [balanced("tools")]}]),
    )
}

/// Waits until that many members have a healthy add-on.
fn wait_healthy(members: &Members, fleet: &str, count: &str) -> Result<()> {
    let what = format!("add-ons to be healthy on {count}");
    until(LIMIT, &what, || {
        let listed = members.cli.run(&["addon", "list", fleet])?;
        Ok(listed.contains(count).then_some(()))
    })
}

/// It leaves those that its own destination does not name, by somebody's word.
fn disabled(members: &Members, tools: &str, leaving: &[&str]) -> Result<()> {
    let fleet = members.name.as_str();
    members.cli.run(&["addon", "disable", fleet, tools])?;
    members.stalled_by(tools, "2 of 3")?;
    let first = members.names()[0];
    let mut allowed = tools_of(members, tools, first);
    allowed["metadata"]["annotations"] = json!({"bellwether.dev/allow-removal": "2"});
    members.cli.apply(&allowed.to_string())?;
    for cluster in leaving {
        members.wait_gone(cluster, "Service", "tools")?;
        members.wait_object(cluster, "ConfigMap", "shop")?;
    }
    members.wait_object(first, "Service", "tools")?;
    for application in [tools, fleet] {
        members
            .cli
            .run(&["delete", "application", application, "-y"])?;
    }
    for cluster in [first].iter().chain(leaving) {
        members.wait_gone(cluster, "ConfigMap", "shop")?;
        label(members, cluster, "equipped-")?;
    }
    members
        .cli
        .run(&["delete", "fleet", fleet, "-y"])
        .map(|_| ())
}
