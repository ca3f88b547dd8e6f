//! Breadth: a fleet of control-plane clusters.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, RunPhase};
use bellwether_integration_tests::{
    suite::Case,
    wait::until,
    weights::{Look, RunWatch},
};
use serde_json::json;

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[
    (
        "control_plane_waves_never_exceed_their_budget",
        "waves",
        waves,
    ),
    (
        "control_plane_drift_is_corrected_in_every_cluster",
        "drift",
        drift,
    ),
];

/// These stop agents, or read what all of them did.
pub const ALONE: &[Case<Members>] = &[
    (
        "control_plane_tombstones_delete_and_nothing_else_does",
        "tombstones",
        tombstones,
    ),
    (
        "control_plane_agents_speak_as_their_service_account",
        "identity",
        identity,
    ),
];

fn waves(members: &Members) -> Result<()> {
    const BUDGET: usize = 2;
    // So many that the second wave goes in two turns.
    let clusters = &members.names()[..5];
    let parcel = Parcel {
        governed: true,
        destination: format!("{{clusters: [{}]}}", clusters.join(", ")),
        waves: format!(
            "[{{name: canary, selector: {{matchLabels: {{tier: canary}}}}, after: [{{soak: 1s}}]}}, \
             {{name: rest, maxConcurrent: {BUDGET}}}]"
        ),
        ..Parcel::new(&members.name, &members.name)
    };
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let second = Parcel {
        version: "v2".to_owned(),
        ..parcel
    };
    members.cli.apply(&second.documents())?;
    let watch = RunWatch::start(&members.cli, "default", &members.name)?;
    let rest = &clusters[1..];
    let (mut before, mut most) = (BTreeSet::new(), 0);
    until(LIMIT, "the run to end", || {
        let now = tracks(members, rest)?;
        // A track that is there before and after a moment was under way at that moment.
        let at_once = now.intersection(&before).count();
        ensure!(at_once <= BUDGET, "{at_once} clusters at once: {now:?}");
        most = most.max(at_once);
        before = now;
        let view = members.run(&members.name)?;
        Ok((view.revision == 2 && view.state.is_terminal()).then_some(()))
    })?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    ensure!(most == BUDGET, "at most {most} clusters went at once");
    assert_told_in_budget(&watch.stop(), BUDGET)?;
    for cluster in clusters {
        let live = members.read(cluster, "Deployment", "web")?.context("web")?;
        ensure!(live.to_string().contains("demo:v2"), "{cluster}: {live}");
        let copy = members.read(cluster, "Deployment", "web-canary")?;
        ensure!(copy.is_none(), "{cluster} keeps its canary");
    }
    Ok(())
}

/// The tracks of the test in the clusters, each with its identity.
fn tracks(members: &Members, clusters: &[&str]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for cluster in clusters {
        let listed = members.cluster(cluster)?.list(
            "bellwether.dev/v1alpha1",
            "RolloutTrack",
            &members.name,
        )?;
        for track in listed {
            let uid = track["metadata"]["uid"].as_str().unwrap_or_default();
            found.insert(format!("{cluster}/{uid}"));
        }
    }
    Ok(found)
}

/// Fails where the hub's own API ever told of more clusters under way than the wave may have, or of
/// a second wave before the first was done.
fn assert_told_in_budget(looks: &[Look], budget: usize) -> Result<()> {
    let mut views: Vec<Vec<&Look>> = Vec::new();
    for look in looks {
        match views.last_mut() {
            Some(view)
                if view[0].at_ms == look.at_ms
                    && view.iter().all(|one| one.cluster != look.cluster) =>
            {
                view.push(look);
            }
            _ => views.push(vec![look]),
        }
    }
    ensure!(views.len() > 5, "only {} views were told", views.len());
    for view in views {
        let is_under_way = |look: &&&Look| {
            look.wave == 1 && !matches!(look.state, ClusterPhase::Queued | ClusterPhase::Succeeded)
        };
        let under_way = view.iter().filter(is_under_way).count();
        ensure!(under_way <= budget, "{under_way} at once: {view:?}");
        let first_is_done = view
            .iter()
            .all(|look| look.wave != 0 || look.state == ClusterPhase::Succeeded);
        ensure!(
            under_way == 0 || first_is_done,
            "the second wave began before the first was done: {view:?}"
        );
    }
    Ok(())
}

fn drift(members: &Members) -> Result<()> {
    let parcel = Parcel {
        items: 3,
        ..Parcel::new(&members.name, &members.name)
    };
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let (edited, deleted) = (format!("{}-0", parcel.name), format!("{}-1", parcel.name));
    let edit = json!({"data": {"version": "by hand"}});
    for (_, member) in members.each() {
        member.patch("v1", "ConfigMap", &members.name, &edited, &edit)?;
        member.delete("v1", "ConfigMap", &members.name, &deleted)?;
    }
    for cluster in members.names() {
        until(LIMIT, &format!("{cluster} to be corrected"), || {
            let says = |name: &str| {
                anyhow::Ok(
                    members
                        .read(cluster, "ConfigMap", name)?
                        .is_some_and(|object| object["data"]["version"] == "v1"),
                )
            };
            Ok((says(&edited)? && says(&deleted)?).then_some(()))
        })?;
    }
    Ok(())
}

fn tombstones(members: &Members) -> Result<()> {
    let parcel = Parcel::new(&members.name, &members.name);
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for (_, member) in members.each() {
        // Somebody else's, with the application's own label.
        member.create(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "bystander", "namespace": members.name,
                         "labels": {"parcel": members.name}},
        }))?;
    }
    let mut agents = members.agents.lock().expect("no panic while held");
    let (away, here) = agents.split_last_mut().context("agents")?;
    away.stop()?;
    members
        .cli
        .run(&["delete", "application", &members.name, "-y"])?;
    for agent in here {
        members.wait_items(&agent.cluster, &members.name, 1)?;
    }
    // Nobody is there to delete in the last cluster, and a new start alone deletes nothing else.
    members.assert_items(&[&away.cluster], &members.name, 3)?;
    away.start()?;
    members.wait_items(&away.cluster, &members.name, 1)?;
    for cluster in members.names() {
        let left = members.items(cluster, &members.name)?;
        ensure!(left == ["bystander"], "{cluster}: {left:?}");
    }
    drop(agents);
    for cluster in members.names() {
        members.wait_ready(cluster)?;
    }
    Ok(())
}

fn identity(members: &Members) -> Result<()> {
    let parcel = Parcel::new(&members.name, &members.name);
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    for cluster in members.names() {
        let requests = members.lab.audit(cluster)?;
        let of_agent: Vec<_> = requests
            .iter()
            .filter(|request| request.user_agent.starts_with("bellwether-agent"))
            .collect();
        ensure!(
            !of_agent.is_empty(),
            "the agent's requests must be in the audit log of {cluster}"
        );
        for request in of_agent {
            ensure!(
                request.user == "system:serviceaccount:bellwether-system:bellwether-agent"
                    && !request.groups.iter().any(|group| group == "system:masters"),
                "a request of the agent of {cluster} came as {} {:?}",
                request.user,
                request.groups
            );
        }
    }
    Ok(())
}
