//! Every provider of the code's list that splits by an object: its route is written by the agents of runs that go back
//! and of runs that succeed, on API servers with the definitions of their projects. Controllers are played, and no
//! request is sent.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::Phase,
    traffic::Provider,
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{cluster::Member, fixture::cluster_view, suite::Case};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::{
    provider_controllers::{Knative, take_over},
    provider_objects::{Routed, routed},
    provider_shares::share,
    stage::{LIMIT, Members},
};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_every_provider_is_split_by_a_run_and_is_the_users_again_after_abort_and_success",
    "routes",
    every_provider,
)];

/// The steps: the first waits for a human, who goes back there once.
const FIRST: u8 = 30;
const SECOND: u8 = 60;
/// The shares of a run that goes back from the first weight, and of its retry that succeeds.
const BACK_AND_THROUGH: [u8; 6] = [0, FIRST, 0, FIRST, SECOND, 0];

/// An application of one provider, with a cluster.
struct Placed {
    name: String,
    cluster: String,
    namespace: String,
    routed: Routed,
}

impl Placed {
    fn is_knative(&self) -> bool {
        self.routed.provider == Provider::Knative
    }

    /// The workload, its Service and what splits.
    fn manifests(&self, version: &str) -> Vec<Value> {
        let (name, image) = (&self.name, image(version));
        let labels = json!({"app": name});
        let metadata = json!({"name": name, "namespace": self.namespace});
        let containers = json!([{"name": "web", "image": image}]);
        if self.is_knative() {
            let provider = self.routed.provider;
            return vec![json!({
                "apiVersion": provider.api_version(), "kind": provider.kind(), "metadata": metadata,
                "spec": {"template": {"spec": {"containers": containers}}},
            })];
        }
        let mut manifests = vec![
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": containers},
                }},
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": {"selector": labels, "ports": [{"name": "http", "port": 80}]},
            }),
        ];
        manifests.extend(self.routed.objects.iter().cloned());
        manifests
    }

    fn documents(&self, version: &str) -> String {
        let (name, namespace) = (&self.name, &self.namespace);
        let api_version = "bellwether.dev/v1alpha1";
        let application = json!({
            "apiVersion": api_version, "kind": "Application",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "destination": {"clusters": [self.cluster]}, "targetNamespace": namespace,
                "components": [{"name": "web", "manifests": self.manifests(version)}],
            },
        });
        let workload = &self.manifests(version)[0];
        let mut rollout = json!({
            "apiVersion": api_version, "kind": "Rollout",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "application": name,
                "workload": {"apiVersion": workload["apiVersion"], "kind": workload["kind"],
                    "namespace": namespace, "name": name},
                "service": {"name": name, "port": 80},
                "traffic": [self.routed.traffic],
                "strategy": {"canary": {"steps":
                    [{"weight": FIRST}, {"weight": SECOND, "advance": "Auto"}]}},
                "analysis": {"interval": "1s"}, "drain": "1s", "progressDeadline": "60s",
            },
        });
        if self.is_knative()
            && let Some(spec) = rollout["spec"].as_object_mut()
        {
            spec.remove("service");
        }
        format!("{application}\n---\n{rollout}\n")
    }

    /// Reads the canary's share, and lets the provider's controller see the object; absent = it is not there.
    fn look(&self, member: &Member, knative: &mut Knative) -> Result<Option<u64>> {
        let provider = self.routed.provider;
        let read = |(api_version, kind, name): (&str, &str, &str)| {
            member.get(api_version, kind, &self.namespace, name)
        };
        let Some(object) = read((provider.api_version(), provider.kind(), &self.name))? else {
            return Ok(None);
        };
        if self.is_knative() {
            knative.reconcile(member, &object)?;
            return Ok(Some(knative.share_of(&object, &image("v2"))));
        }
        take_over(member, provider, &object)?;
        let beside = self.routed.beside.as_ref();
        let beside = beside.map(|(api_version, kind, name)| read((api_version, kind, name)));
        let beside = beside.transpose()?.flatten();
        let share = share(provider, &self.name, &object, beside.as_ref())?;
        ensure!(
            share == 0 || self.routed.beside.is_none() || beside.is_some(),
            "{provider:?} names what is not there: {object}"
        );
        Ok(Some(share))
    }

    /// Waits until the run of the second version has the first weight in force and waits for a human.
    fn wait_first(&self, members: &Members) -> Result<RunView> {
        let what = format!("{:?} to wait at {FIRST} %", self.routed.provider);
        members.wait_run(&self.name, 2, LIMIT, &what, |view| {
            cluster_view(view, &self.cluster).is_ok_and(|cluster| {
                cluster.tracks.iter().any(|track| {
                    track.phase == Phase::Paused && track.observed_weight.percent() == FIRST
                })
            })
        })
    }
}

fn image(version: &str) -> String {
    format!("bellwether.local/demo:{version}")
}

/// One application for each provider, spread over the clusters.
fn placed(members: &Members) -> Vec<Placed> {
    let clusters = members.names();
    let provided = Provider::ALL.into_iter().enumerate();
    provided
        .filter_map(|(index, provider)| {
            let name = format!("{}-{index}", members.name);
            Some(Placed {
                routed: routed(provider, &members.name, &name)?,
                cluster: clusters[index % clusters.len()].to_owned(),
                namespace: members.name.clone(),
                name,
            })
        })
        .collect()
}

fn every_provider(members: &Members) -> Result<()> {
    let all = placed(members);
    ensure!(
        all.len() == Provider::ALL.len() - 1,
        "all but none have objects"
    );
    grant(members, &all)?;
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watches: Vec<_> = all
            .iter()
            .map(|one| scope.spawn(|| watch(members, one, &over)))
            .collect();
        let outcome = back_and_through(members, &all);
        over.store(true, Ordering::Relaxed);
        let seen: Result<Vec<Vec<u64>>> = watches
            .into_iter()
            .map(|watch| watch.join().expect("a watch does not panic"))
            .collect();
        // What a watch saw is why a run did not come on.
        seen.and_then(|seen| outcome.map(|()| seen))
    })?;
    let mut wrong = Vec::new();
    for (one, seen) in all.iter().zip(seen) {
        let mut expected = BACK_AND_THROUGH.map(u64::from);
        if one.is_knative() {
            // The newest revision has everything in the end, which is the new version.
            expected[5] = 100;
        }
        println!("{:?}: {seen:?}", one.routed.provider);
        if seen != expected {
            wrong.push(format!("{:?}: {seen:?}", one.routed.provider));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The shares that the object had, each once, in their order.
fn watch(members: &Members, placed: &Placed, over: &AtomicBool) -> Result<Vec<u64>> {
    let member = members.cluster(&placed.cluster)?;
    let mut knative = Knative::default();
    let mut shares = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let seen = placed.look(member, &mut knative);
        let seen = seen.with_context(|| format!("{:?}", placed.routed.provider))?;
        if let Some(share) = seen
            && shares.last() != Some(&share)
        {
            shares.push(share);
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(shares)
}

/// Every run goes back from its first weight, and then through to its end.
fn back_and_through(members: &Members, all: &[Placed]) -> Result<()> {
    for one in all {
        members.cli.apply(&one.documents("v1"))?;
    }
    for one in all {
        members.wait_ended(&one.name, 1, RunPhase::Succeeded, LIMIT)?;
        members.cli.apply(&one.documents("v2"))?;
    }
    for one in all {
        one.wait_first(members)?;
        let abort = ["rollout", "abort", &one.name, "--reason", "seen"];
        members.cli.run(&abort)?;
    }
    for one in all {
        members.wait_ended(&one.name, 2, RunPhase::Aborted, LIMIT)?;
        members.assert_as_written(&one.cluster, &one.manifests("v1"))?;
        members.cli.run(&["rollout", "retry", &one.name])?;
    }
    for one in all {
        one.wait_first(members)?;
        members.cli.run(&["rollout", "approve", &one.name])?;
    }
    for one in all {
        members.wait_ended(&one.name, 2, RunPhase::Succeeded, LIMIT)?;
        members.assert_as_written(&one.cluster, &one.manifests("v2"))?;
    }
    for cluster in members.names() {
        let here = all.iter().filter(|one| one.cluster == cluster);
        let manifests: Vec<Value> = here.flat_map(|one| one.manifests("v2")).collect();
        members.wait_nothing_else(cluster, &kinds(all), &manifests)?;
    }
    for one in all {
        let delete = ["delete", "application", &one.name, "-y"];
        members.cli.run(&delete)?;
    }
    Ok(())
}

/// Group and version with kind of everything that applications and their runs have.
fn kinds(all: &[Placed]) -> BTreeSet<(String, String)> {
    let mut kinds = BTreeSet::from([("bellwether.dev/v1alpha1".into(), "RolloutTrack".into())]);
    for one in all {
        for object in one.manifests("v1") {
            let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
            kinds.insert((text("apiVersion"), text("kind")));
        }
        let beside = one.routed.beside.iter();
        kinds.extend(beside.map(|(version, kind, _)| ((*version).into(), (*kind).into())));
    }
    kinds
}

/// Lets agents manage the kinds of every provider, as `--kinds` would.
fn grant(members: &Members, all: &[Placed]) -> Result<()> {
    let mut resources = Vec::new();
    for (version, kind) in kinds(all) {
        // What Kubernetes itself has is managed anyway, and tracks too.
        if let Some((group, version)) = version.split_once('/')
            && group.contains('.')
            && group != "bellwether.dev"
        {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
            resources.push((resource.group, resource.plural));
        }
    }
    for (_, member) in members.each() {
        members.allow(member, &resources)?;
    }
    Ok(())
}
