//! P10: how long it takes from a verdict that fails to the route that carries no canary any more.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use bellwether_integration_tests::{
    lab::LabCluster, manifests::Shop, process::workspace_binary, traffic::Traffic, wait::until,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::block_in_place;

use super::{Stage, checks};
use crate::{latency::spread, member::administrator, observe::Watch, report::Report};

const IMAGE: &str = "bellwether.local/agent:bench";
const REQUESTS_PER_SECOND: u32 = 100;
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(120);
/// Runs at least: one figure says nothing of the next.
const MIN_RUNS: usize = 5;
/// One failed check is enough, so that the clock starts at it.
const ANALYSIS: &str = "{interval: 1s, failureThreshold: 1, metrics: [\
    {name: request-success-rate, range: {min: \"99\"}, window: 10s, minRequests: 20}]}";

/// Holds a good version while its checks are timed, then releases one that fails a fifth of its requests,
/// once per run.
///
/// # Errors
/// When a check or a way back does not come.
pub async fn measure(stage: &Stage<'_>, report: &mut Report) -> Result<()> {
    let cluster = stage.lab.cluster("c1")?;
    let runs = stage.plan.runs.max(MIN_RUNS);
    let names: Vec<String> = (0..runs).map(|run| format!("bench-{run}")).collect();
    let namespaces: Vec<String> = names
        .iter()
        .cloned()
        .chain([checks::HELD.to_owned()])
        .collect();
    block_in_place(|| register(stage, cluster, &namespaces))?;
    let client = administrator(cluster).await?;
    checks::measure(stage, &client, report).await?;
    let (mut patches, mut samples) = (Vec::new(), Vec::new());
    for name in &names {
        let watches = Watches {
            tracks: Watch::start(&client, "bellwether.dev/v1alpha1", "RolloutTrack", name),
            routes: Watch::start(&client, "gateway.networking.k8s.io/v1", "HTTPRoute", name),
        };
        let seen = one_run(stage, name, watches).await?;
        patches.push(millis(seen.verdict, seen.route));
        samples.push(millis(seen.sample, seen.route));
    }
    report.add(
        "P10 failing verdict → route patched",
        &format!("{} ms", spread(&patches, 0)),
        "≤ 250 ms",
        &format!(
            "from a watch on the member's API server that saw the failing check in the RolloutTrack to \
             one that saw the HTTPRoute with no weight on the canary; from the moment at which that \
             check began to ask Prometheus: {} ms; the agent is the pod that `register cluster` \
             installed, with a real gateway and {REQUESTS_PER_SECOND} requests/s; {runs} runs",
            spread(&samples, 0)
        ),
    );
    Ok(())
}

fn register(stage: &Stage<'_>, cluster: &LabCluster, namespaces: &[String]) -> Result<()> {
    stage
        .lab
        .load_image(IMAGE, &workspace_binary("bellwether-agent")?)?;
    let kubeconfig = cluster.kubeconfig.to_str().context("paths are UTF-8")?;
    let namespaces = namespaces.join(",");
    stage.cli.run(&[
        "register",
        "cluster",
        &cluster.name,
        "--kubeconfig",
        kubeconfig,
        "--namespaces",
        &namespaces,
        "--metrics-address",
        &cluster.prometheus_url,
        "--agent-image",
        IMAGE,
    ])?;
    Ok(())
}

struct Watches {
    tracks: Watch,
    routes: Watch,
}

struct Rollback {
    /// When the check that failed began.
    sample: Timestamp,
    /// When that check was seen in the track.
    verdict: Timestamp,
    /// When the route was seen without the canary.
    route: Timestamp,
}

fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1_000.0
}

/// A small application in the one cluster, judged every second.
pub(super) fn shop(name: &str) -> Shop {
    Shop {
        replicas: 2,
        strategy: "{canary: {weights: [50]}}".to_owned(),
        analysis: ANALYSIS.to_owned(),
        waves: String::new(),
        destination: "{clusters: [c1]}".to_owned(),
        ..Shop::new(name)
    }
}

async fn one_run(stage: &Stage<'_>, name: &str, watches: Watches) -> Result<Rollback> {
    let shop = shop(name);
    let traffic = block_in_place(|| {
        stage.cli.apply(&shop.documents())?;
        wait_run(stage, name, 1, "Succeeded")?;
        let out = stage
            .plan
            .directory
            .join(format!("member/traffic-{name}.jsonl"));
        start_traffic(stage, &shop, &out)
    })?;
    block_in_place(|| stage.cli.apply(&shop.version("v3").documents()))?;
    let rollback = tokio::time::timeout(RUN_LIMIT, observe(watches))
        .await
        .context("the canary was not rolled back in time")??;
    block_in_place(|| {
        wait_run(stage, name, 2, "Failed")?;
        traffic.stop()
    })?;
    Ok(rollback)
}

pub(super) fn start_traffic(stage: &Stage<'_>, shop: &Shop, out: &Path) -> Result<Traffic> {
    Traffic::start(stage.lab, &["c1"], &shop.host(), REQUESTS_PER_SECOND, out)
}

pub(super) fn wait_run(stage: &Stage<'_>, name: &str, revision: u64, state: &str) -> Result<()> {
    until(RUN_LIMIT, &format!("{name} to be {state}"), || {
        let view = stage.cli.json(&["get", "rollout", name]).ok();
        Ok(view
            .filter(|view| view["revision"] == revision && view["state"] == state)
            .map(|_| ()))
    })
}

/// Follows the track until a check has failed, and the route until it then carries no canary.
async fn observe(mut watches: Watches) -> Result<Rollback> {
    let (mut failed, mut without) = (None, None);
    loop {
        if let (Some((sample, verdict)), Some(route)) = (failed, without)
            && route >= sample
        {
            return Ok(Rollback {
                sample,
                verdict,
                route,
            });
        }
        tokio::select! {
            track = watches.tracks.next() => {
                let track = track.context("the watch on tracks ended")?;
                failed = failed.or(failed_check(&track.object).map(|at| (at, track.wall)));
            }
            route = watches.routes.next() => {
                let route = route.context("the watch on routes ended")?;
                // The canary may lose its traffic before, when none of its pods is ready.
                if canary_weight(&route.object) > 0 {
                    without = None;
                } else {
                    without = without.or(Some(route.wall));
                }
            }
        }
    }
}

fn failed_check(track: &Value) -> Option<Timestamp> {
    track["status"]["summary"]["checks"]
        .as_array()?
        .iter()
        .find(|check| check["verdict"] == "Fail")
        .and_then(|check| check["at"].as_str()?.parse().ok())
}

/// The weight of every backend that is not the application's own Service.
fn canary_weight(route: &Value) -> u64 {
    let rules = route["spec"]["rules"].as_array();
    rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["backendRefs"].as_array())
        .flatten()
        .filter(|backend| backend["name"] != "web")
        .map(|backend| backend["weight"].as_u64().unwrap_or(1))
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{canary_weight, failed_check};

    #[test]
    fn only_other_services_count_as_the_canary() {
        let route = json!({"spec": {"rules": [{"backendRefs": [
            {"name": "web", "weight": 50}, {"name": "web-canary", "weight": 50},
        ]}]}});
        assert_eq!(canary_weight(&route), 50);
        assert_eq!(canary_weight(&json!(null)), 0);
    }

    #[test]
    fn first_failed_check_is_found() {
        let track = json!({"status": {"summary": {"checks": [
            {"verdict": "Pass", "at": "2026-01-01T00:00:00Z"},
            {"verdict": "Fail", "at": "2026-01-01T00:00:01.5Z"},
        ]}}});
        let at = failed_check(&track).expect("there is one");
        assert_eq!(at.to_string(), "2026-01-01T00:00:01.5Z");
        assert!(failed_check(&json!({})).is_none());
    }
}
