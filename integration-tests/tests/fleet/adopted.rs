//! Workloads that somebody else delivers: a GitOps applier, or a human.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use bellwether_api::{
    status::Phase,
    view::{RunPhase, RunView},
};
use bellwether_integration_tests::{
    cluster::Member,
    fixture::cluster_view,
    manifests::Shop,
    traffic::tally,
    wait::until,
    weights::{RunWatch, spans_in_force, weights_in_order},
};
use serde_json::{Value, json};

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene, api_version},
};

pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_di9_foreign_applier_changes_nothing_in_its_rollout",
    "foreigndi",
    foreign_applier,
)];

pub const CASES: &[Case] = &[
    (
        "sc_r5_foreign_workload_is_untouched_at_rest",
        "foreignrest",
        untouched_at_rest,
    ),
    (
        "sc_r4_foreign_change_mid_run_restarts_with_the_newest",
        "foreignnew",
        newest_change,
    ),
    (
        "foreign_update_that_is_aborted_stays_held_until_it_is_changed",
        "foreignabort",
        aborted,
    ),
    (
        "foreign_update_is_caught_before_a_pod_of_it_serves",
        "foreigncatch",
        caught,
    ),
    (
        "foreign_rollout_deleted_mid_run_lets_the_workload_go",
        "foreigngone",
        deleted,
    ),
];

/// The field manager of whoever delivers the objects.
const APPLIER: &str = "kustomize-controller";
const HELD: &str = "bellwether.dev/held-by";

fn rollout_name(scene: &Scene) -> String {
    format!("{}-web", scene.name)
}

fn apply(member: &Member, shop: &Shop) -> Result<()> {
    shop.manifests()
        .iter()
        .try_for_each(|object| member.apply(APPLIER, object))
}

/// The demo application's Rollout, with cluster `c1` as its destination.
fn rollout(shop: &Shop) -> String {
    shop.rollout().replace(
        &format!("  application: {}\n", shop.name),
        "  destination: {clusters: [c1]}\n",
    )
}

/// Has somebody else install a first version, and a Rollout govern it.
fn adopt(scene: &Scene, shop: &Shop) -> Result<Member> {
    let member = scene.member(0)?;
    apply(&member, shop)?;
    stands(scene, &member, "v1", shop.replicas)?;
    scene.cli.apply(&rollout(shop))?;
    in_state(scene, RunPhase::Succeeded)?;
    Ok(member)
}

/// Takes everything away again.
fn part(scene: &Scene, member: &Member) -> Result<()> {
    scene
        .cli
        .run(&["delete", "rollout", &rollout_name(scene), "-y"])?;
    for (kind, name) in [
        ("HTTPRoute", "web"),
        ("Service", "web"),
        ("Deployment", "web"),
    ] {
        member.delete(api_version(kind), kind, &scene.name, name)?;
    }
    Ok(())
}

fn deployment(scene: &Scene, member: &Member) -> Result<Value> {
    scene
        .object(member, "Deployment", "web")?
        .context("the Deployment is there")
}

/// Waits until the Deployment has `replicas` pods of a version and no other.
fn stands(scene: &Scene, member: &Member, version: &str, replicas: u32) -> Result<()> {
    until(RUN_LIMIT, &format!("{replicas} pods of {version}"), || {
        let live = deployment(scene, member)?;
        let count = |field: &str| live["status"][field].as_u64().unwrap_or(0);
        let observed = live["status"]["observedGeneration"] == live["metadata"]["generation"];
        let all = ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| count(field) == u64::from(replicas));
        Ok((observed && all && image(&live) == image_of(version)).then_some(()))
    })
}

fn image(deployment: &Value) -> String {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn image_of(version: &str) -> String {
    format!("bellwether.local/demo:{version}")
}

fn wait_for(scene: &Scene, what: &str, condition: impl Fn(&RunView) -> bool) -> Result<RunView> {
    scene.wait_run(&rollout_name(scene), 0, RUN_LIMIT, what, condition)
}

fn in_state(scene: &Scene, state: RunPhase) -> Result<RunView> {
    wait_for(scene, &format!("the rollout to be {state:?}"), |view| {
        view.state == state
    })
}

/// Waits until the canary of `c1` carries a weight.
fn at_weight(scene: &Scene, weight: u8) -> Result<RunView> {
    wait_for(scene, &format!("{weight} % on the canary"), |view| {
        view.state == RunPhase::Progressing && tracks_have(view, |observed| observed == weight)
    })
}

fn tracks_have(view: &RunView, is: impl Fn(u8) -> bool) -> bool {
    cluster_view(view, "c1").is_ok_and(|cluster| {
        let mut tracks = cluster.tracks.iter();
        tracks.any(|track| is(track.observed_weight.percent()))
    })
}

/// Pods of the workload itself, by version: those of the canary carry the run's label.
fn own_pods(scene: &Scene, member: &Member, version: &str) -> Result<BTreeSet<String>> {
    let pods = member.pods(&scene.name, "app=web,!bellwether.dev/run")?;
    let runs = |pod: &k8s_openapi::api::core::v1::Pod| {
        let spec = pod.spec.as_ref();
        spec.is_some_and(|spec| spec.containers[0].image.as_deref() == Some(&image_of(version)))
    };
    let live = pods
        .iter()
        .filter(|pod| runs(pod) && pod.metadata.deletion_timestamp.is_none());
    Ok(live.filter_map(|pod| pod.metadata.uid.clone()).collect())
}

fn assert_held(scene: &Scene, member: &Member, version: &str) -> Result<()> {
    let live = deployment(scene, member)?;
    ensure!(
        image(&live) == image_of(version)
            && live["spec"]["paused"] == json!(true)
            && live["metadata"]["annotations"][HELD] == json!(rollout_name(scene)),
        "it is not held: {live}"
    );
    Ok(())
}

/// Applies the same objects every two seconds, as a GitOps applier does.
struct Applier {
    objects: Arc<Mutex<Vec<Value>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u32>>>,
}

impl Applier {
    fn start(member: Member, shop: &Shop) -> Self {
        let objects = Arc::new(Mutex::new(shop.manifests()));
        let stop = Arc::new(AtomicBool::new(false));
        let (wanted, ends) = (Arc::clone(&objects), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !ends.load(Ordering::Relaxed) {
                let now = wanted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                for object in &now {
                    member.apply(APPLIER, object)?;
                }
                count += 1;
                std::thread::sleep(Duration::from_secs(2));
            }
            Ok(count)
        });
        Self {
            objects,
            stop,
            thread: Some(thread),
        }
    }

    fn set(&self, shop: &Shop) {
        *self.objects.lock().unwrap_or_else(PoisonError::into_inner) = shop.manifests();
    }

    /// Stops it; gives how often it applied everything.
    fn stop(mut self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it runs")?;
        thread.join().map_err(|_| anyhow!("the applier died"))?
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn foreign_applier(scene: &Scene) -> Result<()> {
    let shop = Shop {
        destination: "{clusters: [c1]}".into(),
        waves: String::new(),
        ..scene.shop()
    };
    let member = adopt(scene, &shop)?;
    let applier = Applier::start(scene.member(0)?, &shop);
    let before = own_pods(scene, &member, "v1")?;
    let traffic = scene.traffic(&["c1"], 220)?;
    applier.set(&shop.version("v2"));
    // At rest there is no run to watch: the watch would end at once.
    wait_for(scene, "the change to be taken over", |view| {
        view.state == RunPhase::Progressing
    })?;
    let watch = RunWatch::start(&scene.cli, "default", &rollout_name(scene))?;
    at_weight(scene, 20)?;
    assert_held(scene, &member, "v2")?;
    let testing = own_pods(scene, &member, "v1")?;
    ensure!(
        testing.len() == 5 && testing.intersection(&before).count() >= 4,
        "of the pods {before:?} only {testing:?} are left"
    );
    at_weight(scene, 60)?;
    ensure!(
        own_pods(scene, &member, "v1")? == testing,
        "the stable pods changed during the test"
    );
    in_state(scene, RunPhase::Succeeded)?;
    stands(scene, &member, "v2", 5)?;
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.stop()?;
    let looks = watch.stop();
    let applied = applier.stop()?;
    ensure!(applied >= 5, "it applied everything only {applied} times");
    ensure!(
        weights_in_order(&looks, "c1") == [20, 40, 60],
        "weights: {:?}",
        weights_in_order(&looks, "c1")
    );
    for span in spans_in_force(&looks, "c1") {
        let counts = tally(&seconds, Some("c1"), span.from_ms, span.to_ms);
        let share = counts.share_percent("v2");
        println!("{} %: {share:.1} % of {}", span.weight, counts.total);
        // Each of its applies takes the split away, to the old version alone, until the agent has seen
        // it: up to half a second of two.
        let weight = f64::from(span.weight);
        ensure!(
            weight == 0.0
                || counts.total < 200
                || share >= weight * 0.75 - 5.0 && share <= weight + 5.0,
            "{share:.1} % at weight {} over {} requests",
            span.weight,
            counts.total
        );
    }
    let counts = tally(&seconds, None, 0, i64::MAX);
    println!("{applied} applies, {} requests", counts.total);
    ensure!(
        counts.total > 1_000 && counts.failed == 0,
        "requests failed: {:?}",
        counts.failures
    );
    scene.assert_restored(&member, &shop.version("v2"))?;
    part(scene, &member)
}

/// What of an object is its owner's: everything but what Kubernetes reports.
fn owned(mut object: Value) -> Value {
    object["status"] = Value::Null;
    object["metadata"]["resourceVersion"] = Value::Null;
    // The controller's own notes on it are told apart by their subresource.
    if let Some(fields) = object["metadata"]["managedFields"].as_array_mut() {
        fields.retain(|entry| entry["manager"] != "kube-controller-manager");
    }
    object
}

fn untouched_at_rest(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    let member = scene.member(0)?;
    apply(&member, &shop)?;
    stands(scene, &member, "v1", 3)?;
    let objects = || -> Result<Vec<Value>> {
        [("Deployment", "web"), ("Service", "web")]
            .iter()
            .map(|(kind, name)| {
                let live = scene.object(&member, kind, name)?;
                Ok(owned(live.with_context(|| format!("{kind} {name}"))?))
            })
            .collect()
    };
    let before = objects()?;
    scene.cli.apply(&rollout(&shop))?;
    in_state(scene, RunPhase::Succeeded)?;
    // What is no change of the template is nobody's business: it is looked at, and left.
    let scaled = Shop {
        replicas: 4,
        ..shop.clone()
    };
    apply(&member, &scaled)?;
    stands(scene, &member, "v1", 4)?;
    apply(&member, &shop)?;
    stands(scene, &member, "v1", 3)?;
    let mut after = objects()?;
    for object in &mut after {
        object["metadata"]["generation"] = Value::Null;
        object["metadata"]["managedFields"] = Value::Null;
    }
    let mut expected = before;
    for object in &mut expected {
        object["metadata"]["generation"] = Value::Null;
        object["metadata"]["managedFields"] = Value::Null;
    }
    ensure!(after == expected, "touched: {expected:?} became {after:?}");
    let live = deployment(scene, &member)?;
    let managers = live["metadata"]["managedFields"].to_string();
    ensure!(!managers.contains("bellwether"), "{managers}");
    ensure!(
        member
            .list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?
            .is_empty(),
        "a run was begun"
    );
    part(scene, &member)
}

fn caught(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    };
    let member = adopt(scene, &shop)?;
    apply(&member, &shop.version("v2"))?;
    wait_for(scene, "the step to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval && tracks_have(view, |observed| observed == 50)
    })?;
    assert_held(scene, &member, "v2")?;
    ensure!(
        own_pods(scene, &member, "v2")?.is_empty() && own_pods(scene, &member, "v1")?.len() == 3,
        "pods of the new version were left"
    );
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", rollout_name(scene))])?;
    ensure!(
        events.contains("TakenOver") && !events.contains("Bypassed"),
        "{events}"
    );
    scene
        .cli
        .run(&["rollout", "approve", &rollout_name(scene)])?;
    in_state(scene, RunPhase::Succeeded)?;
    stands(scene, &member, "v2", 3)?;
    scene.assert_restored(&member, &shop.version("v2"))?;
    part(scene, &member)
}

fn newest_change(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    };
    let member = adopt(scene, &shop)?;
    apply(&member, &shop.version("v2"))?;
    wait_for(scene, "the first change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval
    })?;
    let first = scene.run(&rollout_name(scene))?.run;
    apply(&member, &shop.version("v3"))?;
    wait_for(scene, "the newest change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval && view.run != first
    })?;
    ensure!(
        member.pod_uids(&scene.name, &image_of("v2"))?.is_empty(),
        "pods of the change that was overtaken are left"
    );
    assert_held(scene, &member, "v3")?;
    // The old template again: there is nothing to bring in any more.
    apply(&member, &shop)?;
    in_state(scene, RunPhase::Succeeded)?;
    stands(scene, &member, "v1", 3)?;
    scene.assert_restored(&member, &shop)?;
    part(scene, &member)
}

fn aborted(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    };
    let name = rollout_name(scene);
    let member = adopt(scene, &shop)?;
    apply(&member, &shop.version("v2"))?;
    wait_for(scene, "the change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval
    })?;
    scene
        .cli
        .run(&["rollout", "abort", &name, "--reason", "no"])?;
    let view = in_state(scene, RunPhase::Failed)?;
    let track = &cluster_view(&view, "c1")?.tracks[0];
    ensure!(track.phase == Phase::Failed, "{track:?}");
    // Its owner's words stand, and the old pods do.
    assert_held(scene, &member, "v2")?;
    ensure!(own_pods(scene, &member, "v1")?.len() == 3, "pods were lost");
    let route = scene
        .object(&member, "HTTPRoute", "web")?
        .context("the route")?;
    ensure!(
        !route.to_string().contains("web-canary"),
        "the route is split: {route}"
    );
    // The same again, however often, is not tried again; another template is.
    apply(&member, &shop)?;
    in_state(scene, RunPhase::Succeeded)?;
    scene.assert_restored(&member, &shop)?;
    apply(&member, &shop.version("v2"))?;
    in_state(scene, RunPhase::Failed)?;
    assert_held(scene, &member, "v2")?;
    scene.cli.run(&["rollout", "retry", &name])?;
    wait_for(scene, "the retried change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval
    })?;
    scene.cli.run(&["rollout", "promote", &name])?;
    in_state(scene, RunPhase::Succeeded)?;
    stands(scene, &member, "v2", 3)?;
    scene.assert_restored(&member, &shop.version("v2"))?;
    part(scene, &member)
}

fn deleted(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".into(),
        ..scene.small_shop()
    };
    let member = adopt(scene, &shop)?;
    apply(&member, &shop.version("v2"))?;
    wait_for(scene, "the change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval
    })?;
    scene
        .cli
        .run(&["delete", "rollout", &rollout_name(scene), "-y"])?;
    // What was held off stays off, and nothing of ours is left.
    stands(scene, &member, "v1", 3)?;
    until(RUN_LIMIT, "the workload to be its owner's", || {
        let live = deployment(scene, &member)?;
        let free =
            live["spec"]["paused"].is_null() && live["metadata"]["annotations"][HELD].is_null();
        // Its fields are handed back once they are as they were.
        let ours = live["metadata"]["managedFields"].to_string();
        Ok((free && !ours.contains("bellwether")).then_some(()))
    })?;
    scene.assert_restored(&member, &shop)?;
    // Without a Rollout Kubernetes rolls as ever.
    apply(&member, &shop.version("v2"))?;
    stands(scene, &member, "v2", 3)?;
    for (kind, name) in [
        ("HTTPRoute", "web"),
        ("Service", "web"),
        ("Deployment", "web"),
    ] {
        member.delete(api_version(kind), kind, &scene.name, name)?;
    }
    Ok(())
}
