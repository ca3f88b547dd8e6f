//! Canaries that succeed.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
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
    weights::{RunWatch, now_ms, spans, weights_in_order},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
    strategies::{all_answer, ask},
};

/// One by one: each carries 660 requests a second.
pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "good_canary_across_three_clusters_in_two_waves",
        "good",
        good_canary,
    ),
    (
        "good_canary_without_pre_stop",
        "bare",
        good_canary_without_pre_stop,
    ),
];

pub const CASES: &[Case] = &[
    ("sc_k2_last_step_is_clamped", "clamp", clamp),
    ("first_install_runs_no_canary", "first", first_install),
    (
        "sc_a1_edit_of_a_first_install_comes_in_without_a_canary",
        "firstedit",
        edited_first_install,
    ),
    (
        "no_metrics_passes_on_readiness_with_a_warning",
        "nothing",
        nothing_configured,
    ),
    (
        "metrics_by_probe_where_there_is_no_prometheus",
        "probe",
        probe,
    ),
];

const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];
/// The soak of the first wave of the demo application.
const SOAK: SignedDuration = SignedDuration::from_secs(3);

fn good_canary(scene: &Scene) -> Result<()> {
    let shop = scene.shop();
    let failures = release_under_traffic(scene, &shop)?;
    ensure!(failures.is_empty(), "requests failed: {failures:?}");
    Ok(())
}

/// Without a preStop hook Kubernetes' own rolling update stops pods that the gateway still knows.
/// Those failures are counted apart: none may come before the promotion.
fn good_canary_without_pre_stop(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 0,
        ..scene.shop()
    };
    let failures = release_under_traffic(scene, &shop)?;
    let ours: Vec<_> = failures
        .iter()
        .filter(|failure| !failure.while_promoting)
        .collect();
    println!(
        "{} failures while Kubernetes replaced pods",
        failures.len() - ours.len()
    );
    ensure!(
        ours.is_empty(),
        "requests failed outside the rolling update: {ours:?}"
    );
    Ok(())
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed when a test fails")]
struct Failure {
    cluster: String,
    at_ms: i64,
    what: String,
    while_promoting: bool,
}

fn release_under_traffic(scene: &Scene, shop: &Shop) -> Result<Vec<Failure>> {
    scene.install(shop)?;
    let before: Vec<BTreeSet<String>> = (0..3)
        .map(|index| {
            scene
                .member(index)?
                .pod_uids(&scene.name, "bellwether.local/demo:v1")
        })
        .collect::<Result<_>>()?;
    let traffic = scene.traffic(&CLUSTERS)?;
    let started_ms = now_ms();
    scene.cli.apply(&shop.version("v2").documents())?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    stable_pods_stay_until_promotion(scene, &before)?;
    let run = scene.ended(2, RunPhase::Succeeded)?;
    let ended_ms = now_ms();
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.stop()?;
    let looks = watch.stop();

    for cluster in CLUSTERS {
        ensure!(
            weights_in_order(&looks, cluster) == [20, 40, 60],
            "weights of {cluster}: {:?}",
            weights_in_order(&looks, cluster)
        );
    }
    for weight in [20, 40, 60] {
        let mut requests = 0;
        for span in CLUSTERS.iter().flat_map(|cluster| spans(&looks, cluster)) {
            if span.weight != weight {
                continue;
            }
            let counts = tally(&seconds, Some(&span.cluster), span.from_ms, span.to_ms);
            requests += counts.total;
            let share = counts.share_percent("v2");
            ensure!(
                counts.total < 200 || (share - f64::from(weight)).abs() <= 5.0,
                "{} carried {share:.1} % at weight {weight} over {} requests",
                span.cluster,
                counts.total
            );
        }
        ensure!(
            requests >= 1_000,
            "only {requests} requests were counted at weight {weight}"
        );
    }
    soaked(&run)?;
    for index in 0..3 {
        scene.assert_restored(&scene.member(index)?, &shop.version("v2"))?;
    }
    let promoting = |cluster: &str, t: i64| {
        looks.iter().any(|look| {
            look.cluster == cluster
                && matches!(look.phase, Some(Phase::Promoting | Phase::Finalising))
                && (look.at_ms - t).abs() < 3_000
        })
    };
    Ok(seconds
        .iter()
        .filter(|second| second.t >= started_ms && second.t < ended_ms)
        .filter(|second| !(200..300).contains(&second.status))
        .map(|second| Failure {
            cluster: second.cluster.clone(),
            at_ms: second.t - started_ms,
            what: format!(
                "{} {} x{} {}",
                second.mode, second.status, second.count, second.error
            ),
            while_promoting: promoting(&second.cluster, second.t),
        })
        .collect())
}

/// Fails unless wave `rest` began after wave `canary` and its soak, by the hub's own clock: looks come later
/// than what they show, each by a time of its own.
fn soaked(run: &RunView) -> Result<()> {
    let at = |said: &Option<String>| -> Result<Timestamp> {
        Ok(said.as_deref().context("a time")?.parse()?)
    };
    let done = at(&cluster_view(run, "c1")?.since)?;
    let rest = at(&run.waves[1].started_at)?;
    ensure!(
        rest.duration_since(done) >= SOAK,
        "wave `rest` began at {rest}, and c1 was done at {done}"
    );
    Ok(())
}

/// Whether the promotion has begun in a cluster: the track says so before anything follows from it, and goes
/// at the end.
fn promotes(scene: &Scene, member: &Member) -> Result<bool> {
    let tracks = member.list("bellwether.dev/v1alpha1", "RolloutTrack", &scene.name)?;
    let phase = |track: &Value| track["status"]["summary"]["phase"].clone();
    if let Some(track) = tracks.first() {
        let promoting = [Phase::Promoting, Phase::Finalising, Phase::Succeeded];
        return Ok(promoting.iter().any(|one| phase(track) == json!(one)));
    }
    let live = scene.object(member, "Deployment", "web")?;
    let live = live.context("the Deployment")?;
    Ok(live["spec"]["template"].to_string().contains("demo:v2"))
}

/// Watches every cluster until its promotion begins: the old pods keep their UIDs.
fn stable_pods_stay_until_promotion(scene: &Scene, before: &[BTreeSet<String>]) -> Result<()> {
    let members: Vec<_> = (0..3)
        .map(|index| scene.member(index))
        .collect::<Result<_>>()?;
    until(RUN_LIMIT, "every cluster to promote", || {
        let mut promoted = 0;
        for ((cluster, member), before) in CLUSTERS.iter().zip(&members).zip(before) {
            // Pods first: what they were is judged by a phase that is read later, in the cluster itself, since
            // the hub hears of it when pods may be gone already.
            let seen = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
            if promotes(scene, member)? {
                promoted += 1;
            } else {
                ensure!(
                    seen == *before,
                    "the stable pods of {cluster} changed before the promotion"
                );
            }
        }
        Ok((promoted == CLUSTERS.len()).then_some(()))
    })
}

fn clamp(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {stepWeight: 10, maxWeight: 55}}".into(),
        analysis: probed("99"),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    is_promoted(scene, "Initialized")?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let run = scene.ended(2, RunPhase::Succeeded)?;
    is_promoted(scene, "Succeeded")?;
    let weights = scene.weights_told(&run, "c1")?;
    ensure!(weights == [10, 20, 30, 40, 50, 55], "weights: {weights:?}");
    let found = scene.cli.json(&["checks", &scene.name, "--limit", "240"])?;
    let passed: BTreeSet<u64> = found["items"]
        .as_array()
        .context("a list of measurements")?
        .iter()
        .filter(|one| one["run"] == run.run.to_string() && one["verdict"] == "Pass")
        .filter_map(|one| one["weight"].as_u64())
        .collect();
    ensure!(
        passed.into_iter().eq([10, 20, 30, 40, 50, 55]),
        "each weight is judged, the last one too: {found}"
    );
    Ok(())
}

/// Waits until the Rollout says that its newest release is the one that serves, and why.
fn is_promoted(scene: &Scene, reason: &str) -> Result<()> {
    until(Duration::from_secs(30), "condition Promoted", || {
        let listed = scene.cli.json(&["get", "rollouts"])?;
        let name = format!("{}-web", scene.name);
        let items = listed["items"].as_array().context("a list of Rollouts")?;
        let rollout = items.iter().find(|one| one["metadata"]["name"] == name);
        let rollout = rollout.with_context(|| listed.to_string())?;
        let conditions = rollout["status"]["conditions"].as_array();
        let promoted = conditions.into_iter().flatten().any(|one| {
            one["type"] == "Promoted" && one["status"] == "True" && one["reason"] == reason
        });
        Ok(promoted.then_some(()))
    })
}

fn first_install(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    let member = scene.member(0)?;
    scene.cli.apply(&shop.documents())?;
    installed_plainly(scene, &member, 1)?;
    scene.assert_restored(&member, &shop)
}

/// Waits until a revision is installed; there is no canary all the while.
fn installed_plainly(scene: &Scene, member: &Member, revision: u64) -> Result<()> {
    until(RUN_LIMIT, "the first install", || {
        ensure!(
            scene.object(member, "Deployment", "web-canary")?.is_none(),
            "a first install makes no canary"
        );
        let run = scene.run(&scene.name).ok();
        let installed =
            run.filter(|view| (view.revision, view.state) == (revision, RunPhase::Succeeded));
        Ok(installed.map(|_| ()))
    })
}

/// The first version is not there yet when the next one comes: nothing serves that it could be compared with.
fn edited_first_install(scene: &Scene) -> Result<()> {
    let next = scene.small_shop().version("v2");
    // An hour: it is not to be there before.
    let shop = Shop {
        environment: vec![("DEMO_READY_AFTER_MS".into(), "3600000".into())],
        ..scene.small_shop()
    };
    let member = scene.member(0)?;
    scene.cli.apply(&shop.documents())?;
    until(RUN_LIMIT, "the first pods", || {
        let pods = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
        Ok((!pods.is_empty()).then_some(()))
    })?;
    scene.cli.apply(&next.documents())?;
    installed_plainly(scene, &member, 2)?;
    let history = scene.cli.run(&["rollout", "history", &scene.name])?;
    ensure!(history.contains("Superseded"), "{history}");
    // The first pods ever: the gateway hears of them a moment after they are ready.
    until(RUN_LIMIT, "the gateway to know them", || {
        Ok(ask(scene, &[]).ok())
    })?;
    all_answer(scene, &[], "v2")?;
    scene.assert_restored(&member, &next)
}

fn nothing_configured(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let answer = scene
        .cli
        .call(&["apply", "-f", "-"], Some(&shop.version("v2").documents()))?;
    ensure!(answer.code == 0, "{}{}", answer.stdout, answer.stderr);
    ensure!(
        answer.stderr.contains("metrics") || answer.stdout.contains("metrics"),
        "apply must warn that nothing is measured: {}{}",
        answer.stdout,
        answer.stderr
    );
    scene.ended(2, RunPhase::Succeeded)?;
    Ok(())
}

/// The success rate that the agent measures itself. Of ten requests one of the canary's two pods gets five, and so
/// one that fails.
fn probed(minimum: &str) -> String {
    format!(
        "{{interval: 1s, failureThreshold: 10, metrics: [{{name: request-success-rate, \
         range: {{min: \"{minimum}\"}}, window: 5s, minRequests: 10, source: {{type: Probe}}}}]}}"
    )
}

fn probe(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {weights: [50]}}".into(),
        analysis: probed("99"),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    scene.ended(2, RunPhase::Succeeded)?;
    // The third version fails every fifth request; nobody but the probe sends any.
    scene.cli.apply(&shop.version("v3").documents())?;
    scene.ended(3, RunPhase::Failed)?;
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}
