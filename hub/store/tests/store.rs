//! Every statement of the store, on a real Postgres. One program, so that one server serves all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests tell the time themselves")]

#[path = "store/alerts.rs"]
mod alerts;
#[path = "store/allowances.rs"]
mod allowances;
#[path = "store/changes.rs"]
mod changes;
#[path = "store/conformance.rs"]
mod conformance;
#[path = "store/contention.rs"]
mod contention;
#[path = "store/embedded.rs"]
mod embedded;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/fleet_hooks.rs"]
mod fleet_hooks;
#[path = "store/hub_secrets.rs"]
mod hub_secrets;
#[path = "store/identity.rs"]
mod identity;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/older_hubs.rs"]
mod older_hubs;
#[path = "store/records.rs"]
mod records;
#[path = "store/runs.rs"]
mod runs;
#[path = "store/secrets.rs"]
mod secrets;
#[path = "store/status.rs"]
mod status;
