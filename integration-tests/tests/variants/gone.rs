//! What a run is about goes away while it is under way: its workload, or its namespace.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::{RunPhase, RunView};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, manifests::Shop, suite::Case, wait::until,
};

use crate::{
    provider_controllers::programs,
    stage::{LIMIT, Members},
};

/// One of them leaves a cluster without one of its agent's namespaces.
pub const ALONE: &[Case<Members>] = &[
    (
        "control_plane_workload_that_is_deleted_mid_run_ends_it_and_the_release_before_is_whole",
        "targetgone",
        workload,
    ),
    (
        "control_plane_namespace_that_is_deleted_mid_run_goes_and_nothing_holds_it",
        "spacegone",
        namespace,
    ),
];

const TRACK: &str = "bellwether.dev/v1alpha1";

/// The last cluster, and the demo application there, with a step that waits for a human.
struct Place<'a> {
    members: &'a Members,
    cluster: &'a str,
    member: &'a Member,
    shop: Shop,
}

impl<'a> Place<'a> {
    fn of(members: &'a Members) -> Result<Self> {
        let names = members.names();
        let cluster = *names.last().context("clusters")?;
        let shop = Shop {
            destination: format!("{{clusters: [{cluster}]}}"),
            waves: String::new(),
            analysis: "{interval: 1s}".into(),
            replicas: 2,
            pre_stop_seconds: 0,
            strategy: "{canary: {steps: [{weight: 30}]}}".into(),
            progress_deadline: "40s".into(),
            ..members.shop()
        };
        Ok(Self {
            members,
            cluster,
            member: members.cluster(cluster)?,
            shop,
        })
    }

    /// Does something while a gateway takes over what routes say.
    fn routed(&self, done: impl FnOnce() -> Result<()>) -> Result<()> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let gateway = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    programs(self.member, &self.members.name)?;
                    std::thread::sleep(Duration::from_millis(200));
                }
                anyhow::Ok(())
            });
            let outcome = done();
            over.store(true, Ordering::Relaxed);
            let played = gateway.join().expect("the gateway does not panic");
            outcome.and(played)
        })
    }

    /// Installs the first version, and brings the second to where it waits with a share of the traffic.
    fn split(&self) -> Result<()> {
        let members = self.members;
        members.cli.apply(&self.shop.documents())?;
        members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
        members.cli.apply(&self.shop.version("v2").documents())?;
        members.wait_run(&members.name, 2, LIMIT, "30 % to be in force", |view| {
            cluster_view(view, self.cluster).is_ok_and(|cluster| {
                let mut tracks = cluster.tracks.iter();
                tracks.any(|track| track.observed_weight.percent() == 30)
            })
        })?;
        Ok(())
    }

    /// Waits until the second run has failed because its target is gone.
    fn ended(&self) -> Result<RunView> {
        let name = &self.members.name;
        let run = self.members.wait_ended(name, 2, RunPhase::Failed, LIMIT)?;
        let shown = cluster_view(&run, self.cluster)?;
        let said = format!("{} {}", shown.reason, shown.message);
        ensure!(said.contains("TargetGone"), "{said}");
        Ok(run)
    }
}

fn workload(members: &Members) -> Result<()> {
    let place = Place::of(members)?;
    let (name, member) = (&members.name, place.member);
    place.routed(|| {
        place.split()?;
        member.delete("apps/v1", "Deployment", name, "web")?;
        place.ended()?;
        Ok(())
    })?;
    for own in ["Deployment", "Service"] {
        members.wait_gone(place.cluster, own, "web-canary")?;
    }
    until(LIMIT, "the track to be gone", || {
        let tracks = member.list(TRACK, "RolloutTrack", name)?;
        Ok(tracks.is_empty().then_some(()))
    })?;
    for written in place.shop.manifests() {
        let kind = written["kind"].as_str().context("a kind")?;
        let live = members.read(place.cluster, kind, "web")?;
        // The application delivers it, so that the version before is made anew.
        let live = live.with_context(|| format!("{kind} web"))?;
        members.assert_equals_fresh(member, &written, &live)?;
    }
    Ok(())
}

/// With the namespace goes the role that lets the agent work there. Nothing of a run may hold it, and
/// only the user's word takes the application away, which then needs nothing of the namespace.
fn namespace(members: &Members) -> Result<()> {
    let place = Place::of(members)?;
    let (name, member) = (&members.name, place.member);
    // The gateway has no routes to look at from then on.
    place.routed(|| place.split())?;
    member.delete_namespace(name)?;
    until(LIMIT, "the namespace to be gone", || {
        let spaces = member.list_cluster("v1", "Namespace")?;
        let mut spaces = spaces.iter();
        let is_there = spaces.any(|space| space["metadata"]["name"] == name.as_str());
        Ok((!is_there).then_some(()))
    })
    .with_context(|| {
        let held = member.list(TRACK, "RolloutTrack", name);
        format!("it is held by {held:?}")
    })?;
    place.ended()?;
    members.cli.json(&["get", "application", name])?;
    members.wait_ready(place.cluster)?;
    members.cli.run(&["delete", "application", name, "-y"])?;
    until(LIMIT, "the application to be gone", || {
        let asked = members.cli.call(&["get", "application", name], None)?;
        Ok((asked.code != 0).then_some(()))
    })
}
