//! Which workloads are governed, by what is remembered of their Rollouts.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::{
    admission::{Governed, Resource, Target},
    adopted::in_place::adapter_of,
};
use bellwether_api::{
    reference::ObjectRef,
    sync_record::{HeldObject, SyncUnit},
    workload_adapter::WorkloadAdapter,
};
use serde_json::Value;

use crate::{
    desired::Desired,
    sync::{
        cluster::{Cluster, ClusterError},
        unit::was_seen_standing,
    },
};

/// The units of Rollouts without an application begin so.
const PREFIX: &str = "rollout/";

/// A unit that governs a workload.
pub(super) struct Governing {
    /// The unit's key.
    pub(super) key: String,
    workload: ObjectRef,
    digest: Option<String>,
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

    /// Where the workload's kind keeps what an update in place needs; absent = a copy runs beside it, or
    /// nothing is known of its kind.
    pub(super) async fn adapter(&self, desired: &Desired, live: &Value) -> Option<WorkloadAdapter> {
        if let Some(adapter) = adapter_of(live) {
            return Some(adapter);
        }
        if is_deployment(&self.workload) {
            return None;
        }
        let grant = desired.grant(self.digest.as_ref()?).await.ok()?;
        grant.spec.workload.adapter
    }
}

/// The workloads whose writes are asked about, by the version of their API and their kind.
pub(super) type Targets = BTreeMap<(String, String), BTreeSet<Target>>;

/// The workloads whose writes are asked about.
pub(super) fn targets(desired: &Desired) -> Targets {
    let mut targets = Targets::new();
    let units = desired.units_under(PREFIX);
    for workload in units
        .iter()
        .filter(|unit| governs(unit))
        .filter_map(workload)
    {
        let place = place_of(&workload);
        let kind = (workload.api_version, workload.kind);
        targets.entry(kind).or_default().insert(place);
    }
    targets
}

/// The same by the names under which the API server serves the kinds; what it does not serve is left out.
///
/// # Errors
/// The API server does not answer.
pub(super) async fn served(
    cluster: &Cluster,
    targets: &Targets,
) -> Result<BTreeMap<Resource, BTreeSet<Target>>, ClusterError> {
    let mut served = BTreeMap::new();
    for ((api_version, kind), places) in targets {
        let found = match cluster.kind(api_version, kind).await {
            Ok(found) => found.resource,
            Err(ClusterError::NotServed { .. }) => continue,
            Err(error) => return Err(error),
        };
        let resource = Resource {
            group: found.group,
            version: found.version,
            plural: found.plural,
        };
        served.insert(resource, places.clone());
    }
    Ok(served)
}

/// Finds what governs a workload of a group and kind; absent = nothing does.
pub(super) fn governing(
    desired: &Desired,
    (group, kind): (&str, &str),
    place: &Target,
) -> Option<Governing> {
    let units = desired.units_under(PREFIX).into_iter();
    let mut governing = units
        .filter(governs)
        .filter_map(|unit| Some((workload(&unit)?, unit)));
    let (workload, unit) = governing.find(|(workload, _)| {
        let its = workload.api_version.split_once('/');
        its.map_or("", |(group, _)| group) == group
            && workload.kind == kind
            && place_of(workload) == *place
    })?;
    Some(Governing {
        workload,
        digest: unit.digest.clone(),
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

fn workload(unit: &SyncUnit) -> Option<ObjectRef> {
    unit.objects.first().map(HeldObject::object)
}

fn place_of(workload: &ObjectRef) -> Target {
    let namespace = workload.namespace.clone();
    (namespace.unwrap_or_default(), workload.name.clone())
}

fn is_deployment(workload: &ObjectRef) -> bool {
    workload.kind == "Deployment"
}
