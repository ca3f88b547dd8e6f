//! A CloneSet, updated in place. The cluster has its definition, written from documentation, and no
//! controller: the test plays it.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::{Phase, ReadyCount},
    view::{ClusterPhase, RunPhase, RunView},
};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, suite::Case, wait::until,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const CASES: &[Case<Members>] = &[(
    "control_plane_clone_set_is_updated_by_its_partition",
    "cloneset",
    by_partition,
)];

const GROUP: &str = "apps.kruise.io";
const API_VERSION: &str = "apps.kruise.io/v1alpha1";
const REPLICAS: u32 = 10;

fn manifest(namespace: &str, version: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": API_VERSION, "kind": "CloneSet",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": "20%"},
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
         workload: {{apiVersion: {API_VERSION}, kind: CloneSet, namespace: {name}, name: web}}\n  \
         strategy: {{batch: {{steps: [{{replicas: 4}}, {{replicas: 100%}}]}}}}\n  \
         analysis: {{interval: 1s}}\n  progressDeadline: 60s\n",
        cluster = members.names()[0],
        manifest = manifest(name, version),
    )
}

/// Lets the agent manage CloneSets, as `--kinds CloneSet` would.
fn introduce(members: &Members, member: &Member) -> Result<()> {
    members.allow(member, &[(GROUP.to_owned(), "clonesets".to_owned())])?;
    until(LIMIT, "CloneSets to be served", || {
        Ok(member.list(API_VERSION, "CloneSet", &members.name).ok())
    })?;
    Ok(())
}

/// What the controller reports: of the pods that are of the template's version, so many are ready.
fn play(members: &Members, member: &Member, updated: u32, ready: u32) -> Result<()> {
    let live = live(members, member)?;
    let image = live["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .context("an image")?;
    let available = REPLICAS - (updated - ready);
    let status = json!({"status": {
        "observedGeneration": live["metadata"]["generation"], "replicas": REPLICAS,
        "readyReplicas": available, "availableReplicas": available, "updatedReplicas": updated,
        "updatedReadyReplicas": ready, "updatedAvailableReplicas": ready,
        "updateRevision": format!("web-{}", image.rsplit(':').next().unwrap_or_default()),
    }});
    member.patch_status(API_VERSION, "CloneSet", &members.name, "web", &status)
}

fn live(members: &Members, member: &Member) -> Result<Value> {
    let found = member.get(API_VERSION, "CloneSet", &members.name, "web")?;
    found.context("the CloneSet")
}

/// Waits until the CloneSet runs `version` with this partition; `None` = it has none.
fn written(
    members: &Members,
    member: &Member,
    version: &str,
    partition: Option<u32>,
) -> Result<()> {
    let what = format!("{version} with partition {partition:?}");
    until(LIMIT, &what, || {
        let live = live(members, member)?;
        let held = live.pointer("/spec/updateStrategy/partition").cloned();
        let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
        let there = *image == format!("bellwether.local/demo:{version}")
            && held == partition.map(Value::from);
        Ok(there.then_some(()))
    })
}

fn wait(members: &Members, what: &str, holds: impl Fn(&RunView) -> bool) -> Result<()> {
    members.wait_run(&members.name, 2, LIMIT, what, holds)?;
    Ok(())
}

/// Waits until step `step` waits for a human with `new` pods new and ready.
fn waits_at(members: &Members, step: u32, new: u32) -> Result<()> {
    let ready = |pods: u32| ReadyCount {
        ready: pods,
        desired: pods,
    };
    let cluster = members.names()[0];
    wait(members, &format!("step {step} to wait"), |view| {
        cluster_view(view, cluster).is_ok_and(|cluster| {
            cluster.state == ClusterPhase::WaitingApproval
                && cluster.tracks.iter().any(|track| {
                    track.step == Some(step)
                        && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
                        && (track.canary, track.stable) == (ready(new), ready(REPLICAS - new))
                })
        })
    })
}

fn by_partition(members: &Members) -> Result<()> {
    let name = &members.name;
    let cluster = members.names()[0];
    let member = members.cluster(cluster)?;
    introduce(members, member)?;
    members.cli.apply(&documents(members, "v1"))?;
    until(LIMIT, "the CloneSet to be there", || {
        member.get(API_VERSION, "CloneSet", name, "web")
    })?;
    play(members, member, REPLICAS, REPLICAS)?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;

    members.cli.apply(&documents(members, "v2"))?;
    written(members, member, "v2", Some(6))?;
    play(members, member, 4, 3)?;
    wait(
        members,
        "the last pod of the batch to be waited for",
        |view| {
            cluster_view(view, cluster).is_ok_and(|cluster| {
                let waits = cluster.tracks.iter().flat_map(|track| &track.waiting_on);
                waits.into_iter().any(|wait| wait.reason == "PodsNotReady")
            })
        },
    )?;
    play(members, member, 4, 4)?;
    waits_at(members, 0, 4)?;
    written(members, member, "v2", Some(6))?;

    members
        .cli
        .run(&["rollout", "abort", name, "--reason", "enough"])?;
    written(members, member, "v1", Some(0))?;
    play(members, member, REPLICAS, REPLICAS)?;
    written(members, member, "v1", None)?;
    play(members, member, REPLICAS, REPLICAS)?;
    members.wait_ended(name, 2, RunPhase::Aborted, LIMIT)?;
    ensure!(live(members, member)?["spec"] == manifest(name, "v1")["spec"]);

    members.cli.run(&["rollout", "retry", name])?;
    written(members, member, "v2", Some(6))?;
    play(members, member, 4, 4)?;
    waits_at(members, 0, 4)?;
    members.cli.run(&["rollout", "approve", name])?;
    written(members, member, "v2", Some(0))?;
    play(members, member, REPLICAS, REPLICAS)?;
    waits_at(members, 1, REPLICAS)?;
    members.cli.run(&["rollout", "approve", name])?;
    written(members, member, "v2", None)?;
    play(members, member, REPLICAS, REPLICAS)?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    let live = live(members, member)?;
    ensure!(
        live["spec"] == manifest(name, "v2")["spec"],
        "not what the user wrote: {}",
        live["spec"]
    );
    Ok(())
}
