//! Decisions alone, without a hub: choosing clusters and planning waves of a large fleet (P11).

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bellwether_api::{
    application::{Destination, Wave},
    cluster::NodeProperties,
    placement::PlacementPolicy,
    selector::Selector,
};
use bellwether_hub_core::{
    placement::{Choice, ClusterFacts, Properties, Scheduling, Standing, choose},
    plan::{PlanInput, freeze},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    plan::{Measure, Plan},
    report::Report,
};

/// Waves by selector, each with as many clusters as any other.
const WAVES: u128 = 20;
const TARGET_MS: f64 = 100.0;

/// Measures what the plan wants of this stage.
///
/// # Errors
/// When a decision is refused.
pub fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if !plan.wants(Measure::P11) {
        return Ok(());
    }
    let clusters = fleet(plan.clusters as u128);
    let count = plan.clusters;
    let some = u32::try_from(count.div_ceil(10)).unwrap_or(u32::MAX);
    let destination = Destination {
        selector: Some(Selector::default()),
        ..Destination::default()
    };
    let spread: PlacementPolicy = serde_json::from_value(json!({
        "pick": "N", "count": some,
        "affinity": [
            {"property": "KubernetesVersion", "operator": "AtLeast", "values": ["1.31"]},
            {"property": "ApiKinds", "operator": "In", "values": ["kind-299"]}],
        "spread": [{"by": "region", "max": 100}],
        "scores": [{"property": "AllocatableCpu"}]}))
    .context("the policy")?;
    let nobody = Standing::default();
    let everybody = Standing {
        holding: clusters
            .iter()
            .map(|cluster| cluster.id)
            .collect::<BTreeSet<_>>(),
        ..Standing::default()
    };
    for (what, policy, standing) in [
        (format!("choose all of {count} clusters"), None, &everybody),
        (
            format!("choose {some} of {count} clusters anew"),
            Some(&spread),
            &nobody,
        ),
    ] {
        let choice = Choice {
            destination: &destination,
            policy,
            fleet: None,
            clusters: &clusters,
            standing,
        };
        let took = median(plan.runs, || {
            choose(choice).map(|chosen| chosen.verdicts.len())
        })?;
        add(
            report,
            &what,
            took,
            "",
            "two requirements on properties, spread over 20 regions, by score, where some are chosen; pure decisions, one thread",
        );
    }
    let waves = waves()?;
    let input = PlanInput {
        waves: &waves,
        on_failure: None,
        clusters: &clusters,
        fleet_max_concurrent: None,
        install: false,
        governed: true,
        by_hand: &[],
        may_lose: 0,
    };
    let took = median(plan.runs, || freeze(input).map(|plan| plan.waves.len()))?;
    add(
        report,
        &format!("P11 plan waves of {count} clusters"),
        took,
        "≤ 100 ms (of 10,000)",
        "20 waves, each by a selector with two requirements; pure decisions, one thread",
    );
    Ok(())
}

fn add(report: &mut Report, what: &str, took: Duration, target: &str, conditions: &str) {
    let took_ms = took.as_secs_f64() * 1_000.0;
    let missed = !target.is_empty() && took_ms > TARGET_MS;
    let note = if missed { " (missed)" } else { "" };
    report.add(what, &format!("{took_ms:.1} ms{note}"), target, conditions);
}

/// The median of some runs after one that does not count.
fn median<T, E>(runs: usize, mut decide: impl FnMut() -> Result<T, E>) -> Result<Duration>
where
    E: std::error::Error + Send + Sync + 'static,
{
    black_box(decide()?);
    let mut all = Vec::new();
    for _ in 0..runs.max(1) {
        let began = Instant::now();
        black_box(decide()?);
        all.push(began.elapsed());
    }
    all.sort_unstable();
    Ok(all[all.len() / 2])
}

fn waves() -> Result<Vec<Wave>> {
    let waves = (0..WAVES).map(|number| {
        serde_json::from_value(json!({
            "name": format!("wave-{number}"),
            "selector": {
                "matchLabels": {"ring": number.to_string()},
                "matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["test", "dev"]}]},
            "maxConcurrent": "10%"}))
    });
    waves.collect::<Result<_, _>>().context("the waves")
}

fn fleet(count: u128) -> Vec<ClusterFacts> {
    let kinds: Arc<[String]> = (0..300).map(|number| format!("kind-{number}")).collect();
    (0..count)
        .map(|number| ClusterFacts {
            id: Uuid::from_u128(number),
            name: format!("cluster-{number:05}"),
            labels: BTreeMap::from([
                ("ring".to_owned(), (number % WAVES).to_string()),
                ("region".to_owned(), format!("region-{}", number % 20)),
                ("env".to_owned(), "prod".to_owned()),
                ("team".to_owned(), format!("team-{}", number % 50)),
            ]),
            metrics: None,
            traffic: Vec::new(),
            scheduling: Arc::new(Scheduling {
                properties: Properties {
                    kubernetes_version: Some(format!("v1.{}.3", 30 + number % 4)),
                    api_kinds: Arc::clone(&kinds),
                    nodes: Some(NodeProperties {
                        ready: 3,
                        allocatable_cpu_milli: u64::try_from(number % 977).unwrap_or_default(),
                        ..NodeProperties::default()
                    }),
                },
                ..Scheduling::default()
            }),
        })
        .collect()
}
