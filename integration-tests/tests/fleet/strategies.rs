//! Strategies beside the canary by weights.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    cluster::Member,
    fixture::cluster_view,
    manifests::Shop,
    request::answering_version,
    traffic::{Traffic, tally},
    wait::until,
    weights::{RunWatch, now_ms, weights_in_order},
};

use crate::{
    Case,
    batch_traffic::has_share,
    scene::{RUN_LIMIT, Scene},
};

/// Judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[
    (
        "sc_k5_blue_green_by_iterations_loses_no_request",
        "green",
        blue_green,
    ),
    (
        "sc_a4_manual_weight_by_hand",
        "byhand",
        manual_weight_by_hand,
    ),
];

pub const CASES: &[Case] = &[
    ("sc_k4_ab_by_header_or_cookie", "abtest", ab_test),
    (
        "sc_r2_steps_set_weight_and_pods_apart",
        "apart",
        weight_and_pods_apart,
    ),
    (
        "sc_a1_fixed_total_takes_pods_from_the_workload",
        "fixed",
        fixed_total,
    ),
];

/// Asks the gateway of `c1` and tells which version answered.
pub fn ask(scene: &Scene, headers: &[(&str, &str)]) -> Result<String> {
    let cluster = scene
        .lab
        .clusters
        .iter()
        .find(|cluster| cluster.name == "c1")
        .context("cluster c1")?;
    answering_version(&cluster.gateway_url, &scene.shop().host(), headers)
}

/// Asks twenty times: each answer is of `version`.
pub fn all_answer(scene: &Scene, headers: &[(&str, &str)], version: &str) -> Result<()> {
    for _ in 0..20 {
        let answered = ask(scene, headers)?;
        ensure!(
            answered == version,
            "{headers:?} was answered by {answered}, not {version}"
        );
    }
    Ok(())
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36";

fn ab_test(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{abTest: {iterations: 24, match: [\
            {headers: [{name: user-agent, regex: '.*Firefox.*'}]}, \
            {cookies: [{name: type, exact: insider}]}]}}"
            .into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    let matched = "c1 to route what matches";
    scene.wait_run(&scene.name, 2, RUN_LIMIT, matched, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster
                .tracks
                .iter()
                .any(|track| track.current.matched && track.current.iteration >= 1)
        })
    })?;
    for (headers, version) in [
        (&[("User-Agent", FIREFOX)][..], "v2"),
        (&[("Cookie", "type=insider")], "v2"),
        (&[("Cookie", "a=1; type=insider")], "v2"),
        (&[("Cookie", "type=insiders")], "v1"),
        (&[("Cookie", "mytype=insider")], "v1"),
        (&[("User-Agent", CHROME)], "v1"),
        (&[], "v1"),
    ] {
        all_answer(scene, headers, version)?;
    }
    let phase = scene.run(&scene.name)?;
    let still = cluster_view(&phase, "c1")?
        .tracks
        .iter()
        .any(|track| track.phase == Phase::Progressing);
    ensure!(
        still,
        "the questions were asked while the test was under way"
    );
    scene.ended(2, RunPhase::Succeeded)?;
    all_answer(scene, &[("User-Agent", CHROME)], "v2")?;
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

fn blue_green(scene: &Scene) -> Result<()> {
    let shop = Shop {
        pre_stop_seconds: 3,
        strategy: "{blueGreen: {iterations: 3, analysisTraffic: None, standby: 10s}}".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let before = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
    let traffic = scene.traffic(&["c1"])?;
    let started_ms = now_ms();
    scene.cli.apply(&shop.version("v2").documents())?;
    stands_by(scene, &shop, &member, &before)?;
    switched_back(scene, &traffic)?;
    ensure!(
        member.pod_uids(&scene.name, "bellwether.local/demo:v1")? == before,
        "blue's pods were touched"
    );
    scene.cli.run(&["rollout", "retry", &scene.name])?;
    scene.wait_run(&scene.name, 2, RUN_LIMIT, "another try", |view| {
        !view.state.is_terminal()
    })?;
    let watch = RunWatch::start(&scene.cli, "default", &scene.name)?;
    stands_by(scene, &shop, &member, &before)?;
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(Duration::from_secs(2));
    let seconds = traffic.stop()?;
    let looks = watch.stop();
    ensure!(
        weights_in_order(&looks, "c1") == [100],
        "weights: {:?}",
        weights_in_order(&looks, "c1")
    );
    let all = tally(&seconds, Some("c1"), started_ms, now_ms());
    ensure!(
        all.total >= 2_000,
        "only {} requests were counted",
        all.total
    );
    ensure!(all.failed == 0, "requests failed: {:?}", all.failures);
    scene.assert_restored(&member, &shop.version("v2"))
}

/// While blue stands by, one word gives it everything back.
fn switched_back(scene: &Scene, traffic: &Traffic) -> Result<()> {
    scene.cli.run(&[
        "rollout",
        "abort",
        &scene.name,
        "--reason",
        "blue was better",
    ])?;
    scene.ended(2, RunPhase::Aborted)?;
    // It counts as over once the switch is settled, at the gateway too.
    let after_ms = now_ms();
    let after = until(Duration::from_secs(30), "requests after the switch", || {
        let after = tally(&traffic.so_far()?, None, after_ms, i64::MAX);
        Ok((now_ms() > after_ms + 3_000 && after.total > 0).then_some(after))
    })?;
    ensure!(
        after.share_percent("v1") >= 100.0,
        "blue has not everything: {after:?}"
    );
    Ok(())
}

/// Waits until green has everything and blue stands by, whose pods are those of `before`.
fn stands_by(scene: &Scene, shop: &Shop, member: &Member, before: &BTreeSet<String>) -> Result<()> {
    let standby = "the old version to stand by";
    let view = scene.wait_run(&scene.name, 2, RUN_LIMIT, standby, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster
                .tracks
                .iter()
                .any(|track| track.current.standby_until.is_some())
        })
    })?;
    let track = &cluster_view(&view, "c1")?.tracks[0];
    ensure!(
        (track.observed_weight.percent(), track.canary.ready) == (100, shop.replicas),
        "green has everything at full size: {track:?}"
    );
    ensure!(
        member.pod_uids(&scene.name, "bellwether.local/demo:v1")? == *before,
        "blue stands by untouched"
    );
    all_answer(scene, &[], "v2")
}

fn weight_and_pods_apart(scene: &Scene) -> Result<()> {
    let shop = Shop {
        replicas: 5,
        strategy: "{canary: {steps: [{weight: 5, replicas: 20%}, {weight: 5, replicas: 3}, \
            {weight: 60, replicas: 2}]}}"
            .into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    for (step, weight, pods) in [(0, 5, 1), (1, 5, 3), (2, 60, 2)] {
        let what = format!("step {step} to wait at {weight} % with {pods} pods");
        scene.wait_run(&scene.name, 2, RUN_LIMIT, &what, |view| {
            cluster_view(view, "c1").is_ok_and(|cluster| {
                cluster.tracks.iter().any(|track| {
                    track.step == Some(step)
                        && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
                        && track.observed_weight.percent() == weight
                        && (track.canary.ready, track.canary.desired) == (pods, pods)
                        && track.stable.ready == 5
                })
            })
        })?;
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

/// Waits until the canary in `c1` has what was set by hand and waits for the next word.
fn stays_at(scene: &Scene, revision: u64, weight: u8, pods: u32) -> Result<()> {
    let what = format!("c1 to stay at {weight} % with {pods} pods");
    scene.wait_run(&scene.name, revision, RUN_LIMIT, &what, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            cluster.tracks.iter().any(|track| {
                track.phase == Phase::WaitingPromotion
                    && track.observed_weight.percent() == weight
                    && (track.canary.ready, track.canary.desired) == (pods, pods)
                    && track.stable.ready == 3
            })
        })
    })?;
    Ok(())
}

fn manual_weight_by_hand(scene: &Scene) -> Result<()> {
    let shop = Shop {
        strategy: "{canary: {manual: {weight: 0, replicas: 1}}}".into(),
        pre_stop_seconds: 3,
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let traffic = scene.traffic(&["c1"])?;
    scene.cli.apply(&shop.version("v2").documents())?;
    stays_at(scene, 2, 0, 1)?;
    all_answer(scene, &[], "v1")?;
    let set_weight = |words: &[&str]| {
        let verb = ["rollout", "set-weight", &scene.name];
        scene.cli.call(&[&verb, words].concat(), None)
    };
    let steps = [
        (&["30", "--replicas", "2", "--reason", "a third"][..], 30, 2),
        (&["60", "--cluster", "c1"], 60, 2),
    ];
    for (words, weight, pods) in steps {
        let answer = set_weight(words)?;
        ensure!(answer.code == 0, "{words:?}: {}", answer.stderr);
        stays_at(scene, 2, weight, pods)?;
        has_share(&traffic, weight.into(), 5.0)?;
    }
    let stale = set_weight(&["90", "--revision", "1"])?;
    ensure!(
        stale.code == 6,
        "another revision conflicts: {}",
        stale.code
    );
    stays_at(scene, 2, 60, 2)?;
    let events = scene
        .cli
        .run(&["events", &format!("rollout/{}", scene.name)])?;
    for said in ["a third", "30 %, 2 pods", "60 %"] {
        ensure!(events.contains(said), "no event says {said:?}: {events}");
    }
    scene
        .cli
        .run(&["rollout", "promote", &scene.name, "--reason", "enough seen"])?;
    scene.ended(2, RunPhase::Succeeded)?;
    let history = scene.cli.run(&["rollout", "history", &scene.name])?;
    for said in ["set-weight 30 %, 2 pods", "set-weight 60 %", "a third"] {
        ensure!(history.contains(said), "no {said:?} in {history}");
    }
    // The next one goes back by a word.
    scene.cli.apply(&shop.version("v4").documents())?;
    stays_at(scene, 3, 0, 1)?;
    let answer = set_weight(&["30", "--replicas", "2"])?;
    ensure!(answer.code == 0, "{}", answer.stderr);
    stays_at(scene, 3, 30, 2)?;
    let back = [
        "rollout",
        "rollback",
        &scene.name,
        "--reason",
        "not that one",
    ];
    scene.cli.run(&back)?;
    scene.ended(4, RunPhase::Succeeded)?;
    traffic.none_lost("v2")?;
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

fn fixed_total(scene: &Scene) -> Result<()> {
    let shop = Shop {
        replicas: 4,
        strategy: "{canary: {steps: [{weight: 20}, {weight: 100}]}}".into(),
        extra_rollout: "  instances: {mode: FixedTotal}\n".into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let member = scene.member(0)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    for (weight, canary, stable) in [(20, 1, 3), (100, 4, 0)] {
        let what = format!("{canary} and {stable} pods at {weight} %");
        until(RUN_LIMIT, &what, || {
            let view = scene.run(&scene.name)?;
            let there = cluster_view(&view, "c1").is_ok_and(|cluster| {
                cluster.tracks.iter().any(|track| {
                    track.observed_weight.percent() == weight
                        && (track.canary.ready, track.canary.desired) == (canary, canary)
                        && (track.stable.ready, track.stable.desired) == (stable, stable)
                        && matches!(track.phase, Phase::Paused | Phase::WaitingPromotion)
                })
            });
            Ok(there.then_some(()))
        })?;
        if weight == 20 {
            scene.cli.run(&["rollout", "approve", &scene.name])?;
        }
    }
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "enough"])?;
    scene.ended(2, RunPhase::Aborted)?;
    until(RUN_LIMIT, "the old pods to be back", || {
        let pods = member.pod_uids(&scene.name, "bellwether.local/demo:v1")?;
        Ok((pods.len() == 4).then_some(()))
    })?;
    scene.assert_restored(&member, &shop)
}
