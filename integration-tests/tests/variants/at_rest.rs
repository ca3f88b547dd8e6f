//! Nothing changed, so nothing is written.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{lab::AuditedRequest, suite::Case, wait::until};
use serde_json::json;

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

/// It counts requests of every agent, and stops the hub.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_restart_of_hub_and_agents_writes_nothing",
    "atrest",
    restart,
)];

/// An agent asks its API server for less than this when it starts, with six objects to look at.
const MOST_REQUESTS: usize = 150;

fn restart(members: &Members) -> Result<()> {
    let parcel = Parcel {
        governed: true,
        items: 5,
        ..Parcel::new(&members.name, &members.name)
    };
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&parcel.name, 1, RunPhase::Succeeded, LIMIT)?;
    let mut agents = members.agents.lock().expect("no panic while held");
    for agent in agents.iter_mut() {
        agent.stop()?;
    }
    // What an agent still had to write of the release, it has written.
    let before: Vec<usize> = requests(members)?.iter().map(Vec::len).collect();
    members.hub.lock().expect("no panic while held").restart()?;
    for agent in agents.iter_mut() {
        agent.start()?;
    }
    drop(agents);
    for cluster in members.names() {
        members.wait_ready(cluster)?;
    }
    // Whoever puts this back has looked at everything else.
    let edited = format!("{}-3", parcel.name);
    let by_hand = json!({"data": {"version": "by hand"}});
    for (cluster, member) in members.each() {
        member.patch("v1", "ConfigMap", &members.name, &edited, &by_hand)?;
        until(LIMIT, &format!("{cluster} to be corrected"), || {
            let object = members.read(cluster, "ConfigMap", &edited)?;
            let object = object.context("the ConfigMap")?;
            Ok((object["data"]["version"] == "v1").then_some(()))
        })?;
    }
    // The agent keeps what it has to say of that after it has put the object back.
    let after = until(LIMIT, "the agents to keep what they say of it", || {
        let after = requests(members)?;
        let mut since = after
            .iter()
            .zip(&before)
            .map(|(all, &before)| &all[before..]);
        let is_kept = since.all(|since| own_writes(members, since).count() >= 2);
        Ok(is_kept.then_some(after))
    })?;
    for ((cluster, all), before) in members.names().iter().zip(&after).zip(before) {
        judge(members, cluster, &all[before..], &edited)?;
    }
    Ok(())
}

/// What the agent of each cluster asked of its API server so far.
fn requests(members: &Members) -> Result<Vec<Vec<AuditedRequest>>> {
    let of_agent = |cluster: &str| -> Result<Vec<AuditedRequest>> {
        let all = members.lab.audit(cluster)?.into_iter();
        Ok(all
            .filter(|request| request.user_agent.starts_with("bellwether-agent"))
            .collect())
    };
    members.names().into_iter().map(of_agent).collect()
}

/// What an agent wrote that is of no application.
fn own_writes<'a>(
    members: &Members,
    since: &'a [AuditedRequest],
) -> impl Iterator<Item = &'a AuditedRequest> {
    let writes = since.iter().filter(|one| one.is_write());
    writes.filter(move |one| one.namespace != members.name)
}

/// The one object that somebody edited is written once, and nothing else that applications have; and the
/// agent keeps what it has to say of that, until the hub has heard it.
fn judge(members: &Members, cluster: &str, since: &[AuditedRequest], edited: &str) -> Result<()> {
    let own: Vec<&AuditedRequest> = own_writes(members, since).collect();
    let writes = since.iter().filter(|one| one.is_write());
    let ours: Vec<&AuditedRequest> = writes.filter(|one| one.namespace == members.name).collect();
    ensure!(
        ours.len() == 1 && ours[0].object == edited && ours[0].verb == "patch",
        "{cluster}: {ours:#?}"
    );
    let is_record = |one: &&AuditedRequest| one.resource == "syncrecords" && one.verb == "update";
    // The session's epoch is written before anything of the session is acted on.
    let epochs = own.iter().filter(|one| one.object == "bellwether-sync-00");
    ensure!(
        own.iter().all(is_record) && epochs.count() == 1 && (2..=3).contains(&own.len()),
        "{cluster}: {own:#?}"
    );
    ensure!(
        since.len() < MOST_REQUESTS,
        "{cluster}: {} requests, reads among them",
        since.len()
    );
    Ok(())
}
