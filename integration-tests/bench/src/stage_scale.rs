//! What a large fleet asks of one hub, with simulated agents: one chart for all clusters, a storm of
//! agents that come back at once, and the shape that KubeFleet published figures of.

mod placements;
mod render;
mod rollouts;
mod storm;

use anyhow::Result;

use crate::{
    hub::Hub,
    plan::{Measure, Plan},
    report::Report,
};

/// Measures what the plan wants of this stage.
///
/// # Errors
/// When something does not start or breaks; what was measured before is in the report.
pub async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if plan.wants(Measure::Render) {
        render::measure(plan, report).await?;
    }
    if plan.wants(Measure::Storm) {
        storm::measure(plan, report).await?;
    }
    if plan.wants(Measure::KubeFleet) {
        placements::measure(plan, report).await?;
    }
    Ok(())
}

/// Starts a hub of its own for one measurement.
fn hub(plan: &Plan, name: &str, arguments: Vec<String>) -> Result<Hub> {
    let data = plan.directory.join(name);
    let _absent = std::fs::remove_dir_all(&data);
    Hub::start_with(data, "127.0.0.1", arguments)
}
