//! Kinds without a partition, rolled by a copy beside the workload as an adapter tells. The clusters have their
//! definitions and no controllers: the test plays them, pods included.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::Phase, traffic::Provider, view::RunPhase};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, prometheus::Prometheus, suite::Case, wait::until,
};
use serde_json::{Value, json};

use crate::{
    adapted_kinds::{Kind, Player, clone_set, image, ring, ring_definition},
    provider_objects::{Routed, routed},
    provider_shares::share,
    stage::{LIMIT, Members},
};

pub const CASES: &[Case<Members>] = &[
    (
        "control_plane_kind_with_a_scale_subresource_is_promoted_from_a_copy",
        "ring",
        ring_is_promoted,
    ),
    (
        "control_plane_kind_with_a_scale_subresource_goes_back_from_a_copy_and_keeps_its_pods",
        "ringback",
        ring_goes_back,
    ),
    (
        "control_plane_clone_set_with_an_adapter_of_its_own_is_promoted_from_a_copy",
        "clonecopy",
        clone_set_is_promoted,
    ),
];

/// The first share, which is half of a pod more than one of four.
const WEIGHT: u8 = 30;
const COPIES: u32 = 2;
const LOOKS_APART: Duration = Duration::from_millis(200);

/// One workload with its Service and its route, and who plays its controller.
struct Stand<'a> {
    members: &'a Members,
    cluster: &'a str,
    kind: Kind,
    routed: Routed,
    player: Player<'a>,
    /// What the run is judged by; empty = readiness alone.
    metrics: Value,
}

impl<'a> Stand<'a> {
    fn new(members: &'a Members, index: usize, kind: Kind, metrics: Value) -> Result<Self> {
        let cluster = members.names()[index];
        let member = members.cluster(cluster)?;
        let routed = routed(Provider::IngressRoute, &members.name, "web").context("a route")?;
        let resource = kind.resource.map(str::to_owned);
        let route = Provider::IngressRoute.resource();
        let (plural, group) = route.split_once('.').context("a group")?;
        let route = (group.to_owned(), plural.to_owned());
        members.allow(member, &[resource.into(), route])?;
        until(LIMIT, "its kind to be served", || {
            let name = &members.name;
            Ok(member.list(kind.api_version, kind.kind, name).ok())
        })?;
        Ok(Self {
            members,
            cluster,
            player: Player::new(member, &members.name, kind.clone()),
            kind,
            routed,
            metrics,
        })
    }

    fn member(&self) -> Result<&Member> {
        self.members.cluster(self.cluster)
    }

    fn manifests(&self, version: &str) -> Vec<Value> {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": self.members.name},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
        });
        let mut manifests = vec![self.kind.manifest(&self.members.name, version), service];
        manifests.extend(self.routed.objects.iter().cloned());
        manifests
    }

    fn apply(&self, version: &str) -> Result<()> {
        let (name, api_version) = (&self.members.name, "bellwether.dev/v1alpha1");
        let application = json!({
            "apiVersion": api_version, "kind": "Application",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "destination": {"clusters": [self.cluster]}, "targetNamespace": name,
                "components": [{"name": "web", "manifests": self.manifests(version)}],
            },
        });
        let rollout = json!({
            "apiVersion": api_version, "kind": "Rollout",
            "metadata": {"name": format!("{name}-web"), "namespace": "default"},
            "spec": {
                "application": name,
                "workload": {"apiVersion": self.kind.api_version, "kind": self.kind.kind,
                    "namespace": name, "name": "web", "adapter": self.kind.adapter},
                "service": {"name": "web", "port": 80}, "traffic": [self.routed.traffic],
                "strategy": {"canary": {"steps":
                    [{"weight": WEIGHT}, {"weight": 60, "advance": "Auto"}]}},
                "analysis": {"interval": "1s", "failureThreshold": 1, "metrics": self.metrics},
                "drain": "1s", "progressDeadline": "60s",
            },
        });
        let documents = format!("{application}\n---\n{rollout}\n");
        self.members.cli.apply(&documents)?;
        Ok(())
    }

    /// Plays the controller until `test` is over.
    fn played(&self, test: impl FnOnce() -> Result<()>) -> Result<()> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let controller = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.player.reconcile()?;
                    std::thread::sleep(LOOKS_APART);
                }
                anyhow::Ok(())
            });
            let outcome = test();
            over.store(true, Ordering::Relaxed);
            let played = controller.join().expect("the controller does not panic");
            played.and(outcome)
        })
    }

    /// Releases the first version, and gives the UIDs of its pods.
    fn begin(&self) -> Result<BTreeSet<String>> {
        self.apply("v1")?;
        self.members
            .wait_ended(&self.members.name, 1, RunPhase::Succeeded, LIMIT)?;
        let uids = self.player.uids("web", "v1")?;
        ensure!(uids.len() == self.kind.pods as usize, "{uids:?}");
        Ok(uids)
    }

    fn live(&self, api_version: &str, kind: &str, name: &str) -> Result<Value> {
        let namespace = &self.members.name;
        let found = self.member()?.get(api_version, kind, namespace, name)?;
        found.with_context(|| format!("{kind} {name}"))
    }

    fn workload(&self, name: &str) -> Result<Value> {
        self.live(self.kind.api_version, self.kind.kind, name)
    }

    /// Waits until the first share is in force and a human is awaited.
    fn wait_first(&self) -> Result<()> {
        let (members, what) = (self.members, format!("{WEIGHT} % to be in force"));
        members.wait_run(&members.name, 2, LIMIT, &what, |view| {
            cluster_view(view, self.cluster).is_ok_and(|cluster| {
                cluster.tracks.iter().any(|track| {
                    track.phase == Phase::Paused && track.observed_weight.percent() == WEIGHT
                })
            })
        })?;
        Ok(())
    }

    /// Fails unless the workload is held with the pods that it had, and the copy runs the new version beside it.
    fn is_apart(&self, uids: &BTreeSet<String>) -> Result<()> {
        let (workload, copy) = (self.workload("web")?, self.workload("web-canary")?);
        let at = |object: &Value, pointer: &str| object.pointer(pointer).cloned();
        let kind = &self.kind;
        ensure!(
            at(&workload, kind.paused) == Some(json!(true)),
            "{workload}"
        );
        ensure!(image(&workload) == Some("v1"), "{workload}");
        ensure!(
            self.player.uids("web", "v1")? == *uids,
            "pods were replaced"
        );
        ensure!(at(&copy, kind.size) == Some(json!(COPIES)), "{copy}");
        ensure!(at(&copy, kind.paused) != Some(json!(true)), "{copy}");
        ensure!(image(&copy) == Some("v2"), "{copy}");
        let new = self.player.uids("web-canary", "v2")?;
        ensure!(new.len() == COPIES as usize, "{new:?}");
        let service = self.live("v1", "Service", "web")?;
        let pin = service["spec"]["selector"][kind.label].as_str();
        let old = self.player.labels("web")?;
        ensure!(
            pin.is_some_and(|pin| old == BTreeSet::from([pin.to_owned()])),
            "{old:?} {service}"
        );
        let provider = Provider::IngressRoute;
        let route = self.live(provider.api_version(), provider.kind(), "web")?;
        let share = share(provider, "web", &route, None)?;
        ensure!(share == u64::from(WEIGHT), "{route}");
        Ok(())
    }

    /// Fails unless everything is as it was written, and nothing of the run is left.
    fn is_as_written(&self, version: &str) -> Result<()> {
        let manifests = self.manifests(version);
        let mut kinds = BTreeSet::from([("bellwether.dev/v1alpha1".into(), "RolloutTrack".into())]);
        for object in &manifests {
            let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
            kinds.insert((text("apiVersion"), text("kind")));
        }
        self.members
            .wait_nothing_else(self.cluster, &kinds, &manifests)?;
        self.members.assert_as_written(self.cluster, &manifests)
    }

    /// Who owns which fields of the workload and of the Service, but for their status.
    fn owners(&self) -> Result<BTreeSet<String>> {
        let objects = [self.workload("web")?, self.live("v1", "Service", "web")?];
        let entries = objects
            .iter()
            .filter_map(|object| object.pointer("/metadata/managedFields")?.as_array())
            .flatten();
        let own = entries.filter(|entry| entry.get("subresource").is_none());
        Ok(own
            .map(|entry| format!("{} {}", entry["manager"], entry["fieldsV1"]))
            .collect())
    }

    fn is_promoted(&self) -> Result<()> {
        let uids = self.begin()?;
        let owners = self.owners()?;
        self.apply("v2")?;
        self.wait_first()?;
        self.is_apart(&uids)?;
        let name = &self.members.name;
        self.members.cli.run(&["rollout", "approve", name])?;
        self.members
            .wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
        let new = self.player.uids("web", "v2")?;
        ensure!(new.len() == self.kind.pods as usize, "{new:?}");
        self.is_as_written("v2")?;
        let after = self.owners()?;
        ensure!(after == owners, "{owners:#?} became {after:#?}");
        Ok(())
    }
}

fn promoted(members: &Members, index: usize, kind: Kind) -> Result<()> {
    let stand = Stand::new(members, index, kind, json!([]))?;
    stand.played(|| stand.is_promoted())
}

fn ring_is_promoted(members: &Members) -> Result<()> {
    let index = 1;
    let member = members.cluster(members.names()[index])?;
    member.create_cluster_scoped(&ring_definition())?;
    promoted(members, index, ring())
}

fn clone_set_is_promoted(members: &Members) -> Result<()> {
    promoted(members, 2, clone_set())
}

fn ring_goes_back(members: &Members) -> Result<()> {
    let index = 3;
    let member = members.cluster(members.names()[index])?;
    member.create_cluster_scoped(&ring_definition())?;
    let prometheus = Prometheus::start(&members.lab.bridge_address)?;
    prometheus.show("ring_errors", 9.0);
    let metrics = json!([{"name": "errors", "query": "ring_errors", "range": {"max": "1"},
        "source": {"type": "Prometheus", "address": prometheus.url()}}]);
    let stand = Stand::new(members, index, ring(), metrics)?;
    stand.played(|| {
        let uids = stand.begin()?;
        let owners = stand.owners()?;
        stand.apply("v2")?;
        let name = &members.name;
        let run = members.wait_ended(name, 2, RunPhase::Failed, LIMIT)?;
        let told = members.weights_told(&run, stand.cluster)?;
        ensure!(
            told.contains(&WEIGHT),
            "it failed before its check: {told:?}"
        );
        ensure!(
            stand.player.uids("web", "v1")? == uids,
            "pods were replaced"
        );
        stand.is_as_written("v1")?;
        let after = stand.owners()?;
        ensure!(after == owners, "{owners:#?} became {after:#?}");
        Ok(())
    })
}
