//! Two hubs on one database, one of which goes down while a run is under way. It runs alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::{ClusterPhase, RunPhase, RunView};
use bellwether_integration_tests::{
    cli::Cli,
    fixture::cluster_view,
    hub::{Hub, free_port},
    manifests::Shop,
    relay::Relay,
    wait::until,
};
use serde_json::Value;

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
};

/// In three clusters.
pub const ALONE: &[Case] = &[(
    "sc_x5_one_of_two_hubs_killed_mid_run_does_nothing_twice",
    "twohubs",
    one_of_two_killed,
)];

const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];

/// A hub beside the scene's own, and what leads agents to either.
struct Pair<'a> {
    scene: &'a Scene,
    /// What agents dial.
    dialled: u16,
    other: Option<Hub>,
    relay: Option<Relay>,
}

impl<'a> Pair<'a> {
    /// The scene's hub alone.
    fn of(scene: &'a Scene) -> Self {
        let own = scene.hub.lock().expect("no panic while held");
        Self {
            scene,
            dialled: own.agent_port(),
            other: None,
            relay: None,
        }
    }

    /// Puts another hub beside the scene's, and waits until agents are at both.
    fn start(&mut self) -> Result<()> {
        let mut own = self.scene.hub.lock().expect("no panic while held");
        own.restart_at(free_port()?)?;
        let other = own.second(&self.scene.directory.join("hub-two"))?;
        let ports = [other.agent_port(), own.agent_port()];
        self.other = Some(other);
        let relay = self.relay.insert(Relay::start(self.dialled, &ports)?);
        until(Duration::from_secs(60), "agents at both hubs", || {
            let [other, own] = ports.map(|port| relay.connections(port));
            Ok((other > 0 && own > 0 && other + own >= CLUSTERS.len()).then_some(()))
        })
    }

    fn other(&mut self) -> Result<&mut Hub> {
        self.other.as_mut().context("the other hub")
    }

    /// Leaves the scene's hub alone, where agents dial.
    fn part(&mut self) -> Result<()> {
        drop(self.relay.take());
        drop(self.other.take());
        let mut own = self.scene.hub.lock().expect("no panic while held");
        own.restart_at(self.dialled)
    }
}

fn one_of_two_killed(scene: &Scene) -> Result<()> {
    let shop = Shop {
        destination: "{fleet: quickstart}".into(),
        waves: "[{name: canary, selector: {matchLabels: {tier: canary}}}, \
                {name: rest, maxConcurrent: 2}]"
            .into(),
        strategy: "{canary: {steps: [{weight: 20}, {weight: 40, advance: Auto}, \
                   {weight: 60, advance: Auto}]}}"
            .into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let mut pair = Pair::of(scene);
    let started = pair.start();
    let released = started.and_then(|()| released(scene, &mut pair, &shop));
    pair.part()?;
    released
}

fn released(scene: &Scene, pair: &mut Pair<'_>, shop: &Shop) -> Result<()> {
    let traffic = scene.traffic(&CLUSTERS)?;
    let other = Cli::new(pair.other()?)?;
    other.apply(&shop.version("v2").documents())?;
    scene.at_weight(2, 20)?;
    scene.cluster_state(2, ClusterPhase::WaitingApproval)?;
    // It goes with its agents and whatever it had begun on; what it said yes to stands.
    other.run(&["rollout", "approve", &scene.name])?;
    pair.other()?.kill()?;
    let rest = "the other clusters to wait for a human";
    scene.wait_run(&scene.name, 2, RUN_LIMIT, rest, |view| {
        ["c2", "c3"].iter().all(|name| {
            cluster_view(view, name).is_ok_and(|one| one.state == ClusterPhase::WaitingApproval)
        })
    })?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    let run = scene.ended(2, RunPhase::Succeeded)?;
    traffic.none_lost("v2")?;
    everything_once(scene, &run)?;
    let events = scene.events_of(&run)?;
    for cluster in CLUSTERS {
        let approved = count(&events, cluster, "Approved");
        ensure!(
            approved == 1,
            "{cluster} was approved {approved} times: {events:#?}"
        );
    }
    for index in 0..CLUSTERS.len() {
        scene.assert_restored(&scene.member(index)?, &shop.version("v2"))?;
    }
    Ok(())
}

/// How often a cluster told of something, or the hub of the cluster: its messages begin with the name.
fn count(events: &[Value], cluster: &str, reason: &str) -> usize {
    let of_it = events.iter().filter(|one| one["reason"] == reason);
    let named = format!("{cluster}: ");
    let is_its = |one: &&Value| match one["cluster"].as_str() {
        Some(told_by) => told_by == cluster,
        None => one["message"]
            .as_str()
            .is_some_and(|text| text.starts_with(&named)),
    };
    of_it.filter(is_its).count()
}

/// Fails unless each cluster was granted the run once, began it once, had each weight of 20, 40 and 60 once, and
/// promoted once.
pub fn everything_once(scene: &Scene, run: &RunView) -> Result<()> {
    let events = scene.events_of(run)?;
    for cluster in CLUSTERS {
        let weights = scene.weights_told(run, cluster)?;
        ensure!(weights == [20, 40, 60], "{cluster} had weights {weights:?}");
        for reason in ["ClusterGranted", "Started", "Promoting", "ClusterSucceeded"] {
            let told = count(&events, cluster, reason);
            ensure!(told == 1, "{cluster}: {told} x {reason} in {events:#?}");
        }
        ensure!(
            cluster_view(run, cluster)?.attempt == 1,
            "{cluster} was tried more than once: {run:?}"
        );
    }
    Ok(())
}
