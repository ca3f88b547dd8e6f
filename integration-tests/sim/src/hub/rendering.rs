//! Releases that the hub renders, cluster by cluster.

use bellwether_hub_core::run::Unrendered;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    database::Database,
    scenario::{Scenario, Theme},
};

/// The newest release takes a while to be rendered, a cluster longer than another.
pub(super) fn unrendered(
    database: &Database,
    scenario: &Scenario,
    cluster: Uuid,
    now: Timestamp,
) -> Option<Unrendered> {
    let run = database.newest_run()?;
    let lasts = (run.id.as_u128() * 7 + cluster.as_u128() * 13) % 45;
    let since = now.duration_since(run.made_at).as_secs();
    let pending = u128::try_from(since).is_ok_and(|since| since < lasts);
    (scenario.world.theme == Theme::Rendered && pending).then_some(Unrendered::Pending)
}
