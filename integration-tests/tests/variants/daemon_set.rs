//! A DaemonSet over the nodes of a control-plane cluster, updated by evictions.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::{Phase, ReadyCount},
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{cluster::Member, fixture::cluster_view, suite::Case};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

/// It stops an agent.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_daemon_set_is_updated_node_by_node",
    "daemonset",
    node_by_node,
)];

const NODES: u32 = 3;

fn manifest(namespace: &str, version: &str) -> Value {
    let labels = json!({"app": "log"});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "log", "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers":
                    [{"name": "log", "image": format!("bellwether.local/demo:{version}")}]},
            },
        },
    })
}

/// A budget of somebody else's: a release that delivered it would take every change of it back.
fn budget(namespace: &str, min_available: u32) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "log", "namespace": namespace},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": "log"}}},
    })
}

fn documents(members: &Members, version: &str) -> String {
    let name = &members.name;
    format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n  \
         destination: {{clusters: [{cluster}]}}\n  targetNamespace: {name}\n  \
         sync: {{drift: \"Off\"}}\n  components:\n  \
         - name: log\n    manifests:\n    - {manifest}\n\
         ---\napiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
         metadata: {{name: {name}-log, namespace: default}}\nspec:\n  application: {name}\n  \
         workload: {{apiVersion: apps/v1, kind: DaemonSet, namespace: {name}, name: log}}\n  \
         strategy: {{batch: {{steps: [{{replicas: 1}}, {{replicas: 50%}}, {{replicas: 100%}}]}}}}\n  \
         analysis: {{interval: 1s}}\n  progressDeadline: 120s\n",
        cluster = members.names()[0],
        manifest = manifest(name, version),
    )
}

/// By node, the image's tag and the UID of its pod; pods that stop are left out.
type Pods = BTreeMap<String, (String, String)>;

fn pods(members: &Members, member: &Member) -> Result<Pods> {
    let mut found = Pods::new();
    for pod in member.pods(&members.name, "app=log")? {
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let spec = pod.spec.context("a spec")?;
        let image = spec.containers.first().and_then(|one| one.image.clone());
        let image = image.context("an image")?;
        let tag = image.rsplit(':').next().unwrap_or_default().to_owned();
        let uid = pod.metadata.uid.context("a UID")?;
        found.insert(spec.node_name.unwrap_or_default(), (tag, uid));
    }
    Ok(found)
}

/// Fails unless exactly `new` pods are of `tag`, and all others are those that stood there before.
fn changed(now: &Pods, before: &Pods, new: usize, tag: &str) -> Result<()> {
    ensure!(now.len() == before.len(), "nodes without a pod: {now:?}");
    let others: Vec<_> = now
        .iter()
        .filter(|(_, (version, _))| version != tag)
        .collect();
    ensure!(
        now.len() - others.len() == new,
        "not {new} of {tag}: {now:?}"
    );
    for (node, pod) in others {
        ensure!(before.get(node) == Some(pod), "{node} was touched: {pod:?}");
    }
    Ok(())
}

fn wait(
    members: &Members,
    revision: u64,
    what: &str,
    holds: impl Fn(&RunView) -> bool,
) -> Result<()> {
    members.wait_run(&members.name, revision, LIMIT, what, holds)?;
    Ok(())
}

/// Waits until step `step` waits for a human with `new` pods new and ready.
fn waits_at(members: &Members, revision: u64, step: u32, new: u32) -> Result<()> {
    let ready = |pods: u32| ReadyCount {
        ready: pods,
        desired: pods,
    };
    let cluster = members.names()[0];
    let what = format!("step {step} to wait with {new} nodes new");
    wait(members, revision, &what, |view| {
        cluster_view(view, cluster).is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                track.step == Some(step)
                    && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
                    && (track.canary, track.stable) == (ready(new), ready(NODES - new))
            })
        })
    })
}

fn is_as_written(members: &Members, member: &Member, version: &str) -> Result<()> {
    let written = manifest(&members.name, version);
    let live = member
        .get("apps/v1", "DaemonSet", &members.name, "log")?
        .context("the DaemonSet")?;
    for at in [
        "/metadata/labels",
        "/spec/selector",
        "/spec/updateStrategy",
        "/spec/template/metadata/labels",
        "/spec/template/spec/containers/0/image",
    ] {
        ensure!(
            live.pointer(at) == written.pointer(at),
            "{at} is {:?}",
            live.pointer(at)
        );
    }
    Ok(())
}

fn node_by_node(members: &Members) -> Result<()> {
    let name = &members.name;
    let cluster = members.names()[0];
    let member = members.cluster(cluster)?;
    member.create(&budget(name, 2))?;
    members.cli.apply(&documents(members, "v1"))?;
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    let before = pods(members, member)?;
    ensure!(
        before.len() == 3,
        "a pod on each of three nodes: {before:?}"
    );

    members.cli.apply(&documents(members, "v2"))?;
    waits_at(members, 2, 0, 1)?;
    changed(&pods(members, member)?, &before, 1, "v2")?;
    members.cli.run(&["rollout", "approve", name])?;
    waits_at(members, 2, 1, 2)?;
    changed(&pods(members, member)?, &before, 2, "v2")?;
    members
        .cli
        .run(&["rollout", "abort", name, "--reason", "enough"])?;
    members.wait_ended(name, 2, RunPhase::Aborted, LIMIT)?;
    let back = pods(members, member)?;
    ensure!(back.values().all(|(tag, _)| tag == "v1"), "{back:?}");
    let kept = back
        .iter()
        .filter(|(node, pod)| before.get(*node) == Some(*pod));
    ensure!(kept.count() == 1, "the old pod was touched: {back:?}");
    is_as_written(members, member, "v1")?;
    finish_beside_a_budget(members, member, &back)
}

/// A budget without room holds the run, which says so, and no pod goes; with room it goes on, whichever
/// process of the agent looks after it.
fn finish_beside_a_budget(members: &Members, member: &Member, before: &Pods) -> Result<()> {
    let (name, cluster) = (&members.name, members.names()[0]);
    let room = |min_available: u32| {
        let change = json!({"spec": {"minAvailable": min_available}});
        member.patch("policy/v1", "PodDisruptionBudget", name, "log", &change)
    };
    room(3)?;
    members.cli.apply(&documents(members, "v4"))?;
    wait(members, 3, "the budget to hold the run", |view| {
        cluster_view(view, cluster).is_ok_and(|cluster| {
            let waits = cluster.tracks.iter().flat_map(|track| &track.waiting_on);
            waits
                .into_iter()
                .any(|wait| wait.message.contains("disruption budget"))
        })
    })?;
    changed(&pods(members, member)?, before, 0, "v4")?;
    let mut agents = members.agents.lock().expect("no panic while held");
    let agent = agents
        .iter_mut()
        .find(|agent| agent.cluster == cluster)
        .context("its agent")?;
    agent.stop()?;
    room(2)?;
    agent.start()?;
    drop(agents);
    members.wait_ready(cluster)?;
    for (step, new) in [(0, 1), (1, 2), (2, 3)] {
        waits_at(members, 3, step, new)?;
        let new = usize::try_from(new)?;
        changed(&pods(members, member)?, before, new, "v4")?;
        members.cli.run(&["rollout", "approve", name])?;
    }
    members.wait_ended(name, 3, RunPhase::Succeeded, LIMIT)?;
    is_as_written(members, member, "v4")
}
