//! A cluster that is let go in the middle of a run.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, RunPhase, RunView};
use bellwether_integration_tests::{fixture::cluster_view, suite::Case, wait::until};
use serde_json::Value;

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

/// It takes a cluster from all applications for a while.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_cluster_detached_mid_run_keeps_its_step_and_the_run_ends_without_it",
    "leftmidrun",
    detached,
)];

/// A canary of two clusters at once whose step waits for a human.
fn parcel(members: &Members, clusters: &[&str]) -> Parcel {
    Parcel {
        governed: true,
        destination: format!("{{clusters: [{}]}}", clusters.join(", ")),
        ..Parcel::new(&members.name, &members.name)
    }
}

fn documents(parcel: &Parcel, version: &str) -> String {
    let released = Parcel {
        version: version.to_owned(),
        ..parcel.clone()
    };
    let text = released.documents();
    // Longer than the cluster may be away.
    let text = text.replace("progressDeadline: 60s", "progressDeadline: 10m");
    text.replace("weights: [50]", "steps: [{weight: 50}]")
}

fn detached(members: &Members) -> Result<()> {
    let mut agents = members.agents.lock().expect("no panic while held");
    let [.., stays, leaves] = agents.as_mut_slice() else {
        anyhow::bail!("there are not enough clusters");
    };
    let clusters = [stays.cluster.as_str(), leaves.cluster.as_str()];
    let parcel = parcel(members, &clusters);
    members.cli.apply(&documents(&parcel, "v1"))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    members.cli.apply(&documents(&parcel, "v2"))?;
    for cluster in clusters {
        waits_for_a_human(members, cluster)?;
    }
    let left = leaves.cluster.clone();
    let before = specs(members, &left)?;

    let detach = ["cluster", "detach", &left, "-y", "--reason", "sold"];
    members.cli.run(&detach)?;
    in_state(members, &left, "Skipped and Gone", |state, reason| {
        state == ClusterPhase::Skipped && reason == "Gone"
    })?;
    members.cli.run(&["rollout", "approve", &members.name])?;
    let run = members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let other = cluster_view(&run, clusters[0])?;
    ensure!(other.state == ClusterPhase::Succeeded, "{run:#?}");
    runs_second(members, clusters[0])?;
    let after = specs(members, &left)?;
    ensure!(
        before == after,
        "it was changed after it was let go:\n{before:?}\n{after:?}"
    );

    members.register_again(leaves)?;
    // It takes the steps of its plan like everybody who comes late, and was not meant by the word of before.
    waits_for_a_human(members, &left)?;
    members.cli.run(&["rollout", "approve", &members.name])?;
    in_state(members, &left, "Succeeded", |state, _| {
        state == ClusterPhase::Succeeded
    })?;
    runs_second(members, &left)
}

fn waits_for_a_human(members: &Members, cluster: &str) -> Result<RunView> {
    in_state(members, cluster, "WaitingApproval", |state, _| {
        state == ClusterPhase::WaitingApproval
    })
}

/// Waits until the second run says of a cluster what `holds` of its state and reason.
fn in_state(
    members: &Members,
    cluster: &str,
    what: &str,
    holds: impl Fn(ClusterPhase, &str) -> bool,
) -> Result<RunView> {
    let what = format!("{cluster} to be {what}");
    members.wait_run(&members.name, 2, LIMIT, &what, |view| {
        cluster_view(view, cluster).is_ok_and(|one| holds(one.state, &one.reason))
    })
}

/// What is asked for of the workload and its canary in a cluster, where half of the pods are the canary's.
fn specs(members: &Members, cluster: &str) -> Result<[Value; 2]> {
    let spec = |name: &str| {
        let object = members.read(cluster, "Deployment", name)?;
        let object = object.with_context(|| format!("{name} in {cluster}"))?;
        anyhow::Ok(object["spec"].clone())
    };
    let specs = [spec("web")?, spec("web-canary")?];
    let [old, new] = &specs;
    ensure!(
        old.to_string().contains("demo:v1") && new.to_string().contains("demo:v2"),
        "{cluster} is not in the middle of the run: {specs:?}"
    );
    Ok(specs)
}

/// Waits until a cluster has the second version alone.
fn runs_second(members: &Members, cluster: &str) -> Result<()> {
    let what = format!("{cluster} to run v2 alone");
    until(LIMIT, &what, || {
        let web = members.read(cluster, "Deployment", "web")?.context("web")?;
        let canary = members.read(cluster, "Deployment", "web-canary")?;
        let is_new = web["spec"].to_string().contains("demo:v2");
        Ok((is_new && canary.is_none()).then_some(()))
    })
}
