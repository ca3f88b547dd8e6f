//! Workloads that somebody else delivers: a GitOps applier, or a human.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    cluster::Member,
    fixture::{WITHOUT_WEBHOOK, cluster_view},
    manifests::Shop,
    traffic::tally,
    wait::until,
    weights::{RunWatch, spans_in_force, weights_in_order},
};
use serde_json::Value;

use crate::{
    Case,
    foreign::{APPLIER, Foreign, by_hand, image_of},
    scene::{RUN_LIMIT, Scene},
};

pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "sc_di9_foreign_applier_changes_nothing_in_its_rollout",
        "foreigndi",
        foreign_applier,
    ),
    (
        "foreign_rollout_deleted_mid_run_lets_the_workload_go",
        "foreigngone",
        deleted,
    ),
];

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
        "foreign_rollout_and_workload_deleted_mid_run_leave_nothing",
        "foreignnone",
        everything_deleted,
    ),
];

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
    let foreign = Foreign::adopt(scene, shop.clone(), 0)?;
    let applier = Applier::start(scene.member(0)?, &shop);
    let before = foreign.own_pods("v1")?;
    let traffic = scene.traffic(&["c1"])?;
    applier.set(&shop.version("v2"));
    // At rest there is no run to watch: the watch would end at once.
    foreign.wait_for("the change to be taken over", |view| {
        view.state == RunPhase::Progressing
    })?;
    let watch = RunWatch::start(&scene.cli, "default", &foreign.rollout())?;
    foreign.at_weight(20)?;
    foreign.assert_held("v2")?;
    let testing = foreign.own_pods("v1")?;
    ensure!(
        testing.len() == 5 && testing.intersection(&before).count() >= 4,
        "of the pods {before:?} only {testing:?} are left"
    );
    foreign.at_weight(60)?;
    ensure!(
        foreign.own_pods("v1")? == testing,
        "the stable pods changed during the test"
    );
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.stands("v2", 5)?;
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
    foreign.assert_restored("v2")?;
    foreign.part()
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
    let foreign = Foreign::install(scene, scene.small_shop(), 0)?;
    let objects = || -> Result<Vec<Value>> {
        [("Deployment", "web"), ("Service", "web")]
            .iter()
            .map(|(kind, name)| Ok(owned(foreign.object(kind, name)?)))
            .collect()
    };
    let before = objects()?;
    foreign.govern()?;
    // What is no change of the template is nobody's business: it is looked at, and left.
    let scaled = Shop {
        replicas: 4,
        ..foreign.shop.clone()
    };
    foreign.apply_all(&scaled)?;
    foreign.stands("v1", 4)?;
    foreign.apply("v1")?;
    foreign.stands("v1", 3)?;
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
    let managers = foreign.deployment()?["metadata"]["managedFields"].to_string();
    ensure!(!managers.contains("bellwether"), "{managers}");
    let tracks = foreign
        .member
        .list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
    ensure!(tracks.is_empty(), "a run was begun");
    foreign.part()
}

/// Where the API server does not ask the agent, its watch is what holds the update.
fn caught(scene: &Scene) -> Result<()> {
    let foreign = Foreign::changed(scene, WITHOUT_WEBHOOK)?;
    foreign.assert_held("v2")?;
    ensure!(
        foreign.own_pods("v2")?.is_empty() && foreign.own_pods("v1")?.len() == 3,
        "pods of the new version were left"
    );
    let events = foreign.events()?;
    ensure!(
        events.contains("TakenOver") && !events.contains("Bypassed"),
        "{events}"
    );
    let listed = scene
        .cli
        .run(&["get", "rollouts", "-o", "json"])
        .context("the rollouts")?;
    ensure!(listed.contains("WebhookOff"), "{listed}");
    foreign.say(&["approve"])?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.stands("v2", 3)?;
    foreign.assert_restored("v2")?;
    foreign.part()
}

fn newest_change(scene: &Scene) -> Result<()> {
    let foreign = Foreign::changed(scene, 0)?;
    let first = scene.run(&foreign.rollout())?.run;
    foreign.apply("v3")?;
    foreign.wait_for("the newest change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval && view.run != first
    })?;
    let what = "the pods of the change that was overtaken to be gone";
    until(RUN_LIMIT, what, || {
        let left = foreign.member.pod_uids(&scene.name, &image_of("v2"))?;
        Ok(left.is_empty().then_some(()))
    })?;
    foreign.assert_held("v3")?;
    // The old template again: there is nothing to bring in any more.
    foreign.apply("v1")?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.stands("v1", 3)?;
    foreign.assert_restored("v1")?;
    foreign.part()
}

fn aborted(scene: &Scene) -> Result<()> {
    let foreign = Foreign::changed(scene, 0)?;
    foreign.say(&["abort", "--reason", "no"])?;
    let view = foreign.in_state(RunPhase::Failed)?;
    let track = &cluster_view(&view, "c1")?.tracks[0];
    ensure!(track.phase == Phase::Failed, "{track:?}");
    // Its owner's words stand, and the old pods do.
    foreign.assert_held("v2")?;
    ensure!(foreign.own_pods("v1")?.len() == 3, "pods were lost");
    let route = foreign.object("HTTPRoute", "web")?;
    ensure!(
        !route.to_string().contains("web-canary"),
        "the route is split: {route}"
    );
    // The same again, however often, is not tried again; another template is.
    foreign.apply("v1")?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.assert_restored("v1")?;
    foreign.apply("v2")?;
    foreign.in_state(RunPhase::Failed)?;
    foreign.assert_held("v2")?;
    foreign.say(&["retry"])?;
    foreign.wait_for("the retried change to wait for a human", |view| {
        view.state == RunPhase::WaitingApproval
    })?;
    foreign.say(&["promote"])?;
    foreign.in_state(RunPhase::Succeeded)?;
    foreign.stands("v2", 3)?;
    foreign.assert_restored("v2")?;
    foreign.part()
}

fn deleted(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        ..by_hand(scene)
    };
    let foreign = Foreign::adopt(scene, shop, 0)?;
    let traffic = scene.traffic(&["c1"])?;
    foreign.apply("v2")?;
    foreign.waits_for_a_human()?;
    foreign.release()?;
    // What was held off stays off, and nothing of ours is left.
    foreign.stands("v1", 3)?;
    foreign.is_let_go()?;
    foreign.assert_restored("v1")?;
    traffic.none_lost("v1")?;
    // Without a Rollout Kubernetes rolls as ever.
    foreign.apply("v2")?;
    foreign.stands("v2", 3)?;
    foreign.uninstall()
}

/// Whoever deletes the Rollout and then the workload waits for no deadline.
fn everything_deleted(scene: &Scene) -> Result<()> {
    let foreign = Foreign::changed(scene, 0)?;
    foreign.part()?;
    let left = |kind: &str, name: &str| scene.object(&foreign.member, kind, name);
    until(
        Duration::from_secs(60),
        "nothing of the run to be left",
        || {
            let none = left("RolloutTrack", &foreign.rollout())?.is_none()
                && left("Deployment", "web-canary")?.is_none()
                && left("Service", "web-canary")?.is_none();
            Ok(none.then_some(()))
        },
    )
}
