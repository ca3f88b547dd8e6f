//! One bundle without a hub: the same path as a granted one, from commit to report.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use bellwether_api::{
    bundle::{Bundle, UnitKey},
    root::Root,
    status::{Phase, UnitOutcome, UnitStatus},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Offline,
    desired::{Change, Commit, CommitBlob, Desired, digest_of, pack},
    sync::Shell,
};

/// Commits the bundle of a file, prints how it goes, and ends with it: 0 when it runs, 1 when it
/// failed or was refused.
///
/// # Errors
/// The file cannot be read, or the cluster does not store it.
pub async fn bring_in(
    shell: &Arc<Shell>,
    what: &Offline,
    shutdown: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let text = tokio::fs::read(&what.bundle)
        .await
        .with_context(|| format!("failed to read {}", what.bundle.display()))?;
    let bundle: Bundle = serde_json::from_slice(&text)
        .with_context(|| format!("failed to read {} as a bundle", what.bundle.display()))?;
    let digest = commit(&shell.desired, &bundle, what.remove).await?;
    let mut last = String::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(ExitCode::SUCCESS),
            () = shell.reports.changed() => {}
        }
        for report in shell.reports.next_batch(64) {
            let status: UnitStatus = serde_json::from_slice(&report.detail_json)?;
            if status.application != bundle.application || status.digest != digest {
                continue;
            }
            if let Some(event) = status.events.last().map(|event| event.seq) {
                shell.reports.acked(&report.key, report.sequence, event);
            }
            let line = line(&status);
            if line != last {
                println!("{} {line}", crate::clock::wall());
                last = line;
            }
            for event in &status.events {
                println!("  event {} {}: {}", event.seq, event.reason, event.message);
            }
            if !what.stay
                && let Some(code) = end(&status)
            {
                return Ok(code);
            }
        }
    }
}

/// Commits the bundle, or the tombstone of its application; gives the digest, empty for the latter.
async fn commit(desired: &Desired, bundle: &Bundle, remove: bool) -> anyhow::Result<String> {
    let content = serde_json::to_vec(bundle)?;
    let digest = (!remove).then(|| digest_of(&content));
    let key = UnitKey::Application(bundle.application.clone()).to_string();
    let held = desired.held();
    let before = desired.unit(&key).and_then(|unit| unit.digest);
    let wanted = digest.map(hex::encode);
    if before != wanted {
        let mut root = Root::from_bytes(held.root);
        if let Some(old) = before
            && let Ok(old) = <[u8; 32]>::try_from(hex::decode(old)?.as_slice())
        {
            root.remove(&key, &old);
        }
        let mut blobs = Vec::new();
        if let Some(digest) = digest {
            root.add(&key, &digest);
            blobs.push(CommitBlob {
                digest,
                zstd: pack(&content)?,
            });
        }
        let generation = held.generation + 1;
        let commit = Commit {
            incarnation: held.incarnation.max(1),
            epoch: held.epoch.max(1),
            to: generation,
            changes: vec![Change {
                key,
                generation,
                digest,
                deletion: None,
            }],
            blobs,
            snapshot: false,
            root: *root.as_bytes(),
        };
        let committed = desired
            .commit(commit)
            .await
            .context("failed to store the bundle")?;
        if let Some(nack) = committed.nacks.first() {
            anyhow::bail!("the bundle is refused: {}", nack.error);
        }
    }
    Ok(wanted.unwrap_or_default())
}

fn line(status: &UnitStatus) -> String {
    use std::fmt::Write as _;
    let mut line = format!("{:?} {:?}", status.outcome, status.health);
    for rollout in &status.rollouts {
        let _ = write!(
            line,
            " | {} {:?} step {}/{} weight {} (seen {}) stable {}/{} canary {}/{}",
            rollout.name,
            rollout.phase,
            rollout
                .step
                .map_or_else(|| "-".to_owned(), |step| (step + 1).to_string()),
            rollout.steps,
            rollout.weight,
            rollout.observed_weight,
            rollout.stable.ready,
            rollout.stable.desired,
            rollout.canary.ready,
            rollout.canary.desired,
        );
        for check in &rollout.checks {
            let _ = write!(
                line,
                " {}={} {:?} {}",
                check.metric,
                check.value.as_deref().unwrap_or("-"),
                check.verdict,
                check.reason
            );
        }
    }
    for wait in &status.waiting_on {
        let _ = write!(line, " | {}: {}", wait.reason, wait.message);
    }
    if !status.reason.is_empty() {
        let _ = write!(line, " | {}", status.reason);
    }
    line
}

fn end(status: &UnitStatus) -> Option<ExitCode> {
    let over = status
        .rollouts
        .iter()
        .all(|rollout| rollout.phase.is_terminal() || matches!(rollout.phase, Phase::Terminated));
    match status.outcome {
        UnitOutcome::Succeeded if over => Some(ExitCode::SUCCESS),
        UnitOutcome::Failed | UnitOutcome::Refused if over => Some(ExitCode::FAILURE),
        _ => None,
    }
}
