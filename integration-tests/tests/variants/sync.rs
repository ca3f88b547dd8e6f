//! The example of docs/sync.md: kinds that come with a release, fields left to others, a fight, and what
//! stays.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_sync_brings_kinds_leaves_fields_ends_fights_and_keeps_what_stays",
    "boards",
    boards,
)];

const BOARD: &str = "boards.example/v1";
const DEFINITION: &str = "apiextensions.k8s.io/v1";

fn boards(members: &Members) -> Result<()> {
    let cluster = members.names()[1];
    let member = members.cluster(cluster)?;
    grant(members, member)?;
    let documents = example(&members.name, cluster)?;
    members.cli.apply(&documents)?;
    until(LIMIT, "the Board of the kind that came with it", || {
        // Its kind is not known yet at first.
        let board = member.get(BOARD, "Board", &members.name, "main");
        Ok(board.ok().flatten())
    })?;
    let waits = members.run(&members.name)?;
    ensure!(
        !waits.state.is_terminal(),
        "an expression says that it is not healthy: {waits:?}"
    );
    let ready = json!({"status": {"phase": "Ready"}});
    member.patch_status(BOARD, "Board", &members.name, "main", &ready)?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    left_to_others(members, cluster)?;
    fought_over(members, cluster)?;
    made_anew(members, cluster, &documents)?;
    what_stays(members, member, cluster)
}

/// The page's example, in the test's own namespace and one cluster.
fn example(name: &str, cluster: &str) -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sync.md");
    let text = fs::read_to_string(page)?;
    let example = text
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("an example")?;
    Ok(example
        .replace(
            "{name: boards, namespace: default}",
            &format!("{{name: {name}, namespace: default}}"),
        )
        .replace(
            "targetNamespace: boards",
            &format!("targetNamespace: {name}"),
        )
        .replace("clusters: [eu-1]", &format!("clusters: [{cluster}]")))
}

/// Lets the agent deliver definitions, and Boards.
fn grant(members: &Members, member: &Member) -> Result<()> {
    let name = format!("{}-definitions", members.name);
    let verbs = json!([
        "get", "list", "watch", "create", "update", "patch", "delete"
    ]);
    member.create_cluster_scoped(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
                "verbs": verbs},
            {"apiGroups": ["boards.example"], "resources": ["boards"], "verbs": verbs},
        ],
    }))?;
    member.create_cluster_scoped(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "bellwether-agent",
            "namespace": "bellwether-system"}],
    }))
}

fn config(members: &Members, cluster: &str, name: &str) -> Result<Value> {
    let found = members.read(cluster, "ConfigMap", name)?;
    found.with_context(|| format!("{cluster} has no ConfigMap {name}"))
}

fn edit(members: &Members, cluster: &str, data: &Value) -> Result<()> {
    let patch = json!({"data": data});
    let member = members.cluster(cluster)?;
    member.patch("v1", "ConfigMap", &members.name, "tuning", &patch)
}

fn left_to_others(members: &Members, cluster: &str) -> Result<()> {
    edit(members, cluster, &json!({"workers": "9", "limit": "99"}))?;
    until(LIMIT, "the limit to be put back", || {
        let live = config(members, cluster, "tuning")?;
        Ok((live["data"]["limit"] == "10").then_some(()))
    })?;
    let live = config(members, cluster, "tuning")?;
    ensure!(
        live["data"]["workers"] == "9",
        "it is left to others: {live}"
    );
    Ok(())
}

/// Somebody changes the same field whenever it was put back, until the agent leaves it and says so.
fn fought_over(members: &Members, cluster: &str) -> Result<()> {
    let subject = format!("application/{}", members.name);
    let events = until(LIMIT, "the agent to leave the field", || {
        let live = config(members, cluster, "tuning")?;
        if live["data"]["limit"] == "10" {
            edit(members, cluster, &json!({"limit": "99"}))?;
        }
        let events = members.cli.run(&["events", &subject])?;
        Ok(events.contains("FightingOver").then_some(events))
    })?;
    ensure!(events.contains("data.limit"), "{events}");
    let live = config(members, cluster, "tuning")?;
    ensure!(live["data"]["limit"] == "99", "it is left: {live}");
    Ok(())
}

/// A field that cannot be changed is changed all the same, by an object of another uid.
fn made_anew(members: &Members, cluster: &str, documents: &str) -> Result<()> {
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let before = uid(&config(members, cluster, "fixed")?);
    let second = documents.replace("edition: \"1\"", "edition: \"2\"");
    members.cli.apply(&second)?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let after = config(members, cluster, "fixed")?;
    ensure!(after["data"]["edition"] == "2", "{after}");
    ensure!(uid(&after) != before, "it was made anew: {after}");
    Ok(())
}

fn what_stays(members: &Members, member: &Member, cluster: &str) -> Result<()> {
    let protect = json!({"metadata": {"annotations": {"bellwether.dev/protect": "true"}}});
    member.patch("v1", "Service", &members.name, "boards", &protect)?;
    let delete = ["delete", "application", &members.name, "-y"];
    members.cli.run(&delete)?;
    until(LIMIT, "what is neither kept nor protected to go", || {
        let board = member.get(BOARD, "Board", &members.name, "main")?;
        let tuning = members.read(cluster, "ConfigMap", "tuning")?;
        Ok((board.is_none() && tuning.is_none()).then_some(()))
    })?;
    let left = members.read(cluster, "Service", "boards")?;
    left.context("the protected Service")?;
    until(LIMIT, "the definition that stays to be nobody's", || {
        let definitions = member.list_cluster(DEFINITION, "CustomResourceDefinition")?;
        let kept = definitions
            .iter()
            .find(|one| one["metadata"]["name"] == "boards.boards.example")
            .context("the definition stays")?;
        let managers = kept["metadata"]["managedFields"].to_string();
        Ok((!managers.contains("bellwether-sync")).then_some(()))
    })
}
