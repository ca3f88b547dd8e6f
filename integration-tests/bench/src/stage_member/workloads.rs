//! P7: memory and processor time of the agent itself.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bellwether_integration_tests::process_figures::{
    cpu_of_threads, mib, peak_rss_kib, pss_kib, rss_kib, threads,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::Stage;
use crate::{
    member::{Member, NAMESPACE},
    report::Report,
};

/// Deployments of one application.
const EACH: usize = 10;
const INSTALL_LIMIT: Duration = Duration::from_secs(240);
/// How long the agent gets to come to rest before it is watched.
const SETTLE: Duration = Duration::from_secs(15);

/// Watches the agent without anything to do, and with workloads at rest.
///
/// # Errors
/// When workloads do not come up.
pub async fn measure(stage: &Stage<'_>, member: &Member, report: &mut Report) -> Result<()> {
    idle(
        stage,
        member,
        "P7 agent idle",
        "≤ 25 MiB",
        "connected, no application",
        report,
    )
    .await?;
    let count = stage.plan.workloads;
    let began = Instant::now();
    for first in (0..count).step_by(EACH) {
        stage
            .api
            .apply(application(first, count.min(first + EACH)))
            .await?;
    }
    wait_available(member, count).await?;
    let conditions = format!(
        "{} applications with {EACH} Deployments each, one replica each, played by kwok; all \
         available {:.0} s after the first was applied",
        count.div_ceil(EACH),
        began.elapsed().as_secs_f64()
    );
    let what = format!("P7 agent with {count} workloads");
    idle(
        stage,
        member,
        &what,
        "≤ 40 MiB (of 1,000 workloads)",
        &conditions,
        report,
    )
    .await
}

async fn idle(
    stage: &Stage<'_>,
    member: &Member,
    what: &str,
    target: &str,
    conditions: &str,
    report: &mut Report,
) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    let pid = member.pid()?;
    let (before, began) = (cpu_of_threads(pid)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(stage.plan.idle_seconds)).await;
    let used = cpu_of_threads(pid)?.saturating_sub(before);
    let millicores = used.as_secs_f64() / began.elapsed().as_secs_f64() * 1_000.0;
    report.add(
        &format!("{what}: RSS"),
        &mib(rss_kib(pid)?),
        target,
        &format!(
            "{conditions}; PSS {}, highest RSS so far {}, {} threads",
            mib(pss_kib(pid)?),
            mib(peak_rss_kib(pid)?),
            threads(pid)?
        ),
    );
    report.add(
        &format!("{what}: processor time"),
        &format!("{millicores:.1} m"),
        "≤ 5 m",
        &format!(
            "over {} s at rest; thousandths of one core",
            stage.plan.idle_seconds
        ),
    );
    Ok(())
}

fn application(first: usize, end: usize) -> String {
    let manifests: Vec<Value> = (first..end).map(deployment).collect();
    json!({
        "apiVersion": "bellwether.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": format!("workloads-{first:05}"), "namespace": "default"},
        "spec": {
            "destination": {"clusters": ["k1"]},
            "targetNamespace": NAMESPACE,
            "components": [{"name": "workloads", "manifests": manifests}],
        },
    })
    .to_string()
}

fn deployment(index: usize) -> Value {
    let name = format!("workload-{index:05}");
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "main",
                    "image": "bellwether.local/demo:v1",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "DEMO_GREETING", "value": "hello"}],
                }]},
            },
        },
    })
}

async fn wait_available(member: &Member, count: usize) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(member.client.clone(), NAMESPACE);
    let deadline = Instant::now() + INSTALL_LIMIT;
    loop {
        let found = api.list(&ListParams::default()).await?.items;
        let available = found
            .iter()
            .filter(|one| {
                one.status
                    .as_ref()
                    .and_then(|status| status.available_replicas)
                    == Some(1)
            })
            .count();
        if available >= count {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "only {available} of {count} Deployments became available, {} exist",
                found.len()
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
