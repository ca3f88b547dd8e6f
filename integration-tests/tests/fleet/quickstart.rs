//! The whole life of an application in a fleet of two clusters, as its team sees it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::{
    analysis::METRIC_NAMES,
    status::{Phase, TrackSummary, Verdict},
    view::{ClusterPhase, RunPhase, RunView},
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    hook_double::HookDouble,
    manifests::{METRICS, Shop},
    traffic::{Second, tally},
    wait::until,
    weights::{Look, RunWatch, now_ms, spans, weights_in_order},
};
use serde_json::json;

use crate::{
    Case,
    hooks::hooks,
    scene::{RUN_LIMIT, Scene},
};

/// One by one: it carries 440 requests a second.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_k1_canary_in_a_fleet_of_two_from_install_to_deletion",
    "whole",
    whole_life,
)];

const CLUSTERS: [&str; 2] = ["c1", "c2"];

/// The application with a smoke test at `path` beside its load, and objects that no Rollout governs.
fn shop(scene: &Scene, double: &HookDouble, path: &str) -> Shop {
    Shop {
        replicas: 3,
        strategy: "{canary: {stepWeight: 10, maxWeight: 50}}".into(),
        analysis: METRICS.into(),
        destination: "{clusters: [c1, c2]}".into(),
        waves: "[{name: all, maxConcurrent: 2}]".into(),
        extra_rollout: hooks(&[
            json!({"name": "load", "load": {"rate": 20}}),
            json!({"name": "smoke", "url": double.url(path)}),
        ]),
        ..scene.shop()
    }
}

fn documents(shop: &Shop) -> String {
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": shop.name},
        "data": {"version": shop.version},
    });
    let component =
        format!("  components:\n  - name: settings\n    manifests:\n    - {settings}\n");
    shop.documents().replacen("  components:\n", &component, 1)
}

fn whole_life(scene: &Scene) -> Result<()> {
    let double = HookDouble::start(&scene.lab.bridge_address)?;
    for path in ["/second", "/third"] {
        // The first check of each run fails, in whichever cluster is first; no other does.
        double.answers_from(path, 1, 500);
        double.answers_from(path, 2, 200);
    }
    let first = shop(scene, &double, "/second");
    installed(scene, &first)?;
    ensure!(
        double.calls("/second").is_empty(),
        "a first install has no run"
    );
    let before = pods(scene, "v1")?;
    let traffic = scene.traffic(&CLUSTERS)?;
    let started_ms = now_ms();
    superseded(scene, &first.version("v2"), &before)?;
    let last = shop(scene, &double, "/third").version("v4");
    let looks = promoted(scene, &last, &before)?;
    let ended_ms = now_ms();
    let after = alone(scene, "v4", last.replicas)?;
    without_rollout(scene, &last, &after)?;
    let seconds = traffic.stop()?;
    shares(&looks, &seconds)?;
    let all = tally(&seconds, None, started_ms, i64::MAX);
    ensure!(all.failed == 0, "requests failed: {:?}", all.failures);
    let end = tally(&seconds, None, ended_ms, i64::MAX);
    ensure!(
        end.total > 0 && end.share_percent("v4") >= 100.0,
        "after: {end:?}"
    );
    deleted(scene)
}

/// UIDs of the workload's pods that run `version`, by cluster.
fn pods(scene: &Scene, version: &str) -> Result<Vec<BTreeSet<String>>> {
    let image = format!("bellwether.local/demo:{version}");
    (0..CLUSTERS.len())
        .map(|index| scene.member(index)?.pod_uids(&scene.name, &image))
        .collect()
}

/// Waits until the workload's pods are all that run `version`: those of a canary end a little later.
fn alone(scene: &Scene, version: &str, replicas: u32) -> Result<Vec<BTreeSet<String>>> {
    let what = "the canary's pods to end";
    until(Duration::from_secs(60), what, || {
        let pods = pods(scene, version)?;
        let alone = pods.iter().all(|one| one.len() == replicas as usize);
        Ok(alone.then_some(pods))
    })
}

fn installed(scene: &Scene, shop: &Shop) -> Result<()> {
    scene.cli.apply(&documents(shop))?;
    let view = scene.ended(1, RunPhase::Succeeded)?;
    for (index, name) in CLUSTERS.iter().enumerate() {
        let cluster = cluster_view(&view, name)?;
        ensure!(
            cluster.state == ClusterPhase::Succeeded && cluster.tracks.is_empty(),
            "a first install has no run: {cluster:?}"
        );
        let member = scene.member(index)?;
        ensure!(
            scene.object(&member, "ConfigMap", "settings")?.is_some(),
            "what no Rollout governs is applied in {name}"
        );
        scene.assert_restored(&member, shop)?;
    }
    Ok(())
}

/// Waits until the run of `revision` in a cluster is as `wanted`.
fn until_track(
    scene: &Scene,
    revision: u64,
    cluster: &str,
    what: &str,
    wanted: impl Fn(&TrackSummary) -> bool,
) -> Result<TrackSummary> {
    let found = |view: &RunView| {
        let mut tracks = cluster_view(view, cluster).ok()?.tracks.iter();
        tracks.find(|track| wanted(track)).cloned()
    };
    let view = scene.wait_run(
        &scene.name,
        revision,
        RUN_LIMIT,
        &format!("{cluster} to {what}"),
        |view| found(view).is_some(),
    )?;
    found(&view).context("it was just there")
}

/// Waits until both clusters carry at least `weight`, and counts the checks that failed by then.
fn failed_checks_at(scene: &Scene, revision: u64, weight: u8) -> Result<u32> {
    let what = format!("carry {weight} %");
    CLUSTERS.iter().try_fold(0, |sum, cluster| {
        let track = until_track(scene, revision, cluster, &what, |track| {
            track.observed_weight.percent() >= weight
        })?;
        Ok(sum + track.failed_checks)
    })
}

/// The second version is under way in both clusters: the third takes its place.
fn superseded(scene: &Scene, second: &Shop, before: &[BTreeSet<String>]) -> Result<()> {
    scene.cli.apply(&documents(second))?;
    let failed = failed_checks_at(scene, 2, 20)?;
    ensure!(failed == 1, "one failed check holds, and goes on: {failed}");
    ensure!(
        pods(scene, "v1")? == before,
        "stable pods changed before the promotion"
    );
    Ok(())
}

fn promoted(scene: &Scene, last: &Shop, before: &[BTreeSet<String>]) -> Result<Vec<Look>> {
    scene.cli.apply(&documents(last))?;
    scene.wait_run(&scene.name, 3, RUN_LIMIT, "revision 3", |_| true)?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    failed_checks_at(scene, 3, 10)?;
    ensure!(
        pods(scene, "v1")? == before,
        "the way back replaces no stable pod"
    );
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    ensure!(events.contains("superseded by a newer release"), "{events}");
    for cluster in CLUSTERS {
        let what = "pass both metrics";
        until_track(scene, 3, cluster, what, |track| {
            METRIC_NAMES.iter().all(|name| {
                let mut checks = track.checks.iter();
                checks.any(|check| check.metric == *name && check.verdict == Verdict::Pass)
            })
        })?;
    }
    let failed = failed_checks_at(scene, 3, 30)?;
    ensure!(
        failed == 1,
        "a run begins without failed checks and may succeed with one: {failed}"
    );
    scene.ended(3, RunPhase::Succeeded)?;
    let history = scene
        .cli
        .json(&["rollout", "history", &scene.name])?
        .to_string();
    ensure!(history.contains("Superseded"), "{history}");
    for index in 0..CLUSTERS.len() {
        scene.assert_restored(&scene.member(index)?, last)?;
    }
    let looks = watch.stop();
    for cluster in CLUSTERS {
        goes_by_the_plan(&looks, cluster)?;
    }
    Ok(looks)
}

/// The weights and phases that a cluster went through.
fn goes_by_the_plan(looks: &[Look], cluster: &str) -> Result<()> {
    let weights = weights_in_order(looks, cluster);
    ensure!(
        weights == [10, 20, 30, 40, 50],
        "weights of {cluster}: {weights:?}"
    );
    let mut phases: Vec<Phase> = looks
        .iter()
        .filter(|look| look.cluster == cluster)
        .filter_map(|look| look.phase)
        .collect();
    phases.dedup();
    let order = [
        Phase::Initializing,
        Phase::Initialized,
        Phase::Progressing,
        Phase::Promoting,
        Phase::Finalising,
        Phase::Succeeded,
    ];
    let places: Vec<_> = phases
        .iter()
        .map(|phase| order.iter().position(|known| known == phase))
        .collect();
    ensure!(
        places.is_sorted() && !places.contains(&None) && phases.contains(&Phase::Promoting),
        "phases of {cluster}: {phases:?}"
    );
    Ok(())
}

fn shares(looks: &[Look], seconds: &[Second]) -> Result<()> {
    for cluster in CLUSTERS {
        let mut counted = 0;
        for span in spans(looks, cluster) {
            let counts = tally(seconds, Some(cluster), span.from_ms, span.to_ms);
            if counts.total < 200 {
                continue;
            }
            counted += 1;
            let share = counts.share_percent("v4");
            ensure!(
                (share - f64::from(span.weight)).abs() <= 5.0,
                "{cluster} carried {share:.1} % at weight {} over {} requests",
                span.weight,
                counts.total
            );
        }
        ensure!(counted >= 5, "{cluster}: {counted} weights were counted");
    }
    Ok(())
}

/// The Rollout goes, and the application runs on.
fn without_rollout(scene: &Scene, last: &Shop, running: &[BTreeSet<String>]) -> Result<()> {
    scene
        .cli
        .run(&["delete", "rollout", &format!("{}-web", scene.name), "-y"])?;
    scene.ended(4, RunPhase::Succeeded)?;
    for index in 0..CLUSTERS.len() {
        scene.assert_restored(&scene.member(index)?, last)?;
    }
    ensure!(
        pods(scene, "v4")? == running,
        "pods were replaced when the Rollout went"
    );
    Ok(())
}

/// The application goes, from both clusters.
fn deleted(scene: &Scene) -> Result<()> {
    scene
        .cli
        .run(&["delete", "application", &scene.name, "-y"])?;
    for (index, cluster) in CLUSTERS.iter().enumerate() {
        let member = scene.member(index)?;
        let what = format!("everything to be deleted in {cluster}");
        until(Duration::from_secs(60), &what, || {
            let mut left = vec![scene.object(&member, "ConfigMap", "settings")?];
            for kind in ["Deployment", "Service", "HTTPRoute"] {
                left.push(scene.object(&member, kind, "web")?);
            }
            Ok(left.iter().all(Option::is_none).then_some(()))
        })?;
    }
    Ok(())
}
