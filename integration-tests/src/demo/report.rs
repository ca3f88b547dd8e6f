//! What the demo measured from outside.

use anyhow::{Result, bail};
use bellwether_api::{
    status::Phase,
    view::{ClusterPhase, RunView},
};

use crate::{
    demo::{heading, stage::Release},
    traffic::{Second, tally},
    weights::{Look, spans},
};

/// Reports a release that went through.
///
/// # Errors
/// When a request failed, or a share is off its weight.
pub fn good(release: &Release, seconds: &[Second]) -> Result<()> {
    heading(&format!(
        "what was measured while {} went out",
        release.version
    ));
    println!(
        "  {:<10}{:>8}{:>12}{:>10}{:>8}",
        "CLUSTER", "WEIGHT", "SHARE OF V2", "REQUESTS", "FAILED"
    );
    let mut off = Vec::new();
    for cluster in ["c1", "c2", "c3"] {
        for span in spans(&release.looks, cluster) {
            let counts = tally(seconds, Some(cluster), span.from_ms, span.to_ms);
            let share = counts.share_percent(&release.version);
            println!(
                "  {cluster:<10}{:>7}%{share:>11.1}%{:>10}{:>8}",
                span.weight, counts.total, counts.failed
            );
            if counts.total >= 500 && (share - f64::from(span.weight)).abs() > 5.0 {
                off.push(format!("{cluster} at {}%: {share:.1}%", span.weight));
            }
        }
    }
    for wave in &release.view.waves {
        let took = wave_seconds(&release.looks, wave.index);
        println!(
            "  wave {:<8} {} of {} clusters in {took:.0} s",
            wave.name, wave.done, wave.total
        );
    }
    let (from, to) = span_of(&release.looks);
    let all = tally(seconds, None, from - 1_000, to + 1_000);
    println!(
        "  in all     {} requests, {} failed; {:.0} s from apply to done",
        all.total,
        all.failed,
        release.took.as_secs_f32()
    );
    if all.failed > 0 {
        bail!("{} requests failed: {:?}", all.failed, all.failures);
    }
    if !off.is_empty() {
        bail!("shares are off their weights: {}", off.join(", "));
    }
    Ok(())
}

/// Reports a release that was rolled back.
///
/// # Errors
/// When another cluster than the first was touched, or the old version does not serve everything.
pub fn bad(release: &Release, seconds: &[Second], restored_ms: i64) -> Result<()> {
    heading(&format!("what was measured of {}", release.version));
    let first = tally(seconds, Some("c1"), 0, i64::MAX);
    let reached = first.by_version.get(&release.version).copied().unwrap_or(0);
    println!(
        "  c1: {reached} requests reached {}, then it was rolled back",
        release.version
    );
    if reached == 0 {
        bail!(
            "{} never got traffic, so its metrics were never judged",
            release.version
        );
    }
    for cluster in ["c2", "c3"] {
        let reached = tally(seconds, Some(cluster), 0, i64::MAX);
        let reached = reached
            .by_version
            .get(&release.version)
            .copied()
            .unwrap_or(0);
        println!(
            "  {cluster}: {reached} requests reached {}",
            release.version
        );
        if reached > 0 || !untouched(&release.view, cluster) {
            bail!("{cluster} must not have been touched");
        }
    }
    let after = tally(seconds, None, restored_ms, i64::MAX);
    println!(
        "  after the rollback: v2 serves {:.1} % of {} requests, {} failed",
        after.share_percent("v2"),
        after.total,
        after.failed
    );
    if after.total == 0 || after.failed > 0 || after.share_percent("v2") < 100.0 {
        bail!("v2 must serve everything after the rollback: {after:?}");
    }
    Ok(())
}

fn untouched(view: &RunView, cluster: &str) -> bool {
    view.waves
        .iter()
        .flat_map(|wave| &wave.clusters)
        .all(|seen| {
            seen.name != cluster
                || matches!(seen.state, ClusterPhase::Queued | ClusterPhase::Skipped)
        })
}

fn span_of(looks: &[Look]) -> (i64, i64) {
    let from = looks.first().map_or(0, |look| look.at_ms);
    let to = looks.last().map_or(0, |look| look.at_ms);
    (from, to)
}

/// Seconds from the first sign of life in a wave to its last cluster's success.
#[expect(clippy::cast_precision_loss, reason = "spans of a demo are minutes")]
fn wave_seconds(looks: &[Look], wave: u32) -> f64 {
    let of_wave = || looks.iter().filter(|look| look.wave == wave);
    let from = of_wave()
        .find(|look| {
            look.state != ClusterPhase::Queued || look.phase.is_some_and(|p| p != Phase::Succeeded)
        })
        .map_or(0, |look| look.at_ms);
    let to = of_wave()
        .filter(|look| look.state != ClusterPhase::Succeeded)
        .map(|look| look.at_ms)
        .max()
        .unwrap_or(from);
    (to - from) as f64 / 1_000.0
}
