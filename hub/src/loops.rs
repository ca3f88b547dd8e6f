//! The hub's background work: load → decide (`bellwether-hub-core`) → save by compare-and-set →
//! poke.
//!
//! Loops take no input, are idempotent, and run on a timer and on a poke. Every write is one
//! transaction, fenced by the lease of the application's shard, so that several hubs may work on
//! one database. Nothing is retried within a turn: what failed is looked at again in the next.
//! Entry point: [`spawn`]; [`run_view`] shows a run as the loops see it.

mod alive;
mod application;
mod emptying;
mod error;
mod facts;
mod gather;
mod lease;
mod loaded;
mod metrics_places;
mod plan;
mod progress;
mod queue;
mod removal;
mod rollback;
mod standing;
mod start;
mod state;
mod sweep;
mod view;
mod world;

use std::sync::Arc;

use crate::app::App;

pub use error::LoopError;
pub use rollback::stays;
pub(crate) use standing::{granting, write as write_grants};
pub use state::{LoopState, LoopStates};
pub use view::{action_view, run_summaries, run_view};

/// Starts every loop; each ends when the app shuts down.
pub fn spawn(app: Arc<App>) {
    let tasks = app.tasks.clone();
    tasks.spawn(plan::run(Arc::clone(&app)));
    tasks.spawn(standing::run(Arc::clone(&app)));
    tasks.spawn(sweep::run(app));
}

/// Runs the planning loop's work once over everything that needs it, on behalf of `replica`, as the
/// loop itself would: for tests that need two hubs on one database to act at the same moment.
///
/// # Errors
/// [`LoopError`] of the first application that failed; the others were still looked at.
pub async fn plan_once(
    store: &bellwether_store::Store,
    replica: uuid::Uuid,
    now: jiff::Timestamp,
) -> Result<(), LoopError> {
    plan::once(store, replica, now).await
}
