//! Going back by a human's word to the revision that it names.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{RunPhase, RunView};
use bellwether_integration_tests::{cli::Answer, suite::Case};

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_undo_goes_to_the_revision_that_is_named_and_stays_there",
    "undone",
    undone,
)];

/// Two revisions back, everywhere and plainly, where `rollback` would have gone back by one.
fn undone(members: &Members) -> Result<()> {
    let clusters = &members.names()[1..3];
    let at = |version: &str| Parcel {
        version: version.to_owned(),
        governed: true,
        destination: format!("{{clusters: [{}]}}", clusters.join(", ")),
        ..Parcel::new(&members.name, &members.name)
    };
    for (revision, version) in [(1, "v1"), (2, "v2"), (3, "v3")] {
        members.cli.apply(&at(version).documents())?;
        members.wait_ended(&members.name, revision, RunPhase::Succeeded, LIMIT)?;
    }
    let refused = undo(members, "9")?;
    ensure!(
        refused.code != 0
            && refused
                .stderr
                .contains("there is no revision 9; kept are 3, 2, 1"),
        "{refused:?}"
    );
    let answer = undo(members, "1")?;
    ensure!(answer.code == 0, "{answer:?}");
    for cluster in clusters {
        let facts = ["revision 4 = 1", "Succeeded", "Healthy", "done"];
        let mut lines = answer.stdout.lines();
        let told = lines
            .any(|line| line.starts_with(cluster) && facts.iter().all(|fact| line.contains(fact)));
        ensure!(told, "{cluster}: {answer:?}");
    }
    let run = members.wait_ended(&members.name, 4, RunPhase::Succeeded, LIMIT)?;
    is_first(members, clusters, &run)?;

    // The records say v3 as before. The hub has looked at them once another application of the same call has come in.
    let other = Parcel {
        destination: at("v3").destination,
        ..Parcel::new(&format!("{}-later", members.name), &members.name)
    };
    let both = format!("{}\n---\n{}", at("v3").documents(), other.documents());
    members.cli.apply(&both)?;
    members.wait_ended(&other.name, 1, RunPhase::Succeeded, LIMIT)?;
    let condition = members.condition(&members.name, "RolledBack")?;
    let said = condition.context("it says that it was taken back")?;
    ensure!(said.contains("the first was best"), "{said}");
    let still = members.run(&members.name)?;
    ensure!(still.run == run.run, "a release followed: {still:#?}");
    is_first(members, clusters, &still)
}

fn undo(members: &Members, revision: &str) -> Result<Answer> {
    let name = members.name.as_str();
    let undo = ["rollout", "undo", name, "--to-revision", revision];
    let more = [
        "--reason",
        "the first was best",
        "--wait",
        "--timeout",
        "90s",
    ];
    members.cli.call(&[&undo[..], &more].concat(), None)
}

/// What the first revision brought runs in every cluster, and the run and the history say so.
fn is_first(members: &Members, clusters: &[&str], run: &RunView) -> Result<()> {
    ensure!(run.restores == Some(1), "{run:#?}");
    for cluster in clusters {
        let map = format!("{}-0", members.name);
        let map = members.read(cluster, "ConfigMap", &map)?.context("a map")?;
        ensure!(map["data"]["version"] == "v1", "{cluster}: {map}");
        let web = members.read(cluster, "Deployment", "web")?.context("web")?;
        let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(*image == "bellwether.local/demo:v1", "{cluster}: {web}");
    }
    let history = ["rollout", "history", members.name.as_str()];
    let history = members.cli.run(&history)?;
    ensure!(history.contains("restores 1"), "{history}");
    Ok(())
}
