use std::{sync::Arc, time::Duration};

use bellwether_api::{application::ApplicationSpec, reference::NamespacedName};
use bellwether_store::{
    blobs, changes, events, fleet_hooks, join_tokens, leases, releases, renderings, secrets,
};
use jiff::{SignedDuration, Timestamp};

use super::{LoopError, LoopState, plan::applications};
use crate::app::App;

/// The name of this loop in `/readyz`.
const NAME: &str = "sweep";
/// How often it runs unless it is told to.
const EVERY: Duration = Duration::from_secs(600);
/// How long events are kept.
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long calls of fleets' hooks are kept after they ended.
const CALLS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How long a deleted record is remembered, for hubs that did not look meanwhile.
const DELETIONS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long a blob that nothing names is kept: a decision may be about to name it.
const BLOBS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long the leases of hubs that are gone are kept.
const LEASES_KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How long a join token is kept after it expired, so that whoever uses it is told that it did.
const TOKENS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Rows that one statement deletes at most.
const AT_ONCE: u32 = 1_000;

/// Clears what is no longer needed, until the hub stops.
pub(super) async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = app.pokes.sweep.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        let now = app.clock.now();
        let state = match sweep(&app, now).await {
            Ok(did) => LoopState {
                at: now,
                did,
                errors: Vec::new(),
            },
            Err(error) => {
                let text = error.chain();
                tracing::warn!(error = %text, "sweeping failed");
                LoopState {
                    at: now,
                    did: String::new(),
                    errors: vec![text],
                }
            }
        };
        app.loops.set(NAME, state);
    }
}

async fn sweep(app: &App, now: Timestamp) -> Result<String, LoopError> {
    let store = &app.store;
    let before = |kept: SignedDuration| now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
    let mut old_releases = 0;
    for record in applications(store).await? {
        let Ok(spec) = serde_json::from_value::<ApplicationSpec>(record.spec) else {
            continue;
        };
        let application = NamespacedName {
            namespace: record.key.namespace,
            name: record.key.name,
        };
        let mut tx = store.begin().await?;
        old_releases += releases::sweep(&mut tx, &application, spec.history_limit.max(1)).await?;
        tx.commit().await?;
    }
    let old_renderings = renderings::sweep(store, before(BLOBS_KEPT)).await?;
    secrets::sweep(store, before(BLOBS_KEPT)).await?;
    let old_events = events::sweep(store, before(EVENTS_KEPT), AT_ONCE).await?;
    let old_blobs = blobs::sweep(store, before(BLOBS_KEPT), AT_ONCE).await?;
    let old_tokens = join_tokens::sweep(store, before(TOKENS_KEPT)).await?;
    fleet_hooks::sweep(store, before(CALLS_KEPT), AT_ONCE).await?;
    changes::sweep(store, before(DELETIONS_KEPT), AT_ONCE).await?;
    leases::sweep(store, before(LEASES_KEPT)).await?;
    Ok(format!(
        "deleted {old_releases} releases, {old_events} events, {old_blobs} blobs, {old_renderings} \
         renderings, {old_tokens} join tokens"
    ))
}
