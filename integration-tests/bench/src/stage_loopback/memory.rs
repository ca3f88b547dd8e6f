//! P1: what one connected idle agent costs the hub.

use std::time::Duration;

use anyhow::Result;
use bellwether_integration_tests::process_figures::{rss_kib, threads};

use crate::{hub::Hub, plan::Plan, report::Report, simulated::Fleet};

/// How long the hub gets to come to rest before its memory is read.
const SETTLE: Duration = Duration::from_secs(10);
const TARGET: &str = "≤ 40 KiB (of 10,000)";

/// Measures memory before, with all, after a full reconnect and after all have left, and idle CPU.
///
/// # Errors
/// When agents do not stay connected.
pub async fn measure(
    plan: &Plan,
    hub: &mut Hub,
    fleet: &mut Fleet,
    report: &mut Report,
) -> Result<()> {
    // Started afresh, so that memory left over from enrolment does not hide the sessions' own.
    hub.stop()?;
    hub.start_again()?;
    tokio::time::sleep(SETTLE).await;
    let empty = rss_kib(hub.pid()?)?;
    let agents = fleet.len();
    fleet.connect().await?;
    tokio::time::sleep(SETTLE).await;
    let before = hub.cpu()?;
    tokio::time::sleep(Duration::from_secs(plan.idle_seconds)).await;
    let [own, postgres, generator] = hub.cpu()?.cores_since(&before);
    fleet.check_connected()?;
    let full = rss_kib(hub.pid()?)?;
    let running = threads(hub.pid()?)?;
    fleet.disconnect().await;
    let again = fleet.connect().await?;
    tokio::time::sleep(SETTLE).await;
    let reconnected = rss_kib(hub.pid()?)?;
    fleet.disconnect().await;
    tokio::time::sleep(SETTLE).await;
    let left = rss_kib(hub.pid()?)?;
    let conditions = format!(
        "{agents} agents with mutual TLS, one session each, a beat every 15 s; RSS of the hub \
         process {} MiB before, {} MiB with all of them; {running} threads; {} sessions broke",
        empty / 1024,
        full / 1024,
        fleet.take_broken()
    );
    report.add(
        "P1 memory per connected idle agent",
        &each(empty, full, agents),
        TARGET,
        &conditions,
    );
    report.add(
        "P1 the same after one full reconnect",
        &each(empty, reconnected, agents),
        TARGET,
        &format!(
            "RSS {} MiB; all {agents} came back in {:.2} s, 64 handshakes at once",
            reconnected / 1024,
            again.as_secs_f64()
        ),
    );
    report.add(
        "P1 hub's RSS 10 s after all have left",
        &format!("{} MiB", left / 1024),
        "< 100 MiB (of 10,000)",
        "",
    );
    report.add(
        "P1 idle processor time of the hub",
        &format!("{own:.3} cores"),
        "≤ 0.1 cores (of 10,000)",
        &format!(
            "over {} s with all connected; its Postgres {postgres:.3}, generator {generator:.3}",
            plan.idle_seconds
        ),
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB fits 52 bits")]
fn each(before: u64, after: u64, agents: usize) -> String {
    format!("{:.1} KiB", (after as f64 - before as f64) / agents as f64)
}
