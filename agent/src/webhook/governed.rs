//! Which workloads are governed, by what is remembered of their Rollouts.

use std::collections::BTreeSet;

use bellwether_agent_core::admission::{Governed, Target};
use bellwether_api::sync_record::{HeldObject, SyncUnit};

use crate::{desired::Desired, sync::unit::was_seen_standing};

/// The units of Rollouts without an application begin so.
const PREFIX: &str = "rollout/";

/// A unit that governs a workload.
pub(super) struct Governing {
    /// The unit's key.
    pub(super) key: String,
    is_known: bool,
    is_running: bool,
}

impl Governing {
    /// What a decision is to know of it.
    pub(super) fn facts(&self) -> Governed<'_> {
        Governed {
            rollout: self.key.rsplit('/').next().unwrap_or_default(),
            is_known: self.is_known,
            is_running: self.is_running,
        }
    }
}

/// The Deployments whose writes are asked about.
pub(super) fn targets(desired: &Desired) -> BTreeSet<Target> {
    let units = desired.units_under(PREFIX);
    units
        .iter()
        .filter(|unit| governs(unit))
        .filter_map(target)
        .collect()
}

/// Finds what governs a Deployment; absent = nothing does.
pub(super) fn governing(desired: &Desired, place: &Target) -> Option<Governing> {
    let units = desired.units_under(PREFIX);
    let unit = units
        .into_iter()
        .find(|unit| governs(unit) && target(unit).as_ref() == Some(place))?;
    Some(Governing {
        is_known: was_seen_standing(&unit),
        is_running: unit.running_digest.is_some(),
        key: unit.key,
    })
}

/// The keys of all units that govern a workload.
pub(super) fn keys(desired: &Desired) -> Vec<String> {
    let units = desired.units_under(PREFIX).into_iter();
    units.filter(governs).map(|unit| unit.key).collect()
}

/// One that is taken away governs until its run is back.
fn governs(unit: &SyncUnit) -> bool {
    unit.digest.is_some() || unit.running_digest.is_some()
}

fn target(unit: &SyncUnit) -> Option<Target> {
    let held = unit.objects.first().map(HeldObject::object)?;
    (held.kind == "Deployment").then(|| (held.namespace.unwrap_or_default(), held.name))
}
