//! One hub on loopback with simulated agents: P1, P2 and the hub's part of P9.

mod delivery;
mod memory;

use std::time::Instant;

use anyhow::Result;

use crate::{
    hub::Hub,
    latency::spread,
    plan::{Measure, Plan},
    report::Report,
    simulated::Fleet,
};

/// Measures what the plan wants of this stage.
///
/// # Errors
/// When something does not start or breaks; what was measured before is in the report.
pub async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if ![Measure::P1, Measure::P2, Measure::P9]
        .iter()
        .any(|measure| plan.wants(*measure))
    {
        return Ok(());
    }
    let data = plan.directory.join("loopback");
    let _absent = std::fs::remove_dir_all(&data);
    let mut hub = Hub::start(data, "127.0.0.1")?;
    let began = Instant::now();
    let mut fleet = Fleet::enrol(&hub, plan.agents, plan.agents).await?;
    let per_second = per_second(fleet.len(), began);
    report.add(
        "enrolments",
        &format!("{per_second:.0}/s"),
        "≥ 300/s (P13)",
        &format!(
            "{} in a row, 64 at once: join token by the API, key, CSR, Enrol",
            fleet.len()
        ),
    );
    if plan.wants(Measure::P1) {
        memory::measure(plan, &mut hub, &mut fleet, report).await?;
    }
    if plan.wants(Measure::P2) {
        delivery::measure(plan, &hub, &mut fleet, report).await?;
    }
    if plan.wants(Measure::P9) {
        cold_start(plan, &mut hub, &fleet, report)?;
    }
    hub.stop()
}

#[expect(clippy::cast_precision_loss, reason = "agents are few")]
fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

fn cold_start(plan: &Plan, hub: &mut Hub, fleet: &Fleet, report: &mut Report) -> Result<()> {
    let mut runs = Vec::new();
    for _ in 0..plan.runs {
        hub.stop()?;
        runs.push(hub.start_again()?.as_secs_f64() * 1_000.0);
    }
    let applications = if plan.wants(Measure::P2) {
        plan.changes
    } else {
        0
    };
    report.add(
        "P9 hub: process start → /readyz",
        &format!("{} ms", spread(&runs, 0)),
        "≤ 5000 ms (of 10,000 clusters)",
        &format!(
            "{} registered clusters, {applications} applications, after a clean stop; its own \
             Postgres starts within this time; {} runs",
            fleet.len(),
            plan.runs
        ),
    );
    Ok(())
}
