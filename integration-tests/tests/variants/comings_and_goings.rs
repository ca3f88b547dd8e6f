//! Clusters that are let go and come back, and a region that is not heard.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{ClusterPhase, RunPhase, RunView, WavePhase};
use bellwether_integration_tests::{agent_process::AgentProcess, suite::Case, wait::until};
use serde_json::Value;

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const ALONE: &[Case<Members>] = &[
    (
        "control_plane_detached_cluster_keeps_what_it_has_and_comes_back_as_the_same",
        "detached",
        detached,
    ),
    (
        "control_plane_silent_region_holds_up_no_other_and_is_retried_alone_or_catches_up",
        "silent",
        silent_region,
    ),
];

/// What the application says in a cluster; empty = it has none.
fn version(members: &Members, application: &str, cluster: &str) -> Result<String> {
    let object = members.read(cluster, "ConfigMap", &format!("{application}-0"))?;
    let version = object.map(|object| object["data"]["version"].clone());
    Ok(version
        .as_ref()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned())
}

fn wait_version(members: &Members, application: &str, cluster: &str, wanted: &str) -> Result<()> {
    let what = format!("{cluster} to have {wanted:?} of {application}");
    until(LIMIT, &what, || {
        Ok((version(members, application, cluster)? == wanted).then_some(()))
    })
}

/// Waits until the hub says this of a cluster, and gives what it shows.
fn wait_condition(members: &Members, cluster: &str, condition: &str) -> Result<Value> {
    until(LIMIT, &format!("{cluster} to be {condition}"), || {
        let shown = members.cli.json(&["get", "cluster", cluster])?;
        Ok((shown["status"]["condition"] == condition).then_some(shown))
    })
}

fn detached(members: &Members) -> Result<()> {
    let parcel = Parcel::new(&members.name, &members.name);
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&parcel.name, 1, RunPhase::Succeeded, LIMIT)?;
    let mut agents = members.agents.lock().expect("no panic while held");
    let agent = agents.last_mut().context("agents")?;
    let cluster = agent.cluster.clone();
    let before = members.cli.json(&["get", "cluster", &cluster])?;

    let detach = ["cluster", "detach", &cluster, "-y", "--reason", "sold"];
    members.cli.run(&detach)?;
    let shown = wait_condition(members, &cluster, "Revoked")?;
    ensure!(shown.to_string().contains("sold"), "{shown}");
    let second = Parcel {
        version: "v2".to_owned(),
        ..parcel.clone()
    };
    members.cli.apply(&second.documents())?;
    let run = members.wait_ended(&parcel.name, 2, RunPhase::Succeeded, LIMIT)?;
    ensure!(run.total == 7, "nobody waits for it: {run:?}");
    ensure!(
        version(members, &parcel.name, &cluster)? == "v1",
        "it stays as it is"
    );

    members.register_again(agent)?;
    members.wait_ready(&cluster)?;
    wait_version(members, &parcel.name, &cluster, "v2")?;
    let after = members.cli.json(&["get", "cluster", &cluster])?;
    ensure!(
        after["status"]["id"] == before["status"]["id"]
            && after["metadata"]["labels"] == before["metadata"]["labels"],
        "{before}\n{after}"
    );
    members.assert_items(&[cluster.as_str()], &parcel.name, parcel.items)
}

/// Waves by region. That of the middle region fails because nobody is heard there.
fn by_region(members: &Members, version: &str) -> Parcel {
    let wave = |region: &str, more: &str| {
        format!(
            "{{name: {region}, selector: {{matchLabels: {{region: {region}}}}}, maxConcurrent: 100%{more}}}"
        )
    };
    let waves = [
        wave("eu", ""),
        wave("us", ", unreachable: Fail"),
        wave("ap", ""),
    ];
    Parcel {
        version: version.to_owned(),
        waves: format!("[{}]\n  onFailure: Continue", waves.join(", ")),
        ..Parcel::new(&members.name, &members.name)
    }
}

/// One cluster of two regions, those of the silent one first by their names.
fn movable(members: &Members, name: &str, failover: &str) -> String {
    let placement = format!(
        "spec:\n  placement: {{pick: \"N\", count: 1{failover}, \
         affinity: [{{label: region, operator: In, values: [us, ap]}}]}}\n"
    );
    let parcel = Parcel::new(name, &members.name);
    parcel.documents().replacen("spec:\n", &placement, 1)
}

/// The first of two waves takes clusters that are heard, and passes over those of it that are not.
fn passing(members: &Members, version: &str) -> Parcel {
    Parcel {
        version: version.to_owned(),
        waves: "[{name: west, maxConcurrent: 100%, unreachable: SkipAndCatchUp, \
                selector: {matchExpressions: [{key: region, operator: In, values: [eu, us]}]}}, \
                {name: east, maxConcurrent: 100%}]"
            .to_owned(),
        ..Parcel::new(&format!("{}-passing", members.name), &members.name)
    }
}

fn silent_region(members: &Members) -> Result<()> {
    let (us, ap) = (members.region("us"), members.region("ap"));
    let (moves, stays) = (
        format!("{}-moves", members.name),
        format!("{}-stays", members.name),
    );
    let passing_name = passing(members, "v1").name;
    let failover = ", failover: {after: 1m}";
    members.cli.apply(&movable(members, &moves, failover))?;
    members.cli.apply(&movable(members, &stays, ""))?;
    members.cli.apply(&by_region(members, "v1").documents())?;
    members.cli.apply(&passing(members, "v1").documents())?;
    for name in [&moves, &stays, &members.name, &passing_name] {
        members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    }
    for name in [&moves, &stays] {
        members.wait_items(us[0], name, 2)?;
    }
    let mut agents = members.agents.lock().expect("no panic while held");
    let is_silent = |agent: &&mut AgentProcess| us.contains(&agent.cluster.as_str());
    for agent in agents.iter_mut().filter(is_silent) {
        agent.stop()?;
    }
    members.cli.apply(&by_region(members, "v2").documents())?;
    members.cli.apply(&passing(members, "v2").documents())?;
    passed_by(members, &us)?;
    let passed = passed_over(members, &passing_name, &us)?;
    // Longer than the policy says, and than a beat may take.
    let limit = Duration::from_secs(120);
    until(limit, "the one with a policy to move", || {
        let items = members.items(ap[0], &moves)?;
        Ok((items.len() == 2).then_some(()))
    })?;
    members.assert_items(&ap, &stays, 0)?;
    for cluster in &us {
        for name in [&members.name, &passing_name] {
            ensure!(version(members, name, cluster)? == "v1", "{cluster}");
        }
    }
    for agent in agents.iter_mut().filter(is_silent) {
        agent.start()?;
    }
    drop(agents);
    for cluster in &us {
        members.wait_ready(cluster)?;
    }
    members.wait_items(us[0], &moves, 0)?;
    members.assert_items(&us[..1], &stays, 2)?;
    retried(members, &us)?;
    caught_up(members, &passed, &us)?;
    for name in [&moves, &stays, &passing_name] {
        members.cli.run(&["delete", "application", name, "-y"])?;
    }
    members.wait_items(us[0], &stays, 0)
}

/// The run goes through the other regions, and says what failed.
fn passed_by(members: &Members, silent: &[&str]) -> Result<()> {
    // It takes a while until the hub counts a cluster as silent, before anything comes of that.
    let run = members.wait_ended(&members.name, 2, RunPhase::Failed, 2 * LIMIT)?;
    ensure!(run.message.contains("never reached"), "{run:#?}");
    let states: Vec<WavePhase> = run.waves.iter().map(|wave| wave.state).collect();
    ensure!(
        states == [WavePhase::Passed, WavePhase::Failed, WavePhase::Passed],
        "{run:#?}"
    );
    for cluster in run.waves.iter().flat_map(|wave| &wave.clusters) {
        let expected = if silent.contains(&cluster.name.as_str()) {
            "v1"
        } else {
            "v2"
        };
        let found = version(members, &members.name, &cluster.name)?;
        ensure!(found == expected, "{} has {found}", cluster.name);
    }
    Ok(())
}

/// The run has succeeded without the silent ones, which have what they had; gives it.
fn passed_over(members: &Members, name: &str, silent: &[&str]) -> Result<RunView> {
    let run = members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    for cluster in run.waves.iter().flat_map(|wave| &wave.clusters) {
        let is_silent = silent.contains(&cluster.name.as_str());
        let has_it = cluster.state == ClusterPhase::Succeeded;
        let expected = if is_silent { "v1" } else { "v2" };
        let found = version(members, name, &cluster.name)?;
        ensure!(found == expected && has_it != is_silent, "{cluster:#?}");
    }
    Ok(run)
}

/// They get it by themselves, by the same run, and how that ended stays.
fn caught_up(members: &Members, passed: &RunView, silent: &[&str]) -> Result<()> {
    let name = passed.application.name.as_str();
    for cluster in silent {
        wait_version(members, name, cluster, "v2")?;
    }
    let what = "those that were passed over to succeed";
    let run = members.wait_run(name, 2, LIMIT, what, |run| {
        let mut clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
        clusters.all(|cluster| cluster.state == ClusterPhase::Succeeded)
    })?;
    ensure!(
        run.run == passed.run
            && run.state == RunPhase::Succeeded
            && run.finished_at == passed.finished_at,
        "{passed:#?}\n{run:#?}"
    );
    Ok(())
}

/// A retry takes the silent ones, and writes nothing anywhere else.
fn retried(members: &Members, silent: &[&str]) -> Result<()> {
    let written = |cluster: &str| -> Result<Value> {
        let object = members.read(cluster, "ConfigMap", &format!("{}-0", members.name))?;
        Ok(object.context("the ConfigMap")?["metadata"]["resourceVersion"].clone())
    };
    let others: Vec<&str> = members
        .names()
        .into_iter()
        .filter(|name| !silent.contains(name))
        .collect();
    let before: Vec<Value> = others
        .iter()
        .map(|name| written(name))
        .collect::<Result<_>>()?;
    members.cli.run(&["rollout", "retry", &members.name])?;
    let run = members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    for cluster in silent {
        wait_version(members, &members.name, cluster, "v2")?;
    }
    let after: Vec<Value> = others
        .iter()
        .map(|name| written(name))
        .collect::<Result<_>>()?;
    ensure!(before == after, "they were written again: {run:#?}");
    let clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
    for cluster in clusters {
        ensure!(cluster.state == ClusterPhase::Succeeded, "{run:#?}");
    }
    Ok(())
}
