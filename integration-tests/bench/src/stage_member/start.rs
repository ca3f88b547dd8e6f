//! P9: how long the agent takes from its start to its first repair.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Stage, apply::application};
use crate::{
    latency::spread,
    member::{Member, NAMESPACE},
    observe::{Watch, dynamic},
    report::Report,
};

const NAME: &str = "bench-drift";
const LIMIT: Duration = Duration::from_secs(60);

/// Changes an object behind the stopped agent's back and starts the agent.
///
/// # Errors
/// When the agent does not repair it.
pub async fn measure(stage: &Stage<'_>, member: &mut Member, report: &mut Report) -> Result<()> {
    let mut seen = Watch::start(&member.client, "v1", "ConfigMap", NAMESPACE);
    stage
        .api
        .apply(application(NAME, &json!({"greeting": "hello"})))
        .await?;
    wait_for(&mut seen, "hello").await?;
    let objects = dynamic(&member.client, "v1", "ConfigMap", NAMESPACE);
    let (mut ready, mut repaired) = (Vec::new(), Vec::new());
    for _ in 0..stage.plan.runs {
        // The record of what was applied is written after the object itself.
        wait_reported(stage).await?;
        tokio::task::block_in_place(|| member.stop())?;
        let edit = json!({"data": {"greeting": "edited"}});
        let parameters = PatchParams {
            field_manager: Some("kubectl-edit".into()),
            ..PatchParams::default()
        };
        objects
            .patch(NAME, &parameters, &Patch::Merge(&edit))
            .await?;
        wait_for(&mut seen, "edited").await?;
        let began = member.start()?;
        ready.push(millis(tokio::task::block_in_place(|| {
            wait_ready(member, began)
        })?));
        repaired.push(millis(
            wait_for(&mut seen, "hello")
                .await?
                .saturating_duration_since(began),
        ));
        member.wait_connected(&stage.api).await?;
    }
    let workloads = if stage.plan.wants(crate::plan::Measure::P7) {
        stage.plan.workloads
    } else {
        0
    };
    report.add(
        "P9 agent: process start → first reconcile",
        &format!("{} ms", spread(&repaired, 0)),
        "≤ 2000 ms",
        &format!(
            "an enrolled agent that was stopped; a ConfigMap was edited meanwhile, and this is when \
             a watch saw it corrected; {workloads} workloads in the cluster; /readyz after {} ms; {} \
             runs",
            spread(&ready, 0),
            stage.plan.runs
        ),
    );
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

async fn wait_for(seen: &mut Watch, greeting: &str) -> Result<Instant> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let next = tokio::time::timeout_at(deadline, seen.next())
            .await
            .with_context(|| format!("{NAME} did not come to say {greeting} in time"))?;
        let object = next.context("the watch ended")?;
        if object.name == NAME && object.object["data"]["greeting"] == greeting {
            return Ok(object.at);
        }
    }
}

/// Waits until the hub knows that the application runs.
async fn wait_reported(stage: &Stage<'_>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = tokio::task::block_in_place(|| stage.cli.json(&["get", "rollout", NAME]));
        match answer {
            Ok(view) if view["state"] == "Succeeded" => return Ok(()),
            Ok(view) if Instant::now() > deadline => bail!("{NAME} is {}", view["state"]),
            Err(error) if Instant::now() > deadline => return Err(error),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn wait_ready(member: &Member, began: Instant) -> Result<Duration> {
    while !member.is_ready() {
        if began.elapsed() > LIMIT {
            bail!("the agent did not become ready");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(began.elapsed())
}
