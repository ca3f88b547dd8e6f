//! A/B tests by what else a request has than headers, under traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    fixture::cluster_view,
    manifests::Shop,
    traffic::{Requests, Traffic, tally},
    wait::until,
    weights::now_ms,
};

use crate::{
    Case,
    scene::{RUN_LIMIT, Scene},
};

/// Judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "sc_k4_ab_by_path_query_and_method_loses_no_request",
    "abpath",
    by_path_query_and_method,
)];

/// Requests a second of each kind; together more than 200.
const RATE: u32 = 60;
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
    let shop = Shop {
        pre_stop_seconds: 3,
        strategy: "{abTest: {iterations: 9, match: [\
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
    let view = scene.run(&scene.name)?;
    let tracks = &cluster_view(&view, "c1")?.tracks;
    ensure!(
        tracks.iter().any(|track| track.phase == Phase::Progressing),
        "it was counted while the test was under way: {tracks:?}"
    );
    Ok(())
}
