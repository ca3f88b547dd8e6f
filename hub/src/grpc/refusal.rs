//! A unit that the agent could not even read: the hub writes its status for it.

use bellwether_api::{
    bundle::{Bundle, UnitKey},
    status::{Health, UnitOutcome, UnitStatus},
};
use bellwether_proto::wire;
use bellwether_store::{blobs, desired};

use super::slot::Slot;
use crate::{app::App, telemetry::chain};

/// The status of a refused application; absent where the unit is no application, is not wanted any
/// more, or cannot be read here either.
pub(super) async fn status_of(
    app: &App,
    slot: &Slot,
    nack: &wire::Nack,
) -> Option<(String, UnitStatus)> {
    match read(app, slot, nack).await {
        Ok(status) => status.map(|status| (nack.key.clone(), status)),
        Err(error) => {
            tracing::warn!(
                cluster.id = %slot.cluster,
                unit.key = nack.key,
                error = %chain(error.as_ref()),
                "the refused unit could not be read"
            );
            None
        }
    }
}

async fn read(
    app: &App,
    slot: &Slot,
    nack: &wire::Nack,
) -> Result<Option<UnitStatus>, Box<dyn std::error::Error + Send + Sync>> {
    let Ok(UnitKey::Application(application)) = nack.key.parse::<UnitKey>() else {
        return Ok(None);
    };
    let since = nack.generation.saturating_sub(1);
    let Some(delta) = desired::delta(&app.store, slot.cluster, since).await? else {
        return Ok(None);
    };
    let unit = delta.changes.into_iter().find(|unit| unit.key == nack.key);
    let Some(digest) = unit.and_then(|unit| unit.digest) else {
        return Ok(None);
    };
    let Some(content) = blobs::get(&app.store, digest).await? else {
        return Ok(None);
    };
    let bundle: Bundle = serde_json::from_slice(&content)?;
    Ok(Some(UnitStatus {
        application,
        digest: digest.to_string(),
        generation: nack.generation,
        run: bundle.run,
        attempt: bundle.attempt,
        release: bundle.release,
        outcome: UnitOutcome::Refused,
        reason: nack.error.clone(),
        applied_release: None,
        health: Health::Unknown,
        objects: Vec::new(),
        object_count: 0,
        rollouts: Vec::new(),
        waiting_on: Vec::new(),
        events: Vec::new(),
        executed: Vec::new(),
        orphans: Vec::new(),
        warnings: Vec::new(),
    }))
}
