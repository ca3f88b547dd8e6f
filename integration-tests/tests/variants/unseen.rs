//! Workloads that somebody else delivers, in a cluster whose API server does not ask the agent: it sees an
//! update once pods of it are there, or its owner goes back meanwhile.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{
    status::FailureReason,
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, suite::Case, wait::until,
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::stage::{Afterwards, LIMIT, Members};

/// They stop an agent, or let no node take pods for a while.
pub const ALONE: &[Case<Members>] = &[
    (
        "control_plane_foreign_update_that_serves_before_it_is_seen_goes_on_without_its_rollout",
        "unseendeploy",
        deployment_that_serves,
    ),
    (
        "control_plane_foreign_promotion_that_fails_rolls_back_and_then_holds_what_was_written",
        "unseenfails",
        failing_promotion,
    ),
    (
        "control_plane_foreign_sets_whose_pods_change_before_they_are_seen_are_held_or_let_go",
        "unseensets",
        sets_that_change,
    ),
    (
        "control_plane_foreign_set_whose_owner_goes_back_keeps_the_pods_that_would_come_again",
        "unseenback",
        owner_who_goes_back,
    ),
];

/// The field manager of whoever delivers the objects.
const APPLIER: &str = "kustomize-controller";
const HELD: &str = "/metadata/annotations/bellwether.dev~1held-by";
const BY_HAND: &str = "{canary: {steps: [{weight: 50}]}}";
const IN_BATCHES: &str = "{batch: {steps: [{replicas: 1}, {replicas: 100%}]}}";

/// One workload of somebody else's, named after its kind.
struct Foreign<'a> {
    members: &'a Members,
    cluster: &'a str,
    member: &'a Member,
    kind: &'static str,
}

/// A pod: its uid, its version, and whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    version: String,
    ready: bool,
}

impl<'a> Foreign<'a> {
    /// Has somebody else install a first version, and a Rollout govern it.
    fn adopt(
        members: &'a Members,
        kind: &'static str,
        strategy: &str,
        pods: usize,
    ) -> Result<Self> {
        let cluster = members.names()[0];
        let foreign = Self {
            members,
            cluster,
            member: members.cluster(cluster)?,
            kind,
        };
        foreign.apply(&foreign.manifest("v1"))?;
        foreign.stands("v1", pods)?;
        foreign.govern(strategy)?;
        Ok(foreign)
    }

    fn name(&self) -> String {
        self.kind.to_lowercase()
    }

    fn rollout(&self) -> String {
        format!("{}-{}", self.members.name, self.name())
    }

    /// As its owner writes it.
    fn manifest(&self, version: &str) -> Value {
        let labels = json!({"app": self.name()});
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": self.kind,
            "metadata": {"name": self.name(), "namespace": self.members.name, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers":
                        [{"name": "web", "image": format!("bellwether.local/demo:{version}")}]},
                },
            },
        });
        let spec = &mut object["spec"];
        match self.kind {
            "Deployment" => {
                spec["replicas"] = json!(3);
                spec["strategy"] = json!({"type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
            }
            "StatefulSet" => {
                spec["replicas"] = json!(2);
                spec["serviceName"] = json!("web");
                spec["updateStrategy"] =
                    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
            }
            _ => {
                spec["updateStrategy"] = json!({"type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
            }
        }
        object
    }

    /// A version that no node takes.
    fn stuck(&self, version: &str) -> Value {
        let mut object = self.manifest(version);
        object["spec"]["template"]["spec"]["schedulerName"] = json!("nobody");
        object
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.member.apply(APPLIER, object)
    }

    fn govern(&self, strategy: &str) -> Result<()> {
        let (rollout, namespace) = (self.rollout(), &self.members.name);
        let (cluster, kind, name) = (self.cluster, self.kind, self.name());
        self.members.cli.apply(&format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
             metadata: {{name: {rollout}, namespace: default}}\nspec:\n  \
             destination: {{clusters: [{cluster}]}}\n  workload: {{apiVersion: apps/v1, \
             kind: {kind}, namespace: {namespace}, name: {name}}}\n  strategy: {strategy}\n  \
             progressDeadline: 25s\n  analysis: {{interval: 1s}}\n"
        ))?;
        self.in_state(RunPhase::Succeeded)?;
        Ok(())
    }

    fn in_state(&self, state: RunPhase) -> Result<RunView> {
        let what = format!("{} to be {state:?}", self.rollout());
        self.members
            .wait_run(&self.rollout(), 0, LIMIT, &what, |view| view.state == state)
    }

    /// Does something while the agent is away.
    fn unseen(&self, done: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut agents = self.members.agents.lock().expect("no panic while held");
        let agent = agents
            .iter_mut()
            .find(|agent| agent.cluster == self.cluster)
            .context("its agent")?;
        agent.stop()?;
        let done = done();
        agent.start()?;
        drop(agents);
        done
    }

    fn live(&self) -> Result<Value> {
        let found = self.members.read(self.cluster, self.kind, &self.name())?;
        found.with_context(|| format!("the {}", self.kind))
    }

    /// Its pods by their names, without those that stop and those of a copy.
    fn pods(&self) -> Result<Vec<(String, Seen)>> {
        let selector = format!("app={},!bellwether.dev/run", self.name());
        let pods = self.member.pods(&self.members.name, &selector)?;
        let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        let mut seen: Vec<(String, Seen)> = pods.iter().filter(stays).filter_map(seen).collect();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(seen)
    }

    /// Waits until its pods are as is said.
    fn until_pods(&self, what: &str, holds: impl Fn(&[Seen]) -> bool) -> Result<()> {
        let mut last = Vec::new();
        until(LIMIT, what, || {
            last = self.pods()?;
            let pods: Vec<Seen> = last.iter().map(|(_, pod)| pod.clone()).collect();
            Ok(holds(&pods).then_some(()))
        })
        .with_context(|| format!("its pods are {last:?}"))
    }

    /// Waits until all of so many pods are of a version and ready.
    fn stands(&self, version: &str, count: usize) -> Result<()> {
        self.until_pods(&format!("{count} pods of {version}"), |pods| {
            let stands = |pod: &Seen| pod.ready && pod.version == version;
            pods.len() == count && pods.iter().all(stands)
        })
    }

    /// Waits until an event tells that the update goes on without the Rollout.
    fn is_bypassed(&self) -> Result<()> {
        until(LIMIT, "the update to be let go", || {
            Ok(self.events()?.contains("Bypassed").then_some(()))
        })
    }

    fn events(&self) -> Result<String> {
        let name = format!("rollout/{}", self.rollout());
        self.members.cli.run(&["events", &name])
    }

    /// Waits until its owner's version is held.
    fn is_held(&self, version: &str) -> Result<()> {
        until(LIMIT, &format!("{version} to be held"), || {
            let live = self.live()?;
            let held = live.pointer(HELD) == Some(&json!(self.rollout()));
            Ok((held && live.to_string().contains(&format!("demo:{version}"))).then_some(()))
        })
    }

    /// Waits until nothing of ours is on it, and fails unless it is what its owner wrote.
    fn is_as_written(&self, written: &Value) -> Result<()> {
        let live = until(LIMIT, "it to be its owner's alone", || {
            let live = self.live()?;
            let ours = live["metadata"]["managedFields"].to_string();
            let free = live.pointer(HELD).is_none() && !ours.contains("bellwether");
            Ok(free.then_some(live))
        })?;
        if self.kind != "DaemonSet" {
            return self
                .members
                .assert_equals_fresh(self.member, written, &live);
        }
        // The API server counts on it how often its template changed.
        for at in [
            "/spec/updateStrategy",
            "/spec/template/metadata/labels",
            "/spec/template/spec/containers/0/image",
        ] {
            let (is, was) = (live.pointer(at), written.pointer(at));
            ensure!(is == was, "{at} is {is:?}");
        }
        Ok(())
    }

    fn release(&self) -> Result<()> {
        let rollout = self.rollout();
        self.members
            .cli
            .run(&["delete", "rollout", &rollout, "-y"])?;
        Ok(())
    }
}

fn seen(pod: &Pod) -> Option<(String, Seen)> {
    let image = pod.spec.as_ref()?.containers.first()?.image.clone()?;
    let conditions = pod.status.as_ref().and_then(|one| one.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let seen = Seen {
        uid: pod.metadata.uid.clone()?,
        version: image.rsplit(':').next()?.to_owned(),
        ready: conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
    };
    Some((pod.metadata.name.clone()?, seen))
}

/// Whether nodes take pods that come.
fn takes_pods(member: &Member, takes: bool) -> Result<()> {
    for node in member.list_cluster("v1", "Node")? {
        let name = node["metadata"]["name"].as_str().context("a name")?;
        let patch = json!({"spec": {"unschedulable": !takes}});
        member.patch_cluster("v1", "Node", name, &patch)?;
    }
    Ok(())
}

fn deployment_that_serves(members: &Members) -> Result<()> {
    let foreign = Foreign::adopt(members, "Deployment", BY_HAND, 3)?;
    // Its first pod is ready, and the others do not follow.
    let mut slow = foreign.manifest("v2");
    slow["spec"]["minReadySeconds"] = json!(3_600);
    slow["spec"]["progressDeadlineSeconds"] = json!(7_200);
    foreign.unseen(|| {
        foreign.apply(&slow)?;
        foreign.until_pods("a pod of v2 to serve", |pods| {
            let serves = |pod: &&Seen| pod.ready && pod.version == "v2";
            pods.len() == 4 && pods.iter().filter(serves).count() == 1
        })
    })?;
    foreign.is_bypassed()?;
    let live = foreign.live()?;
    ensure!(
        live.pointer(HELD).is_none() && live["spec"]["paused"].is_null(),
        "it is held: {live}"
    );
    let fast = foreign.manifest("v2");
    foreign.apply(&fast)?;
    foreign.stands("v2", 3)?;
    foreign.is_as_written(&fast)?;
    foreign.release()
}

/// Pods of the canary start, and those of the workload itself do not.
fn failing_promotion(members: &Members) -> Result<()> {
    let foreign = Foreign::adopt(members, "Deployment", BY_HAND, 3)?;
    let first = foreign.pods()?;
    let member = foreign.member;
    let _nodes = Afterwards::of(|| takes_pods(member, true));
    // No pod of it is ready before it is seen.
    takes_pods(member, false)?;
    foreign.apply(&foreign.manifest("v2"))?;
    foreign.is_held("v2")?;
    takes_pods(member, true)?;
    foreign.in_state(RunPhase::WaitingApproval)?;
    takes_pods(member, false)?;
    members
        .cli
        .run(&["rollout", "approve", &foreign.rollout()])?;
    foreign.until_pods("a pod of v2 to come", |pods| {
        pods.iter().any(|pod| pod.version == "v2")
    })?;
    let view = foreign.in_state(RunPhase::Failed)?;
    let track = cluster_view(&view, foreign.cluster)?.tracks.first();
    let failure = track.and_then(|track| track.failure);
    ensure!(
        failure == Some(FailureReason::DeadlineExceeded),
        "{failure:?}"
    );
    takes_pods(member, true)?;
    foreign.is_held("v2")?;
    let live = foreign.live()?;
    ensure!(live["spec"]["paused"] == json!(true), "{live}");
    let left = foreign.pods()?;
    ensure!(left == first, "{first:?} became {left:?}");
    let back = foreign.manifest("v1");
    foreign.apply(&back)?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.is_as_written(&back)?;
    foreign.release()
}

/// Of a StatefulSet the pod that does not start goes, and comes of the version before; of a DaemonSet none can.
fn sets_that_change(members: &Members) -> Result<()> {
    let set = Foreign::adopt(members, "StatefulSet", IN_BATCHES, 2)?;
    let nodes = set.member.list_cluster("v1", "Node")?.len();
    let by_node = Foreign::adopt(members, "DaemonSet", IN_BATCHES, nodes)?;
    set.unseen(|| {
        for foreign in [&set, &by_node] {
            foreign.apply(&foreign.stuck("v2"))?;
            foreign.until_pods("a pod of v2 that does not start", |pods| {
                pods.iter().any(|pod| pod.version == "v2" && !pod.ready)
            })?;
        }
        Ok(())
    })?;
    by_node.is_bypassed()?;
    set.is_held("v2")?;
    set.until_pods("the new pod to be gone or granted", |pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod.version == "v1" && pod.ready)
    })?;
    let events = set.events()?;
    ensure!(!events.contains("Bypassed"), "{events}");
    let live = by_node.live()?;
    ensure!(live.pointer(HELD).is_none(), "it is held: {live}");
    for foreign in [&set, &by_node] {
        let back = foreign.manifest("v1");
        foreign.apply(&back)?;
        foreign.stands(
            "v1",
            if foreign.kind == "DaemonSet" {
                nodes
            } else {
                2
            },
        )?;
        foreign.is_as_written(&back)?;
        foreign.release()?;
    }
    Ok(())
}

/// Its second pod runs what its owner tries by a partition of their own; its first one is lost, and comes of
/// the version that was complete before, not ready.
fn owner_who_goes_back(members: &Members) -> Result<()> {
    let foreign = Foreign::adopt(members, "StatefulSet", IN_BATCHES, 2)?;
    let member = foreign.member;
    let _nodes = Afterwards::of(|| takes_pods(member, true));
    let mut tried = foreign.manifest("v2");
    tried["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(1);
    foreign.apply(&tried)?;
    let of = |pods: &[Seen], ready: bool| {
        let [first, second] = pods else { return false };
        (&*first.version, first.ready) == ("v1", ready)
            && (&*second.version, second.ready) == ("v2", true)
    };
    foreign.until_pods("the second pod to be new", |pods| of(pods, true))?;
    takes_pods(member, false)?;
    member.delete("v1", "Pod", &members.name, &format!("{}-0", foreign.name()))?;
    foreign.until_pods("the first pod to come again", |pods| of(pods, false))?;
    let lost = foreign.pods()?;
    let back = foreign.manifest("v1");
    foreign.apply(&back)?;
    foreign.is_bypassed()?;
    ensure!(foreign.pods()?[0] == lost[0], "the first pod was taken");
    takes_pods(member, true)?;
    foreign.stands("v1", 2)?;
    ensure!(
        foreign.pods()?[0].1.uid == lost[0].1.uid,
        "the first pod was taken"
    );
    foreign.is_as_written(&back)?;
    foreign.release()
}
