//! The hub's background work: load → decide (`bellwether-hub-core`) → save by compare-and-set →
//! poke.
//!
//! Loops take no input, are idempotent, and run on a timer and on a poke. Every write is one
//! transaction, so that several hubs may work on one database: what concerns an application is fenced
//! by the lease of its shard; the grants of a Rollout without one are written under the lock of its
//! record, as commands to its runs are, by whichever hub comes first. Nothing is retried within a
//! turn: what failed is looked at again in the next.
//! Entry point: [`spawn`]; [`run_view`] shows a run as the loops see it.

mod alerts;
mod alive;
mod application;
mod compared;
mod dependencies;
mod division;
mod emptying;
mod error;
mod facts;
mod fleet_hooks;
mod gather;
mod lease;
mod loaded;
mod metrics_places;
mod plan;
mod progress;
mod prune_brake;
mod published;
mod queue;
mod readings;
mod removal;
mod rendered;
mod repositories;
mod rollback;
mod size;
mod standing;
mod start;
mod state;
mod sweep;
mod view;
mod waiters;
mod world;

use std::sync::Arc;

use crate::app::App;

pub use compared::{Comparing, Contents, Proposed};
pub use dependencies::addon_health;
pub use error::{LoopError, RENDERING};
pub(crate) use lease::Fence;
pub use loaded::{newest_content, planned_clusters};
pub use published::waits_as_draft;
pub(crate) use removal::removal_allowance;
pub use rollback::stays;
pub(crate) use standing::{granting, write as write_grants};
pub use state::{LoopState, LoopStates};
pub use view::{action_view, run_summaries, run_view};

/// Starts every loop; each ends when the app shuts down.
pub fn spawn(app: Arc<App>) {
    let tasks = app.tasks.clone();
    let told = Arc::clone(&app);
    app.renderings
        .spawn(&tasks, &app.shutdown, move || told.pokes.plan.notify_one());
    tasks.spawn(plan::run(Arc::clone(&app)));
    tasks.spawn(standing::run(Arc::clone(&app)));
    tasks.spawn(repositories::run(Arc::clone(&app)));
    tasks.spawn(fleet_hooks::run(Arc::clone(&app)));
    tasks.spawn(alerts::run(Arc::clone(&app)));
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
    plan::once(store, None, replica, now).await
}

/// As [`plan_once`], for applications whose components are rendered: what that takes is asked for.
///
/// # Errors
/// As [`plan_once`].
pub async fn plan_once_with(
    store: &bellwether_store::Store,
    renderings: &crate::rendering::Renderings,
    replica: uuid::Uuid,
    now: jiff::Timestamp,
) -> Result<(), LoopError> {
    plan::once(store, Some(renderings), replica, now).await
}
