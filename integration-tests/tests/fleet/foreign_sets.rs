//! Updates in place of a workload that somebody else delivers: a StatefulSet whose pods are held in the
//! write that changes it, and change some at a time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    status::{FailureReason, Phase, ReadyCount},
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    cluster::Member, fixture::cluster_view, traffic::Traffic, wait::until,
};
use serde_json::{Value, json};

use crate::{
    Case,
    batch_traffic::has_share,
    batches::{only_from, pods},
    foreign::{APPLIER, HELD, image, image_of},
    scene::{RUN_LIMIT, Scene},
};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "foreign_stateful_set_is_held_and_updated_in_batches",
    "foreignset",
    held_and_updated,
)];

const LIMIT: Duration = Duration::from_secs(60);
const REPLICAS: u32 = 3;

/// A StatefulSet of somebody else's in c1, and the Rollout that governs it.
struct ForeignSet<'a> {
    scene: &'a Scene,
    member: Member,
}

impl ForeignSet<'_> {
    /// As its owner writes it, with a word of their own about the field that holds its pods.
    fn manifest(&self, version: &str) -> Value {
        let labels = json!({"app": "web"});
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": self.scene.name, "labels": labels},
            "spec": {
                "replicas": REPLICAS,
                "serviceName": "web",
                "selector": {"matchLabels": labels},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 10, "containers": [{
                        "name": "web",
                        "image": image_of(version),
                        "imagePullPolicy": "Never",
                        "ports": [{"name": "http", "containerPort": 8080}],
                        // A pod that goes answers until the gateway has forgotten it.
                        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                        "readinessProbe":
                            {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5},
                    }]},
                },
            },
        })
    }

    fn apply(&self, version: &str) -> Result<()> {
        self.member.apply(APPLIER, &self.manifest(version))
    }

    /// The Service and the route by which requests come to it.
    fn traffic(&self) -> Vec<Value> {
        let mut objects = self.scene.small_shop().manifests();
        objects.retain(|object| object["kind"] != "Deployment");
        objects
    }

    /// What of the user's Service and route a run has written: a pin, and a split.
    fn laid(&self) -> Result<[bool; 2]> {
        let read = |kind: &str| -> Result<Value> {
            let found = self.scene.object(&self.member, kind, "web")?;
            found.with_context(|| format!("the {kind}"))
        };
        let pin = read("Service")?["spec"]["selector"]["controller-revision-hash"].clone();
        let split = read("HTTPRoute")?["spec"]["rules"].to_string();
        Ok([!pin.is_null(), split.contains("web-canary")])
    }

    fn live(&self) -> Result<Value> {
        let found = self.scene.object(&self.member, "StatefulSet", "web")?;
        found.context("the StatefulSet")
    }

    fn rollout(&self) -> String {
        format!("{}-web", self.scene.name)
    }

    fn govern(&self) -> Result<()> {
        let (name, namespace) = (self.rollout(), &self.scene.name);
        self.scene.cli.apply(&format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
             metadata: {{name: {name}, namespace: default}}\nspec:\n  \
             destination: {{clusters: [c1]}}\n  \
             workload: {{apiVersion: apps/v1, kind: StatefulSet, namespace: {namespace}, name: web}}\n  \
             service: {{name: web, port: 80}}\n  traffic: [{{gatewayApi: {{httpRoutes: [web]}}}}]\n  \
             strategy: {{batch: {{steps: [{{replicas: 1, weight: 50}}, {{replicas: 100%, advance: Auto}}]}}}}\n  \
             progressDeadline: 15s\n  drain: 1s\n  analysis: {{interval: 1s}}\n"
        ))?;
        self.wait("it to be governed", |view| {
            view.state == RunPhase::Succeeded
        })?;
        Ok(())
    }

    fn wait(&self, what: &str, holds: impl Fn(&RunView) -> bool) -> Result<RunView> {
        let name = self.rollout();
        self.scene.wait_run(&name, 0, RUN_LIMIT, what, holds)
    }

    fn partition(live: &Value) -> &Value {
        &live["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
    }

    /// Waits until the API server asks the agent about the workload.
    fn is_asked(&self) -> Result<()> {
        let mut containers = self.live()?["spec"]["template"]["spec"]["containers"].take();
        containers[0]["image"] = json!(image_of("never"));
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        until(LIMIT, "the API server to ask", || {
            let (member, namespace) = (&self.member, &self.scene.name);
            let made = member.patch_dry("apps/v1", "StatefulSet", namespace, "web", &patch)?;
            Ok((*Self::partition(&made) == json!(i32::MAX)).then_some(()))
        })
    }

    fn stands(&self, version: &str) -> Result<()> {
        until(RUN_LIMIT, &format!("{REPLICAS} pods of {version}"), || {
            let live = self.live()?;
            let all = ["replicas", "readyReplicas", "updatedReplicas"]
                .iter()
                .all(|field| live["status"][field] == json!(REPLICAS));
            let observed = live["status"]["observedGeneration"] == live["metadata"]["generation"];
            Ok((all && observed && image(&live) == image_of(version)).then_some(()))
        })
    }

    /// Waits until it is its owner's alone, as they wrote it.
    fn is_as_written(&self, version: &str) -> Result<()> {
        until(LIMIT, "it to be its owner's alone", || {
            let live = self.live()?;
            let ours = live["metadata"]["managedFields"].to_string();
            let free = live["metadata"]["annotations"][HELD].is_null();
            Ok((free && !ours.contains("bellwether")).then_some(()))
        })?;
        ensure!(self.laid()? == [false, false], "a pin or a split was left");
        let mut written = self.traffic();
        written.push(self.manifest(version));
        for object in &written {
            let kind = object["kind"].as_str().context("a kind")?;
            let live = self.scene.object(&self.member, kind, "web")?;
            let live = live.with_context(|| format!("the {kind}"))?;
            self.scene
                .assert_equals_fresh(&self.member, object, &live)?;
        }
        Ok(())
    }
}

fn held_and_updated(scene: &Scene) -> Result<()> {
    let set = ForeignSet {
        scene,
        member: scene.member(0)?,
    };
    for object in set.traffic() {
        set.member.apply(APPLIER, &object)?;
    }
    set.apply("v1")?;
    set.stands("v1")?;
    set.govern()?;
    set.is_asked()?;
    let first = pods(scene, &set.member)?;
    let traffic = scene.traffic(&["c1"])?;
    set.apply("v2")?;
    // In the same write: nobody had the time to hold it afterwards.
    let live = set.live()?;
    ensure!(
        live["metadata"]["annotations"][HELD] == json!(set.rollout())
            && image(&live) == image_of("v2"),
        "it is not held: {live}"
    );
    let ready = |pods: u32| ReadyCount {
        ready: pods,
        desired: pods,
    };
    set.wait("one new pod to wait for a human", |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            let mut tracks = cluster.tracks.iter();
            tracks.any(|track| track.phase == Phase::Paused && track.canary == ready(1))
        })
    })?;
    only_from(&pods(scene, &set.member)?, &first, 2, "v2")?;
    ensure!(
        set.laid()? == [true, true],
        "both versions have requests of their own"
    );
    has_share(&traffic, 50.0, 5.0)?;
    // Whoever applies the same again changes nothing, whatever it says of the field.
    set.apply("v2")?;
    let live = set.live()?;
    ensure!(*ForeignSet::partition(&live) == json!(2), "let go: {live}");
    scene.cli.run(&["rollout", "approve", &set.rollout()])?;
    set.wait("the update to be in", |view| {
        view.state == RunPhase::Succeeded
    })?;
    only_from(&pods(scene, &set.member)?, &first, 0, "v2")?;
    set.is_as_written("v2")?;
    goes_back(&set, traffic)
}

/// A version that does not run: its pods go, and it stays held beside those of the version before.
fn goes_back(set: &ForeignSet<'_>, traffic: Traffic) -> Result<()> {
    let scene = set.scene;
    let second = pods(scene, &set.member)?;
    set.apply("does-not-exist")?;
    let view = set.wait("the run to fail", |view| view.state == RunPhase::Failed)?;
    let tracks = &cluster_view(&view, "c1")?.tracks;
    let track = tracks.first().context("a track")?;
    ensure!(
        track.failure == Some(FailureReason::DeadlineExceeded)
            && track.message.contains("ErrImageNeverPull"),
        "{:?}: {}",
        track.failure,
        track.message
    );
    only_from(&pods(scene, &set.member)?, &second, 2, "v2")?;
    let live = set.live()?;
    ensure!(
        image(&live) == image_of("does-not-exist")
            && *ForeignSet::partition(&live) == json!(i32::MAX),
        "it is not held: {live}"
    );
    // A pod that is lost comes back of the version before.
    let third = pods(scene, &set.member)?;
    set.member.delete("v1", "Pod", &scene.name, "web-0")?;
    until(LIMIT, "the pod to be back", || {
        let now = pods(scene, &set.member)?;
        let back = now
            .get("web-0")
            .filter(|pod| Some(*pod) != third.get("web-0"));
        Ok(back.filter(|pod| pod.0 == "v2").map(|_| ()))
    })?;
    let rollout = set.rollout();
    scene.cli.run(&["delete", "rollout", &rollout, "-y"])?;
    set.is_as_written("v2")?;
    traffic.none_lost("v2")?;
    for (kind, api_version) in [
        ("HTTPRoute", "gateway.networking.k8s.io/v1"),
        ("Service", "v1"),
        ("StatefulSet", "apps/v1"),
    ] {
        set.member.delete(api_version, kind, &scene.name, "web")?;
    }
    Ok(())
}
