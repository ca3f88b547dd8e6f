//! What the hub renews: its lease among the hubs of one database, and its own certificate.

use std::{sync::Arc, time::Duration};

use bellwether_hub_core::clock;
use bellwether_store::leases;
use tokio::time::{MissedTickBehavior, interval};

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
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.shutdown.cancelled() => return,
        }
        renew_lease(&app).await;
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
