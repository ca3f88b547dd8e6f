//! Two agents of one cluster: the older one lost the hub and does not know that it was replaced.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

/// It stops an agent.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_older_agent_writes_nothing_once_a_newer_one_has_a_session",
    "fencing",
    older_agent,
)];

/// An address that nobody answers at.
const NOBODY: &str = "127.0.0.1:1";
/// How long nothing may be written. Drift is corrected within a second.
const QUIET: Duration = Duration::from_secs(4);

fn says(member: &Member, namespace: &str, name: &str) -> Result<Value> {
    let found = member.get("v1", "ConfigMap", namespace, name)?;
    Ok(found.context("the ConfigMap")?["data"]["version"].clone())
}

fn edit(member: &Member, namespace: &str, name: &str, value: &str) -> Result<()> {
    let patch = json!({"data": {"version": value}});
    member.patch("v1", "ConfigMap", namespace, name, &patch)
}

fn older_agent(members: &Members) -> Result<()> {
    let cluster = members.names()[0];
    let member = members.cluster(cluster)?;
    let parcel = Parcel {
        destination: format!("{{clusters: [{cluster}]}}"),
        ..Parcel::new(&members.name, &members.name)
    };
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let (namespace, item) = (members.name.as_str(), format!("{}-0", parcel.name));
    let corrected = |what: &str| {
        until(LIMIT, what, || {
            Ok((says(member, namespace, &item)? == json!("v1")).then_some(()))
        })
    };
    let Ok(mut agents) = members.agents.lock() else {
        bail!("another test died with the agents in hand");
    };
    let older = agents
        .iter_mut()
        .find(|agent| agent.cluster == cluster)
        .context("the agent")?;
    // It loses the hub, and goes on by itself.
    let before = older.logged()?.len();
    older.stop()?;
    let address = older.set("--hub-address", NOBODY)?;
    let mut newer = older.twin(&members.directory.join("newer-agent"))?;
    newer.set("--hub-address", &address)?;
    older.start()?;
    edit(member, namespace, &item, "while it is alone")?;
    corrected("an agent without a hub to correct drift")?;
    // Another one is started in its place, and has a session.
    newer.start()?;
    until(LIMIT, "the older agent to know", || {
        Ok(older.logged()?[before..]
            .contains("has taken over")
            .then_some(()))
    })?;
    edit(member, namespace, &item, "while there are two")?;
    corrected("the newer agent to correct drift")?;
    newer.stop()?;
    edit(member, namespace, &item, "by hand")?;
    std::thread::sleep(QUIET);
    let now = says(member, namespace, &item)?;
    ensure!(now == json!("by hand"), "the older agent wrote {now}");
    ensure!(older.is_running(), "it stands by");
    // With a session of its own it is the newest again.
    older.stop()?;
    older.set("--hub-address", &address)?;
    older.start()?;
    drop(agents);
    corrected("the newest agent to correct drift")?;
    members.wait_ready(cluster)
}
