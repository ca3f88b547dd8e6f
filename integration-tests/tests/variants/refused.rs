//! Releases that some clusters of a wave cannot take, each for a reason of its own.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, ClusterView, RunPhase, RunView};
use bellwether_integration_tests::{cluster::Member, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members, grant_everywhere};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_bad_input_in_one_cluster_is_named_there_and_touches_no_other",
    "refused",
    refused,
)];

const GROUP: &str = "refused.example";
const WIDGETS: &str = "refused.example/v1";

/// Clusters, by what each lacks.
struct Lacking<'a> {
    kind: &'a str,
    namespace: &'a str,
    rights: &'a str,
    claimed: &'a str,
    nothing: &'a str,
}

impl<'a> Lacking<'a> {
    fn of(members: &'a Members) -> Result<Self> {
        let names: [&str; 5] = members.names()[3..].try_into().context("eight clusters")?;
        let [kind, namespace, rights, claimed, nothing] = names;
        Ok(Self {
            kind,
            namespace,
            rights,
            claimed,
            nothing,
        })
    }

    const fn all(&self) -> [&'a str; 5] {
        let failing = self.failing();
        [failing[0], failing[1], failing[2], failing[3], self.nothing]
    }

    const fn failing(&self) -> [&'a str; 4] {
        [self.kind, self.namespace, self.rights, self.claimed]
    }
}

fn map(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"version": version}})
}

fn apart(members: &Members) -> String {
    format!("{}-apart", members.name)
}

fn application(members: &Members, clusters: &[&str], components: &Value) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": clusters}, "targetNamespace": members.name,
            "createNamespace": false, "sync": {"adopt": "Never"},
            "waves": [{"name": "all", "maxConcurrent": "100%"}], "components": components,
        },
    })
    .to_string()
}

/// What every cluster can take.
fn first(members: &Members, clusters: &[&str]) -> String {
    let components =
        json!([{"name": "base", "manifests": [map("kept", "v1"), map("dropped", "v1")]}]);
    application(members, clusters, &components)
}

/// Changes one object, drops one, and brings what four of five clusters have no place for.
fn second(members: &Members, clusters: &[&str]) -> String {
    let widget = json!({"apiVersion": WIDGETS, "kind": "Widget", "metadata": {"name": "wheel"},
        "spec": {"size": 3}});
    let components = json!([
        {"name": "base", "manifests": [map("kept", "v2"), map("claimed", "v2")]},
        {"name": "widgets", "manifests": [widget]},
        {"name": "apart", "targetNamespace": apart(members), "manifests": [map("far", "v2")]},
    ]);
    application(members, clusters, &components)
}

/// Defines Widgets, and waits until they are served.
fn define(member: &Member, namespace: &str) -> Result<()> {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
    member.create_cluster_scoped(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets",
                "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}}],
        },
    }))?;
    until(LIMIT, "Widgets to be served", || {
        Ok(member.list(WIDGETS, "Widget", namespace).ok().map(|_| ()))
    })
}

fn claim(members: &Members, member: &Member) -> Result<()> {
    let mut object = map("claimed", "mine");
    object["metadata"]["namespace"] = members.name.as_str().into();
    member.create(&object)
}

/// Gives each cluster everything but what it is to lack.
fn prepare(members: &Members, lacking: &Lacking<'_>) -> Result<()> {
    for cluster in lacking.all() {
        let member = members.cluster(cluster)?;
        if cluster != lacking.kind {
            define(member, &members.name)?;
        }
        if cluster != lacking.namespace {
            member.create_namespace(&apart(members))?;
        }
        let widgets = (GROUP, "widgets");
        let resources: &[(&str, &str)] = if cluster == lacking.rights {
            &[widgets]
        } else {
            &[widgets, ("", "configmaps")]
        };
        grant_everywhere(member, &members.name, resources)?;
        if cluster == lacking.claimed {
            claim(members, member)?;
        }
    }
    Ok(())
}

fn version(members: &Members, cluster: &str, name: &str) -> Result<Option<Value>> {
    let found = members.read(cluster, "ConfigMap", name)?;
    Ok(found.map(|object| object["data"]["version"].clone()))
}

fn of_cluster<'a>(run: &'a RunView, name: &str) -> Option<&'a ClusterView> {
    let mut clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
    clusters.find(|one| one.name == name)
}

fn refused(members: &Members) -> Result<()> {
    let lacking = Lacking::of(members)?;
    let all = lacking.all();
    prepare(members, &lacking)?;
    members.cli.apply(&first(members, &all))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;

    members.cli.apply(&second(members, &all))?;
    let what = "four clusters to refuse it and the fifth to have it";
    let run = members.wait_run(&members.name, 2, LIMIT, what, |run| {
        let state = |name: &str| of_cluster(run, name).map(|one| one.state);
        let failed = |name: &&str| state(name) == Some(ClusterPhase::Failed);
        lacking.failing().iter().all(failed)
            && state(lacking.nothing) == Some(ClusterPhase::Succeeded)
    })?;
    told(members, &lacking, &run)?;
    as_before(members, &lacking)?;
    came_in(members, lacking.nothing)?;

    // Each gets what it lacked, and nobody else is asked for anything.
    let rights = format!("{}-more", members.name);
    grant_everywhere(
        members.cluster(lacking.rights)?,
        &rights,
        &[("", "configmaps")],
    )?;
    let member = members.cluster(lacking.kind)?;
    define(member, &members.name)?;
    members
        .cluster(lacking.namespace)?
        .create_namespace(&apart(members))?;
    let member = members.cluster(lacking.claimed)?;
    member.delete("v1", "ConfigMap", &members.name, "claimed")?;
    members.cli.run(&["rollout", "retry", &members.name])?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    for cluster in all {
        came_in(members, cluster)?;
    }
    members
        .cli
        .run(&["delete", "application", &members.name, "-y"])?;
    for cluster in all {
        members.wait_gone(cluster, "ConfigMap", "kept")?;
    }
    Ok(())
}

/// Each says which object it has no place for and what would help, at the run and at `why`.
fn told(members: &Members, lacking: &Lacking<'_>, run: &RunView) -> Result<()> {
    let (name, apart) = (&members.name, apart(members));
    let expected = [
        (
            lacking.kind,
            format!(
                "Widget/{name}/wheel needs kind Widget of {WIDGETS}, which this cluster does not serve"
            ),
        ),
        (
            lacking.namespace,
            format!(
                "ConfigMap/{apart}/far needs namespace {apart}, which this cluster lacks and the \
                 release does not make: add it to the release, or make it there"
            ),
        ),
        (
            lacking.rights,
            format!(
                "may not get, list, watch, create, patch, delete configmaps in namespace {apart}"
            ),
        ),
        (
            lacking.claimed,
            format!("ConfigMap/{name}/claimed exists already and sync.adopt is Never; set it to"),
        ),
    ];
    let why = members.cli.call(&["why", name], None)?.stdout;
    for (cluster, words) in &expected {
        let shown = of_cluster(run, cluster).context("the cluster")?;
        let said = format!("{} {}", shown.reason, shown.message);
        ensure!(
            said.contains(words),
            "{cluster}: {words:?} is not in {said:?}"
        );
        ensure!(
            why.contains(words) && why.contains(cluster),
            "{cluster}: {why}"
        );
        let others = expected.iter().filter(|(other, _)| other != cluster);
        for (_, others) in others {
            ensure!(!said.contains(others), "{cluster} says {said:?}");
        }
    }
    Ok(())
}

/// The release before runs on where this one was refused: nothing is applied, and nothing deleted.
fn as_before(members: &Members, lacking: &Lacking<'_>) -> Result<()> {
    for cluster in lacking.failing() {
        for name in ["kept", "dropped"] {
            let found = version(members, cluster, name)?;
            ensure!(found == Some(json!("v1")), "{cluster}: {name} is {found:?}");
        }
        let claimed = version(members, cluster, "claimed")?;
        let expected = (cluster == lacking.claimed).then(|| json!("mine"));
        ensure!(claimed == expected, "{cluster}: {claimed:?}");
        let member = members.cluster(cluster)?;
        if cluster != lacking.kind {
            let widget = member.get(WIDGETS, "Widget", &members.name, "wheel")?;
            ensure!(widget.is_none(), "{cluster}: {widget:?}");
        }
        let far = member.get("v1", "ConfigMap", &apart(members), "far")?;
        ensure!(far.is_none(), "{cluster}: {far:?}");
    }
    Ok(())
}

fn came_in(members: &Members, cluster: &str) -> Result<()> {
    let member = members.cluster(cluster)?;
    for name in ["kept", "claimed"] {
        let found = version(members, cluster, name)?;
        ensure!(found == Some(json!("v2")), "{cluster}: {name} is {found:?}");
    }
    let far = member.get("v1", "ConfigMap", &apart(members), "far")?;
    far.with_context(|| format!("{cluster} has no ConfigMap far"))?;
    let widget = member.get(WIDGETS, "Widget", &members.name, "wheel")?;
    widget.with_context(|| format!("{cluster} has no Widget"))?;
    // What the release leaves out goes once it is in.
    members.wait_gone(cluster, "ConfigMap", "dropped")
}
