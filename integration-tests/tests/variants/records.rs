//! The Repository of docs/gitops.md: records that Git holds, over the whole fleet.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{git_server::GitServer, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::{
    page::{example, fitted},
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_records_in_git_reach_every_cluster_and_leave_with_their_file",
    "recorded",
    records,
)];

fn records(members: &Members) -> Result<()> {
    let git = GitServer::start()?;
    let name = members.name.as_str();
    let parcel = Parcel {
        governed: true,
        ..Parcel::new(name, name)
    };
    git.write("records/app.yaml", &parcel.documents())?;
    let fleet = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {name}}}\n\
         spec: {{clusters: [{}]}}\n",
        members.names()[0]
    );
    git.write("records/fleet.yaml", &fleet)?;
    git.commit("one")?;
    // Another annotation has the hub look at once.
    let look = |annotations: Value| -> Result<()> {
        let repository = example("gitops.md", "kind: Repository")?;
        let named = format!("metadata: {{name: {name}, annotations: {annotations}}}");
        let changes = [
            ("metadata: {name: platform}", named.as_str()),
            ("https://git.example.com/platform/fleet.git", &git.url()),
        ];
        let repository = fitted(&repository, &changes)?;
        members.cli.apply(&repository).map(|_| ())
    };
    look(json!({"look": "1"}))?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    let by_hand = Parcel {
        items: 1,
        ..parcel.clone()
    };
    let by_hand = by_hand.documents();
    let refused = members.cli.call(&["apply", "-f", "-"], Some(&by_hand))?;
    ensure!(
        refused.code == 6 && refused.stderr.contains(&format!("repository {name}")),
        "{refused:?}"
    );

    let second = Parcel {
        version: "v2".to_owned(),
        ..parcel
    };
    git.write("records/app.yaml", &second.documents())?;
    let commit = git.commit("two")?;
    look(json!({"look": "2"}))?;
    let run = members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    ensure!(run.by == format!("repository:{name}"), "{run:?}");
    for cluster in members.names() {
        let live = members.read(cluster, "Deployment", "web")?.context("web")?;
        ensure!(live.to_string().contains("demo:v2"), "{cluster}: {live}");
    }
    let shown = members.cli.json(&["get", "repository", name])?;
    ensure!(shown["status"]["revision"] == commit.as_str(), "{shown}");

    git.git(&["rm", "--quiet", "records/app.yaml"])?;
    git.commit("three")?;
    look(json!({"look": "3"}))?;
    wait_synced(members, "RemovalBraked")?;
    members.assert_items(&members.names(), name, 2)?;
    look(json!({"look": "4", "bellwether.dev/allow-removal": "2"}))?;
    for cluster in members.names() {
        members.wait_items(cluster, name, 0)?;
        members.wait_gone(cluster, "Deployment", "web")?;
    }
    members.cli.run(&["delete", "repository", name, "-y"])?;
    members
        .cli
        .run(&["delete", "fleet", name, "-y"])
        .map(|_| ())
}

/// Waits until the repository stands like that.
fn wait_synced(members: &Members, reason: &str) -> Result<()> {
    let mut shown = Value::Null;
    until(LIMIT, &format!("the repository to be {reason}"), || {
        shown = members.cli.json(&["get", "repository", &members.name])?;
        let conditions = shown["status"]["conditions"].as_array();
        let found = conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Synced" && one["reason"] == reason);
        Ok(found.then_some(()))
    })
    .with_context(|| shown.to_string())
}
