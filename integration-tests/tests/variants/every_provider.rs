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
/// Applications whose Service several providers split at once, such that none has two Ingresses.
const SHARED: usize = 6;
/// How often objects are looked at: each share stays for the settle time at least, which is five times as long.
const LOOKS_APART: Duration = Duration::from_millis(500);

/// An application on a cluster of its own, with what splits its Service.
struct Placed {
    name: String,
    cluster: String,
    namespace: String,
    routed: Vec<Routed>,
}

impl Placed {
    fn is_knative(&self) -> bool {
        self.routed[0].provider == Provider::Knative
    }

    /// The workload, its Service and what splits.
    fn manifests(&self, version: &str) -> Vec<Value> {
        let (name, image) = (&self.name, image(version));
        let labels = json!({"app": name});
        let metadata = json!({"name": name, "namespace": self.namespace});
        let containers = json!([{"name": "web", "image": image}]);
        if self.is_knative() {
            let provider = Provider::Knative;
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
        let routes = self.routed.iter().flat_map(|one| &one.objects);
        manifests.extend(routes.cloned());
        manifests
    }

    fn documents(&self, version: &str) -> String {
        let (name, namespace) = (&self.name, &self.namespace);
        let api_version = "bellwether.dev/v1alpha1";
        let manifests = self.manifests(version);
        let traffic: Vec<&Value> = self.routed.iter().map(|one| &one.traffic).collect();
        let mut rollout = json!({
            "apiVersion": api_version, "kind": "Rollout",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "application": name,
                "workload": {"apiVersion": manifests[0]["apiVersion"], "kind": manifests[0]["kind"],
                    "namespace": namespace, "name": name},
                "traffic": traffic,
                "strategy": {"canary": {"steps":
                    [{"weight": FIRST}, {"weight": SECOND, "advance": "Auto"}]}},
                "analysis": {"interval": "1s"}, "drain": "1s", "progressDeadline": "60s",
            },
        });
        if !self.is_knative() {
            rollout["spec"]["service"] = json!({"name": name, "port": 80});
        }
        let application = json!({
            "apiVersion": api_version, "kind": "Application",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "destination": {"clusters": [self.cluster]}, "targetNamespace": namespace,
                "components": [{"name": "web", "manifests": manifests}],
            },
        });
        format!("{application}\n---\n{rollout}\n")
    }

    /// Reads the canary's share in the object of one provider, and lets its controller see the object; absent = it
    /// is not there.
    fn look(&self, member: &Member, routed: &Routed, knative: &mut Knative) -> Result<Option<u64>> {
        let provider = routed.provider;
        let read = |(api_version, kind, name): (&str, &str, &str)| {
            member.get(api_version, kind, &self.namespace, name)
        };
        let Some(object) = read((provider.api_version(), provider.kind(), &self.name))? else {
            return Ok(None);
        };
        if provider == Provider::Knative {
            knative.reconcile(member, &object)?;
            return Ok(Some(knative.share_of(&object, &image("v2"))));
        }
        take_over(member, provider, &object)?;
        let beside = routed.beside.as_ref();
        let beside = beside.map(|(api_version, kind, name)| read((api_version, kind, name)));
        let beside = beside.transpose()?.flatten();
        let share = share(provider, &self.name, &object, beside.as_ref())?;
        ensure!(
            share == 0 || routed.beside.is_none() || beside.is_some(),
            "it names what is not there: {object}"
        );
        Ok(Some(share))
    }

    /// Waits until the run of the second version has the first weight in force and waits for a human.
    fn wait_first(&self, members: &Members) -> Result<RunView> {
        let what = format!("{} to wait at {FIRST} %", self.name);
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

/// Every provider that splits by an object, with an application: some share one, and Knative's is its own.
fn placed(members: &Members) -> Result<Vec<Placed>> {
    let mut all = Vec::new();
    for (index, cluster) in members.names().into_iter().take(SHARED + 1).enumerate() {
        all.push(Placed {
            name: format!("{}-{index}", members.name),
            cluster: cluster.to_owned(),
            namespace: members.name.clone(),
            routed: Vec::new(),
        });
    }
    let mut shares = 0;
    for provider in Provider::ALL.into_iter().filter(|one| one.has_object()) {
        let index = match provider {
            Provider::Knative => SHARED,
            _ => shares % SHARED,
        };
        shares += usize::from(index < SHARED);
        let one = &mut all[index];
        let routed = routed(provider, &members.name, &one.name);
        one.routed
            .push(routed.with_context(|| format!("{provider:?} has no objects here"))?);
    }
    Ok(all)
}

fn every_provider(members: &Members) -> Result<()> {
    let all = placed(members)?;
    grant(members, &all)?;
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watches: Vec<_> = all
            .iter()
            .map(|one| scope.spawn(|| watch(members, one, &over)))
            .collect();
        let outcome = back_and_through(members, &all);
        over.store(true, Ordering::Relaxed);
        let seen: Result<Vec<Vec<Seen>>> = watches
            .into_iter()
            .map(|watch| watch.join().expect("a watch does not panic"))
            .collect();
        // What a watch saw is why a run did not come on.
        seen.and_then(|seen| outcome.map(|()| seen))
    })?;
    let mut wrong = Vec::new();
    for seen in seen.concat() {
        let mut expected = BACK_AND_THROUGH.map(u64::from);
        if seen.provider == Provider::Knative {
            // The newest revision has everything in the end, which is the new version.
            expected[5] = 100;
        }
        println!("{seen:?}");
        if seen.shares != expected {
            wrong.push(format!("{seen:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The shares that the object of a provider had, each once, in their order.
#[derive(Clone, Debug)]
struct Seen {
    provider: Provider,
    shares: Vec<u64>,
}

fn watch(members: &Members, placed: &Placed, over: &AtomicBool) -> Result<Vec<Seen>> {
    let member = members.cluster(&placed.cluster)?;
    let mut knative = Knative::default();
    let mut all: Vec<Seen> = placed
        .routed
        .iter()
        .map(|one| Seen {
            provider: one.provider,
            shares: Vec::new(),
        })
        .collect();
    while !over.load(Ordering::Relaxed) {
        for (routed, seen) in placed.routed.iter().zip(&mut all) {
            let share = placed.look(member, routed, &mut knative);
            let share = share.with_context(|| format!("{:?}", routed.provider))?;
            seen.shares.extend(share);
            seen.shares.dedup();
        }
        std::thread::sleep(LOOKS_APART);
    }
    Ok(all)
}

/// Every run goes back from its first weight, and then through to its end.
fn back_and_through(members: &Members, all: &[Placed]) -> Result<()> {
    let apply = |version: &str| {
        let documents: Vec<String> = all.iter().map(|one| one.documents(version)).collect();
        members.cli.apply(&documents.join("---\n"))
    };
    apply("v1")?;
    for one in all {
        members.wait_ended(&one.name, 1, RunPhase::Succeeded, LIMIT)?;
    }
    apply("v2")?;
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
    let kinds = kinds(all);
    for one in all {
        members.wait_ended(&one.name, 2, RunPhase::Succeeded, LIMIT)?;
        let manifests = one.manifests("v2");
        members.wait_nothing_else(&one.cluster, &kinds, &manifests)?;
        members.assert_as_written(&one.cluster, &manifests)?;
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
        let beside = one
            .routed
            .iter()
            .filter_map(|routed| routed.beside.as_ref());
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
