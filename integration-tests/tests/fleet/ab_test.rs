//! A/B tests by what else a request has than headers, under traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether_api::{
    status::{Phase, Verdict},
    view::RunPhase,
};
use bellwether_integration_tests::{
    fixture::cluster_view,
    hook_double::HookDouble,
    manifests::{METRICS, Shop},
    traffic::{Requests, Traffic, full_rate, tally},
    wait::until,
    weights::now_ms,
};
use serde_json::json;

use crate::{
    Case,
    hooks::hooks,
    scene::{RUN_LIMIT, Scene},
};

/// Judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_k4_ab_by_path_query_and_method_loses_no_request",
    "abpath",
    by_path_query_and_method,
)];

/// Requests a second of each kind; together as many as one cluster gets.
const RATE: u32 = full_rate(1) / 5;
/// Requests of each kind that are counted while the test is under way.
const COUNTED: u64 = 200;

/// Method and path of each kind of requests, and who answers them.
const KINDS: [(&str, &str, &str); 5] = [
    ("GET", "/beta/cart", "v2"),
    ("GET", "/shop?debug=1", "v2"),
    ("POST", "/orders", "v2"),
    ("GET", "/orders", "v1"),
    ("GET", "/betamax?debug=10", "v1"),
];

/// Running requests of one kind.
struct Stream {
    traffic: Traffic,
    path: &'static str,
    version: &'static str,
}

fn streams(scene: &Scene, host: &str) -> Result<Vec<Stream>> {
    let start = |(index, (method, path, version)): (usize, (&str, &'static str, &'static str))| {
        let file = scene.directory.join(format!("traffic-ab-{index}.jsonl"));
        let requests = Requests { host, method, path };
        let (lab, clusters) = (&scene.lab, ["c1"]);
        let traffic = Traffic::start_requests("gateway", lab, &clusters, requests, RATE, &file)?;
        anyhow::Ok(Stream {
            traffic,
            path,
            version,
        })
    };
    KINDS.into_iter().enumerate().map(start).collect()
}

fn by_path_query_and_method(scene: &Scene) -> Result<()> {
    let double = HookDouble::start(&scene.lab.bridge_address)?;
    double.answers("/promote", 403);
    let shop = Shop {
        pre_stop_seconds: 3,
        analysis: METRICS.into(),
        extra_rollout: hooks(&[json!({
            "type": "ConfirmPromotion", "name": "promote", "url": double.url("/promote"),
        })]),
        strategy: "{abTest: {iterations: 12, match: [\
            {path: {prefix: /beta}}, \
            {queryParams: [{name: debug, exact: \"1\"}]}, \
            {path: {exact: /orders}, method: POST}]}}"
            .into(),
        ..scene.small_shop()
    };
    scene.install(&shop)?;
    let streams = streams(scene, &shop.host())?;
    scene.cli.apply(&shop.version("v2").documents())?;
    while_tested(scene, &streams)?;
    side_by_side(scene)?;
    while_closed(scene, &streams)?;
    double.answers("/promote", 200);
    scene.ended(2, RunPhase::Succeeded)?;
    let ended_ms = now_ms();
    std::thread::sleep(Duration::from_secs(3));
    for Stream { traffic, path, .. } in streams {
        let seconds = traffic.stop()?;
        let all = tally(&seconds, None, 0, i64::MAX);
        ensure!(all.failed == 0, "{path}: {:?}", all.failures);
        let after = tally(&seconds, None, ended_ms, i64::MAX);
        ensure!(
            after.total > 0 && after.share_percent("v2") >= 100.0,
            "{path} after the end: {after:?}"
        );
    }
    scene.assert_restored(&scene.member(0)?, &shop.version("v2"))
}

/// While the test is under way, each kind of requests has its version, without an exception.
fn while_tested(scene: &Scene, streams: &[Stream]) -> Result<()> {
    let matched = "c1 to route what matches";
    scene.wait_run(&scene.name, 2, RUN_LIMIT, matched, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            let mut tracks = cluster.tracks.iter();
            tracks.any(|track| track.current.matched && track.current.iteration >= 1)
        })
    })?;
    each_answers_its_own(streams)?;
    let view = scene.run(&scene.name)?;
    let tracks = &cluster_view(&view, "c1")?.tracks;
    ensure!(
        tracks.iter().any(|track| track.phase == Phase::Progressing),
        "it was counted while the test was under way: {tracks:?}"
    );
    Ok(())
}

/// Each metric is shown of both groups, and judged by the new version's.
fn side_by_side(scene: &Scene) -> Result<()> {
    let what = "both metrics of both groups";
    scene.wait_run(&scene.name, 2, RUN_LIMIT, what, |view| {
        cluster_view(view, "c1").is_ok_and(|cluster| {
            let checks = cluster.tracks.iter().flat_map(|track| &track.checks);
            let of_both = checks.filter(|check| {
                check.verdict == Verdict::Pass && check.value.is_some() && check.stable.is_some()
            });
            let names: Vec<&str> = of_both.map(|check| check.metric.as_str()).collect();
            names == ["request-success-rate", "request-duration"]
        })
    })?;
    Ok(())
}

/// While nobody lets it be promoted, matches stay as they are.
fn while_closed(scene: &Scene, streams: &[Stream]) -> Result<()> {
    scene.in_phase(2, Phase::WaitingPromotion)?;
    each_answers_its_own(streams)?;
    let view = scene.run(&scene.name)?;
    let tracks = &cluster_view(&view, "c1")?.tracks;
    ensure!(
        tracks.iter().any(|track| {
            let mut waits = track.waiting_on.iter();
            track.phase == Phase::WaitingPromotion
                && track.current.matched
                && waits.any(|wait| wait.on.as_deref() == Some("hook/promote"))
        }),
        "the gate holds it: {tracks:?}"
    );
    Ok(())
}

/// Counts each kind of requests from now on: its version alone answers it.
fn each_answers_its_own(streams: &[Stream]) -> Result<()> {
    let from_ms = now_ms();
    for stream in streams {
        let counted = until(Duration::from_secs(30), "enough requests", || {
            let counted = tally(&stream.traffic.so_far()?, None, from_ms, now_ms());
            Ok((counted.total >= COUNTED).then_some(counted))
        })?;
        let answered = counted.by_version.get(stream.version).copied();
        ensure!(
            answered == Some(counted.total),
            "{} was not answered by {} alone: {counted:?}",
            stream.path,
            stream.version
        );
    }
    Ok(())
}
