//! What the hub renews: its lease among the hubs of one database, and its own certificate.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bellwether_hub_core::clock;
use bellwether_store::{StoreError, leases};
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{app::App, clock::wall, telemetry::chain};

/// How often the lease is renewed.
const LEASE_INTERVAL: Duration = clock::LEASE_RENEWAL;
/// How long it lasts. Agents of a hub that is gone count as silent from then on.
pub(crate) const LEASE_TTL: Duration = clock::LEASE;
/// The authority's files are looked at once in so many renewals of the lease.
const PKI_EVERY: u32 = 12;

/// Runs until shutdown.
pub(super) async fn run(app: Arc<App>) {
    let mut ticks = interval(LEASE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0u32;
    let mut seen = BTreeMap::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        renew_lease(&app).await;
        match look_ahead(&app, &seen).await {
            Ok(latest) => seen = latest,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "other hubs' leases were not read")
            }
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(PKI_EVERY)
            && let Err(error) = app.pki.refresh(wall())
        {
            tracing::warn!(error = %chain(&error), "the certificate authority was not refreshed");
        }
    }
}

/// Says that this hub is alive.
pub(crate) async fn renew_lease(app: &App) {
    let now = app.clock.now();
    if let Err(error) = leases::renew_replica(&app.store, app.replica, now, LEASE_TTL).await {
        tracing::warn!(error = %chain(&error), "this hub's lease was not renewed");
    }
}

/// Has this hub start anew where its time fell behind that of another one. Gives when each hub renewed its lease;
/// `before` is what it gave last.
async fn look_ahead(
    app: &App,
    before: &BTreeMap<Uuid, Timestamp>,
) -> Result<BTreeMap<Uuid, Timestamp>, StoreError> {
    let leases = leases::replicas(&app.store).await?;
    let latest = leases
        .into_iter()
        .map(|one| (one.replica, one.renewed_at))
        .collect();
    if let Some(behind) = clock::behind(app.clock.now(), before, &latest) {
        tracing::error!(
            behind_s = behind.as_secs(),
            "this hub's clock fell behind that of another hub; it starts anew"
        );
        app.outpaced.cancel();
    }
    Ok(latest)
}
