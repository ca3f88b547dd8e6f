//! Rollouts of three stages: one at a time, then many at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::task::JoinSet;

use super::placements::{Scene, name};
use crate::{hub::Hub, latency::Latencies, plan::Plan, report::Report};

/// Rollouts that are made one at a time.
const ALONE: usize = 10;

/// The revision that a placement has once all rollouts are over.
pub(super) fn last_revision(plan: &Plan, placement: usize) -> u64 {
    let (alone, at_once) = counts(plan);
    1 + u64::from(placement < alone) + u64::from(placement < at_once)
}

fn counts(plan: &Plan) -> (usize, usize) {
    let at_once = plan.placement_rollouts.min(plan.placements);
    (ALONE.min(at_once), at_once)
}

/// Rolls a change out, once for each of some placements and then for many at once.
///
/// # Errors
/// When one is not everywhere in time.
pub(super) async fn measure(scene: &mut Scene<'_>, hub: &Hub, report: &mut Report) -> Result<()> {
    let (alone, at_once) = counts(scene.plan);
    let mut latencies = Latencies::new()?;
    for placement in 0..alone {
        let took = roll(scene, placement..placement + 1, |_| 2).await?;
        took.into_iter().for_each(|took| latencies.record(took));
    }
    let what = format!("rollout of {} clusters in 3 stages", scene.each);
    let conditions = "a new revision of one ConfigMap, stages by label, half of a stage's clusters at \
                      once, no gates, agents report Succeeded at once; from the start of `POST \
                      /api/v1/apply` to the last cluster's Ack";
    report.add(
        &format!("{what}, one at a time"),
        &latencies.with_p90(),
        "KubeFleet: p90 96 s",
        &format!("{conditions}; {alone} rollouts"),
    );
    let before = hub.cpu()?;
    let mut latencies = Latencies::new()?;
    // Those that were rolled out alone are a revision ahead.
    let next = |placement| if placement < alone { 3 } else { 2 };
    let took = roll(scene, 0..at_once, next).await?;
    took.into_iter().for_each(|took| latencies.record(took));
    let [own, postgres, generator] = hub.cpu()?.cores_since(&before);
    report.add(
        &format!("{what}, {at_once} at once"),
        &latencies.with_p90(),
        "KubeFleet: 135 s",
        &format!(
            "{conditions}; all asked for at the same moment; cores: hub {own:.2}, Postgres \
             {postgres:.2}, generator {generator:.2}; KubeFleet's agent took 5 cores and its API \
             server 13"
        ),
    );
    Ok(())
}

/// Rolls these placements out at once, each to its own next revision; gives how long each took.
async fn roll(
    scene: &mut Scene<'_>,
    placements: std::ops::Range<usize>,
    revision: impl Fn(usize) -> u64,
) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let mut requests = JoinSet::new();
    let mut wanted = BTreeMap::new();
    for placement in placements {
        let revision = revision(placement);
        wanted.insert(name(placement), revision);
        let (api, document) = (scene.api.clone(), scene.document(placement, revision));
        requests.spawn(async move { api.apply(document).await });
    }
    while let Some(done) = requests.join_next().await {
        done??;
    }
    let whole = scene.delivered(&wanted).await?;
    let took = |at: &Instant| at.saturating_duration_since(began);
    Ok(whole.values().map(took).collect())
}
