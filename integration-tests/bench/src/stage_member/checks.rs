//! P10: how long it takes from the sample of a check to its verdict, for every check of a step that is
//! held.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::manifests::Shop;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::block_in_place;

use super::{
    Stage,
    rollback::{RUN_LIMIT, shop, start_traffic, wait_run},
};
use crate::{
    latency::{Latencies, of_runs},
    observe::{Seen, Watch},
    report::Report,
};

/// The application whose step is held, and the namespace that it runs in.
pub const HELD: &str = "bench-held";
/// Checks that a p99 rests on.
const CHECKS: u64 = 250;
/// They come every second.
const CHECKS_LIMIT: Duration = Duration::from_secs(2 * CHECKS);

/// Holds a good version at half of the traffic until enough checks were made.
///
/// # Errors
/// When the checks do not come, or the run does not end well.
pub async fn measure(stage: &Stage<'_>, client: &kube::Client, report: &mut Report) -> Result<()> {
    let held = Shop {
        strategy: "{canary: {steps: [{weight: 50}]}}".to_owned(),
        ..shop(HELD)
    };
    let tracks = Watch::start(client, "bellwether.dev/v1alpha1", "RolloutTrack", HELD);
    let traffic = block_in_place(|| {
        stage.cli.apply(&held.documents())?;
        wait_run(stage, HELD, 1, "Succeeded")?;
        let out = stage.plan.directory.join("member/traffic-held.jsonl");
        start_traffic(stage, &held, &out)
    })?;
    block_in_place(|| stage.cli.apply(&held.version("v2").documents()))?;
    let taken = tokio::time::timeout(RUN_LIMIT + CHECKS_LIMIT, take(tracks))
        .await
        .with_context(|| format!("there were fewer than {CHECKS} checks in time"))??;
    block_in_place(|| {
        stage.cli.run(&["rollout", "approve", HELD])?;
        wait_run(stage, HELD, 2, "Succeeded")?;
        traffic.stop()
    })?;
    report.add(
        "P10 sample → verdict",
        &of_runs(std::slice::from_ref(&taken.latencies)),
        "p99 ≤ 100 ms",
        &format!(
            "from the moment at which a check began to ask Prometheus (its `at` in the RolloutTrack) to \
             a watch on the member's API server that saw it in the track with its verdict; {CHECKS} \
             checks, one a second, of a step that is held; {} of them passed",
            taken.passed
        ),
    );
    Ok(())
}

struct Taken {
    latencies: Latencies,
    /// How many of the checks passed; the others knew too little.
    passed: u64,
}

/// Takes in every check once, as it is first seen.
async fn take(mut tracks: Watch) -> Result<Taken> {
    let mut taken = Taken {
        latencies: Latencies::new()?,
        passed: 0,
    };
    let (mut last, mut count) = (None, 0);
    while count < CHECKS {
        let seen = tracks.next().await.context("the watch on tracks ended")?;
        let Some((at, verdict)) = newest_check(&seen).filter(|(at, _)| last < Some(*at)) else {
            continue;
        };
        ensure!(verdict != "Fail", "the good version failed a check");
        taken.latencies.record(since(at, seen.wall));
        taken.passed += u64::from(verdict == "Pass");
        count += 1;
        last = Some(at);
    }
    Ok(taken)
}

/// When the check that a track shows was made, and its verdict; `None` = it shows none.
fn newest_check(seen: &Seen) -> Option<(Timestamp, &str)> {
    let checks: &Vec<Value> = seen.object["status"]["summary"]["checks"].as_array()?;
    let check = checks.first()?;
    Some((
        check["at"].as_str()?.parse().ok()?,
        check["verdict"].as_str()?,
    ))
}

/// 0 where the clocks of agent and watch differ by more than the time between.
fn since(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}
