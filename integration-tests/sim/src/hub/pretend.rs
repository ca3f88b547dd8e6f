//! What a hub sees whose guard was removed.

use bellwether_api::status::UnitOutcome;
use bellwether_hub_core::{plan::Plan, run::ClusterSeen};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Mutant;

/// The clusters as it sees them.
pub(super) fn clusters(
    seen: &[ClusterSeen],
    run: Uuid,
    now: Timestamp,
    mutant: Mutant,
) -> Vec<ClusterSeen> {
    let mut seen = seen.to_vec();
    for cluster in &mut seen {
        match mutant {
            Mutant::IgnoreSilence => {
                cluster.connected = true;
                cluster.last_heard = Some(now);
            }
            Mutant::IgnoreBusy => idle(cluster, run),
            Mutant::RememberRemoved if cluster.desired.is_none() => {
                let status = cluster.status.as_ref();
                cluster.desired = status.map(|status| status.digest.clone());
            }
            _ => {}
        }
    }
    seen
}

/// Whatever is under way there is of no concern.
fn idle(cluster: &mut ClusterSeen, run: Uuid) {
    if let (Some(status), Some(desired)) = (&mut cluster.status, &cluster.desired)
        && status.run != run
    {
        status.outcome = UnitOutcome::Failed;
        status.rollouts.clear();
        status.digest.clone_from(desired);
    }
}

/// The plan as it reads it.
pub(super) fn plan(plan: &Plan, mutant: Mutant) -> Plan {
    let mut plan = plan.clone();
    for wave in &mut plan.waves {
        match mutant {
            Mutant::SkipGate => wave.after.clear(),
            Mutant::IgnoreSlots => wave.max_concurrent = 99,
            _ => {}
        }
    }
    plan
}
