//! P2: how long a change takes from the public API to the acknowledgement of the one cluster that
//! it is meant for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    api::Api,
    hub::Hub,
    latency::{Latencies, of_runs, spread},
    plan::Plan,
    report::Report,
    simulated::{Acknowledged, Fleet, cluster_name},
};

const TARGET: &str = "p50 ≤ 50, p99 ≤ 250 ms (10,000 agents)";
/// How long the last acknowledgement of a run may take.
const LAST_LIMIT: Duration = Duration::from_secs(60);

/// Changes a second of the run that shows the way of a change alone.
const CALM_RATE: u32 = 5;
const CALM_CHANGES: usize = 100;

/// How fast changes are made, and how many.
#[derive(Clone, Copy)]
struct Pace {
    rate: u32,
    changes: usize,
}

struct Run {
    whole: Latencies,
    committed: Latencies,
    answers: Latencies,
    last: Duration,
    cores: [f64; 3],
    payload: usize,
    packed: usize,
}

/// Installs one small application per change, then changes each once per run.
///
/// # Errors
/// When changes are refused or not acknowledged.
pub async fn measure(plan: &Plan, hub: &Hub, fleet: &mut Fleet, report: &mut Report) -> Result<()> {
    fleet.connect().await?;
    let api = hub.api()?;
    let mut revision = 1;
    let paced = Pace {
        rate: plan.rate,
        changes: plan.changes,
    };
    let install = one_run(paced, hub, &api, fleet, revision).await?;
    let mut runs = Vec::new();
    for _ in 0..plan.runs {
        revision += 1;
        runs.push(one_run(paced, hub, &api, fleet, revision).await?);
    }
    let calm = Pace {
        rate: CALM_RATE,
        changes: plan.changes.min(CALM_CHANGES),
    };
    let unloaded = one_run(calm, hub, &api, fleet, revision + 1).await?;
    fleet.check_connected()?;
    let broken = fleet.take_broken();
    fleet.disconnect().await;
    show(plan, fleet.len(), &install, &runs, broken, report);
    report.add(
        "P2 change → ack, one at a time",
        &of_runs(std::slice::from_ref(&unloaded.whole)),
        TARGET,
        &format!(
            "the same at {CALM_RATE}/s, {} changes, one run",
            calm.changes
        ),
    );
    Ok(())
}

fn show(
    plan: &Plan,
    agents: usize,
    install: &Run,
    runs: &[Run],
    broken: usize,
    report: &mut Report,
) {
    let column =
        |of: fn(&Run) -> &Latencies| runs.iter().map(|run| of(run).clone()).collect::<Vec<_>>();
    let (count, rate) = (plan.changes, plan.rate);
    let last: Vec<f64> = runs
        .iter()
        .map(|run| run.last.as_secs_f64() * 1_000.0)
        .collect();
    let cores = |index: usize| {
        spread(
            &runs
                .iter()
                .map(|run| run.cores[index])
                .collect::<Vec<f64>>(),
            2,
        )
    };
    let first = runs.first().unwrap_or(install);
    report.add(
        "P2 change → ack",
        &of_runs(&column(|run| &run.whole)),
        TARGET,
        &format!(
            "from the intended start of `POST /api/v1/apply` (a new release of an application with \
             one ConfigMap, meant for one cluster by name) to the moment at which that agent has \
             checked the root and sent its Ack; {rate} changes/s, {count} changes a run over \
             {agents} connected agents, every release also reported Succeeded; {} B of request, {} B \
             of bundle on the wire; {} runs; {broken} sessions broke; cores: hub {}, Postgres {}, \
             generator {}",
            first.payload,
            first.packed,
            runs.len(),
            cores(0),
            cores(1),
            cores(2)
        ),
    );
    report.add(
        "P2 change committed → ack",
        &of_runs(&column(|run| &run.committed)),
        TARGET,
        "from the API's answer, which comes after the commit of the record, to the same Ack; 0 where \
         the Ack came before the answer was read",
    );
    report.add(
        "P2 the API's answer",
        &of_runs(&column(|run| &run.answers)),
        "",
        &format!(
            "from the intended start; the last ack {} ms after the last start",
            spread(&last, 0)
        ),
    );
    report.add(
        "P2 first install → ack",
        &of_runs(std::slice::from_ref(&install.whole)),
        TARGET,
        &format!("the run before those: {count} new applications at {rate}/s"),
    );
}

fn application(index: usize, agents: usize, revision: u64) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name(index), "namespace": "default"},
        "spec": {
            "destination": {"clusters": [cluster_name(index % agents)]},
            "components": [{"name": "settings", "manifests": [{
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name(index), "namespace": "default"},
                "data": {"revision": revision.to_string(), "greeting": "hello"},
            }]}],
        },
    })
    .to_string()
}

fn name(index: usize) -> String {
    format!("bench-{index:05}")
}

/// Sends one change of every application at this pace and waits for every acknowledgement.
async fn one_run(
    pace: Pace,
    hub: &Hub,
    api: &Api,
    fleet: &mut Fleet,
    revision: u64,
) -> Result<Run> {
    let gap = Duration::from_secs(1) / pace.rate.max(1);
    let before = hub.cpu()?;
    let began = Instant::now();
    let intended = |index: usize| began + gap * u32::try_from(index).unwrap_or(u32::MAX);
    let mut requests = JoinSet::new();
    let mut payload = 0;
    for index in 0..pace.changes {
        tokio::time::sleep_until(intended(index).into()).await;
        let body = application(index, fleet.len(), revision);
        payload = body.len();
        let api = api.clone();
        requests.spawn(async move {
            api.apply(body).await?;
            anyhow::Ok((index, Instant::now()))
        });
    }
    let mut answered = BTreeMap::new();
    while let Some(done) = requests.join_next().await {
        let (index, at) = done??;
        answered.insert(index, at);
    }
    let heard = acknowledgements(fleet, pace.changes, revision).await?;
    let cores = hub.cpu()?.cores_since(&before);
    let mut run = Run {
        whole: Latencies::new()?,
        committed: Latencies::new()?,
        answers: Latencies::new()?,
        last: Duration::ZERO,
        cores,
        payload,
        packed: 0,
    };
    let last_start = intended(pace.changes.saturating_sub(1));
    for (index, answer) in answered {
        let ack = heard
            .get(&name(index))
            .context("every change was acknowledged")?;
        run.whole
            .record(ack.at.saturating_duration_since(intended(index)));
        run.committed
            .record(ack.at.saturating_duration_since(answer));
        run.answers
            .record(answer.saturating_duration_since(intended(index)));
        run.last = run.last.max(ack.at.saturating_duration_since(last_start));
        run.packed = run.packed.max(ack.packed_bytes);
    }
    Ok(run)
}

async fn acknowledgements(
    fleet: &mut Fleet,
    count: usize,
    revision: u64,
) -> Result<BTreeMap<String, Acknowledged>> {
    let mut heard = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + LAST_LIMIT;
    while heard.len() < count {
        match tokio::time::timeout_at(deadline, fleet.acknowledged.recv()).await {
            Ok(Some(ack)) if ack.revision == revision => {
                heard.entry(ack.application.clone()).or_insert(ack);
            }
            Ok(Some(_)) => {}
            Ok(None) => bail!("the agents are gone"),
            Err(_) => bail!(
                "only {} of {count} changes were acknowledged in time",
                heard.len()
            ),
        }
    }
    Ok(heard)
}
