//! P3: how long a change takes from the public API to the member's API server.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Stage;
use crate::{
    latency::{Latencies, of_runs},
    member::{Member, NAMESPACE},
    observe::Watch,
    report::Report,
};

/// Time between two changes.
const GAP: Duration = Duration::from_millis(200);
const LAST_LIMIT: Duration = Duration::from_secs(60);

/// Installs one application per change, then changes each once per run.
///
/// # Errors
/// When a change is refused or not seen.
pub async fn measure(stage: &Stage<'_>, member: &Member, report: &mut Report) -> Result<()> {
    let mut seen = Watch::start(&member.client, "v1", "ConfigMap", NAMESPACE);
    one_run(stage, &mut seen, 0).await?;
    let mut runs = Vec::new();
    for run in 1..=stage.plan.runs {
        runs.push(one_run(stage, &mut seen, run).await?);
    }
    report.add(
        "P3 change → applied in a real API server",
        &of_runs(&runs),
        "p99 ≤ 500 ms",
        &format!(
            "from the intended start of `POST /api/v1/apply` (a new release of an application with \
             one ConfigMap) to its new content seen by a watch on the member's API server; {} \
             changes a run, 5/s, to one cluster; the agent is a process with its ServiceAccount's \
             token; {} workloads in the cluster; {} runs",
            stage.plan.applies,
            if stage.plan.wants(crate::plan::Measure::P7) {
                stage.plan.workloads
            } else {
                0
            },
            runs.len()
        ),
    );
    Ok(())
}

/// An application with one ConfigMap.
pub fn application(name: &str, data: &Value) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": ["k1"]},
            "targetNamespace": NAMESPACE,
            "components": [{"name": "settings", "manifests": [{
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "data": data,
            }]}],
        },
    })
    .to_string()
}

async fn one_run(stage: &Stage<'_>, seen: &mut Watch, run: usize) -> Result<Latencies> {
    let count = stage.plan.applies;
    let began = Instant::now();
    let intended = |index: usize| began + GAP * u32::try_from(index).unwrap_or(u32::MAX);
    let mut requests = JoinSet::new();
    for index in 0..count {
        tokio::time::sleep_until(intended(index).into()).await;
        let body = application(&name(index), &json!({"run": run.to_string()}));
        let api = stage.api.clone();
        requests.spawn(async move { api.apply(body).await });
    }
    while let Some(done) = requests.join_next().await {
        done??;
    }
    let mut applied: BTreeMap<String, Instant> = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + LAST_LIMIT;
    let wanted = run.to_string();
    while applied.len() < count {
        match tokio::time::timeout_at(deadline, seen.next()).await {
            Ok(Some(object)) if object.object["data"]["run"] == wanted.as_str() => {
                applied.entry(object.name).or_insert(object.at);
            }
            Ok(Some(_)) => {}
            Ok(None) => bail!("the watch ended"),
            Err(_) => bail!(
                "only {} of {count} changes were seen in time",
                applied.len()
            ),
        }
    }
    let mut latencies = Latencies::new()?;
    for index in 0..count {
        if let Some(at) = applied.get(&name(index)) {
            latencies.record(at.saturating_duration_since(intended(index)));
        }
    }
    Ok(latencies)
}

fn name(index: usize) -> String {
    format!("bench-{index:05}")
}
