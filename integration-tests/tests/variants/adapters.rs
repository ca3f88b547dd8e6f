//! A kind that nothing is known of, updated in place by an adapter that its Rollout writes. The cluster has
//! its definition and no controller: the test plays it, pods included.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::{Phase, ReadyCount, TrackSummary},
    view::RunPhase,
};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, suite::Case, wait::until,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const CASES: &[Case<Members>] = &[(
    "control_plane_kind_with_an_adapter_of_its_own_is_updated_by_its_partition",
    "shards",
    by_adapter,
)];

const GROUP: &str = "example.dev";
const API_VERSION: &str = "example.dev/v1";
const REPLICAS: u32 = 4;
/// The label that tells pods apart, and by which alone those of a revision are counted.
const REVISION: &str = "example.dev/revision";

/// The kind of docs/workloads.md.
fn definition() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let count = json!({"type": "integer"});
    let text = json!({"type": "string"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("shards.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"kind": "Shard", "listKind": "ShardList", "plural": "shards", "singular": "shard"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "replicas": count, "selector": any, "template": any,
                        "update": {"type": "object", "properties": {"held": count, "order": text}}}},
                    "status": any,
                }}}}],
        },
    })
}

fn manifest(namespace: &str, version: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": API_VERSION, "kind": "Shard",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            // The user's own word beside the partition.
            "update": {"order": "Descending"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers":
                    [{"name": "web", "image": format!("bellwether.local/demo:{version}")}]},
            },
        },
    })
}

fn documents(members: &Members, version: &str) -> String {
    let name = &members.name;
    format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n  \
         destination: {{clusters: [{cluster}]}}\n  targetNamespace: {name}\n  components:\n  \
         - name: web\n    manifests:\n    - {manifest}\n\
         ---\napiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
         metadata: {{name: {name}-web, namespace: default}}\nspec:\n  application: {name}\n  \
         workload:\n    apiVersion: {API_VERSION}\n    kind: Shard\n    namespace: {name}\n    name: web\n    \
         adapter: {{partition: /spec/update/held, revisionLabel: {REVISION}}}\n  \
         strategy: {{batch: {{steps: [{{replicas: 1}}, {{replicas: 100%}}]}}}}\n  \
         analysis: {{interval: 1s}}\n  progressDeadline: 60s\n",
        cluster = members.names()[0],
        manifest = manifest(name, version),
    )
}

/// What the test has at hand, as the controller of Shards.
struct Controller<'a> {
    members: &'a Members,
    member: &'a Member,
}

impl Controller<'_> {
    /// Lets the cluster know Shards, and the agent manage them, as `--kinds shards.example.dev` would.
    fn introduce(&self) -> Result<()> {
        let name = &self.members.name;
        self.member.create_cluster_scoped(&definition())?;
        self.members
            .let_agent_manage(self.member, GROUP, "shards")?;
        until(LIMIT, "Shards to be served", || {
            Ok(self.member.list(API_VERSION, "Shard", name).ok())
        })?;
        Ok(())
    }

    fn live(&self) -> Result<Value> {
        let found = self
            .member
            .get(API_VERSION, "Shard", &self.members.name, "web")?;
        found.context("the Shard")
    }

    /// Makes the pods that the Shard asks for, with as many of its template's revision as its partition
    /// lets go, and reports no count of those.
    fn reconcile(&self) -> Result<()> {
        let live = self.live()?;
        let image = live["spec"]["template"]["spec"]["containers"][0]["image"]
            .as_str()
            .context("an image")?;
        let version = image.rsplit(':').next().unwrap_or_default();
        let held = live.pointer("/spec/update/held").and_then(Value::as_u64);
        let held = u32::try_from(held.unwrap_or_default())?;
        // The pods that are held are the first ones.
        for number in held..REPLICAS {
            self.make(&live, number, version)?;
        }
        self.ready()?;
        let status = json!({"status": {
            "observedGeneration": live["metadata"]["generation"], "replicas": REPLICAS,
            "readyReplicas": REPLICAS, "availableReplicas": REPLICAS,
            "updateRevision": format!("web-{version}"),
        }});
        self.report(&status)
    }

    fn report(&self, status: &Value) -> Result<()> {
        let name = &self.members.name;
        self.member
            .patch_status(API_VERSION, "Shard", name, "web", status)
    }

    /// Has the pod of that number be of that revision.
    fn make(&self, shard: &Value, number: u32, version: &str) -> Result<()> {
        let namespace = &self.members.name;
        let prefix = format!("web-{number}-");
        let name = format!("{prefix}{version}");
        let there = self.pods()?;
        if there.contains(&name) {
            return Ok(());
        }
        for other in there.iter().filter(|one| one.starts_with(&prefix)) {
            self.member.delete("v1", "Pod", namespace, other)?;
        }
        self.member.create(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": namespace, "labels": {"app": "web", REVISION: version},
                "ownerReferences": [{"apiVersion": API_VERSION, "kind": "Shard", "name": "web",
                    "uid": shard["metadata"]["uid"], "controller": true}],
            },
            "spec": {"terminationGracePeriodSeconds": 0,
                "containers": shard["spec"]["template"]["spec"]["containers"]},
        }))
    }

    /// Names of the pods that do not stop.
    fn pods(&self) -> Result<BTreeSet<String>> {
        let pods = self.member.pods(&self.members.name, "app=web")?;
        let stays = pods
            .into_iter()
            .map(|pod| pod.metadata)
            .filter(|meta| meta.deletion_timestamp.is_none());
        Ok(stays.filter_map(|meta| meta.name).collect())
    }

    /// Waits until every pod is ready.
    fn ready(&self) -> Result<()> {
        until(LIMIT, "pods of the Shard to be ready", || {
            let pods = self.member.pods(&self.members.name, "app=web")?;
            let ready = pods.iter().filter(|pod| {
                let status = pod.status.as_ref();
                let mut conditions = status
                    .iter()
                    .flat_map(|one| one.conditions.iter().flatten());
                conditions.any(|one| one.type_ == "Ready" && one.status == "True")
            });
            Ok((ready.count() == pods.len() && pods.len() == 4).then_some(()))
        })
    }

    /// Waits until the Shard runs `version` with this partition; `None` = it has none.
    fn written(&self, version: &str, held: Option<u32>) -> Result<()> {
        let what = format!("{version} with {held:?} held");
        until(LIMIT, &what, || {
            let live = self.live()?;
            let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
            let partition = live.pointer("/spec/update/held").cloned();
            let there = *image == format!("bellwether.local/demo:{version}")
                && partition == held.map(Value::from);
            Ok(there.then_some(()))
        })
    }

    /// Fails unless the Shard says what the user wrote, and nothing else.
    fn is_as_written(&self, version: &str) -> Result<()> {
        let live = self.live()?;
        let written = manifest(&self.members.name, version);
        ensure!(
            live["spec"] == written["spec"],
            "not what the user wrote: {}",
            live["spec"]
        );
        Ok(())
    }

    fn wait(&self, what: &str, holds: impl Fn(&TrackSummary) -> bool) -> Result<()> {
        let (members, cluster) = (self.members, self.members.names()[0]);
        members.wait_run(&members.name, 2, LIMIT, what, |view| {
            cluster_view(view, cluster).is_ok_and(|cluster| cluster.tracks.iter().any(&holds))
        })?;
        Ok(())
    }

    /// Waits until step `step` waits for a human with `new` pods new and ready.
    fn waits_at(&self, step: u32, new: u32) -> Result<()> {
        let ready = |pods: u32| ReadyCount {
            ready: pods,
            desired: pods,
        };
        self.wait(&format!("step {step} to wait"), |track| {
            track.step == Some(step)
                && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
                && (track.canary, track.stable) == (ready(new), ready(REPLICAS - new))
        })
    }
}

fn by_adapter(members: &Members) -> Result<()> {
    let name = &members.name;
    let controller = Controller {
        members,
        member: members.cluster(members.names()[0])?,
    };
    controller.introduce()?;
    members.cli.apply(&documents(members, "v1"))?;
    until(LIMIT, "the Shard to be there", || {
        Ok(controller.live().ok())
    })?;
    controller.reconcile()?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;

    members.cli.apply(&documents(members, "v2"))?;
    controller.written("v2", Some(3))?;
    // The controller has seen it, and made no pod yet: nothing is counted but pods.
    let live = controller.live()?;
    controller.report(&json!({"status": {"updateRevision": "web-v2",
        "observedGeneration": live["metadata"]["generation"]}}))?;
    controller.wait("the pod of the batch to be waited for", |track| {
        let mut waits = track.waiting_on.iter();
        waits.any(|wait| wait.message.contains("0 of 1 pods are new"))
    })?;
    controller.reconcile()?;
    controller.waits_at(0, 1)?;
    controller.written("v2", Some(3))?;

    members
        .cli
        .run(&["rollout", "abort", name, "--reason", "enough"])?;
    controller.written("v1", Some(0))?;
    controller.reconcile()?;
    controller.written("v1", None)?;
    controller.reconcile()?;
    members.wait_ended(name, 2, RunPhase::Aborted, LIMIT)?;
    controller.is_as_written("v1")?;

    members.cli.run(&["rollout", "retry", name])?;
    controller.written("v2", Some(3))?;
    controller.reconcile()?;
    controller.waits_at(0, 1)?;
    members.cli.run(&["rollout", "approve", name])?;
    controller.written("v2", Some(0))?;
    controller.reconcile()?;
    controller.waits_at(1, REPLICAS)?;
    members.cli.run(&["rollout", "approve", name])?;
    controller.written("v2", None)?;
    controller.reconcile()?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    controller.is_as_written("v2")
}
