//! Agents that come back all at once, as after the hub was away.

use anyhow::Result;
use bellwether_integration_tests::process_figures::{peak_rss_kib, rss_kib};

use super::hub;
use crate::{plan::Plan, report::Report, simulated::Fleet};

/// Connects every agent at once, to a hub that has just started.
///
/// # Errors
/// When not all are welcomed.
pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut hub = hub(plan, "storm", Vec::new())?;
    let mut fleet = Fleet::enrol(&hub, plan.storm_agents, plan.storm_agents).await?;
    // Memory left over from enrolment is not the storm's.
    hub.stop()?;
    hub.start_again()?;
    let before = hub.cpu()?;
    let took = fleet.connect_all_at_once().await?;
    let [own, postgres, generator] = hub.cpu()?.cores_since(&before);
    let pid = hub.pid()?;
    report.add(
        &format!("{} agents reconnect at once", fleet.len()),
        &format!("{:.1} s", took.as_secs_f64()),
        "",
        &format!(
            "every agent begins its handshake at the same moment, full TLS 1.3 handshakes, to a hub \
             that has just started; until the last one is welcomed; one whose attempt fails tries \
             again after 0.5 s, {} did; cores: hub {own:.2}, Postgres {postgres:.2}, generator \
             {generator:.2}; the hub's RSS {} MiB, {} MiB at most",
            fleet.take_broken(),
            rss_kib(pid)? / 1_024,
            peak_rss_kib(pid)? / 1_024
        ),
    );
    fleet.check_connected()?;
    fleet.disconnect().await;
    hub.stop()
}
