//! Whether Rollouts without an application fit what the hub holds: one workload has one Rollout, and
//! nobody else delivers it from here.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::{ApplicationSpec, Destination},
    cluster::ClusterSpec,
    document::{Document, FieldPath, closest},
    fleet::FleetSpec,
    rollout::RolloutSpec,
    validate::{governs_same, manifests_of},
};
use bellwether_hub_core::{
    cluster_defaults::{lacks, misfits},
    placement::{ClusterFacts, PlacementError, place},
};
use bellwether_store::{
    StoreError, Tx,
    clusters::{self, ClusterState},
    records::{self, RecordKey, RecordKind},
};
use uuid::Uuid;

use super::{
    apply::namespace_of,
    references::{Checked, finding, specs},
};
use crate::scheduling::{Kinds, facts_of};

/// What the hub holds, as the transaction sees it.
struct Held {
    fleets: BTreeMap<String, FleetSpec>,
    clusters: Vec<ClusterFacts>,
    rollouts: Vec<(RecordKey, RolloutSpec)>,
    applications: Vec<(RecordKey, ApplicationSpec)>,
}

/// Checks every Rollout without an application against the others and against the applications,
/// where one of the two is written.
///
/// # Errors
/// The database fails.
pub async fn check(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let concerns = |one: &Document| {
        matches!(
            one,
            Document::Application(_)
                | Document::Rollout(_)
                | Document::Fleet(_)
                | Document::Cluster(_)
        )
    };
    if !documents.iter().any(concerns) {
        return Ok(());
    }
    let rollouts: Vec<(RecordKey, RolloutSpec)> = records::standing_in(tx)
        .await?
        .into_iter()
        .filter_map(|record| Some((record.key, serde_json::from_value(record.spec).ok()?)))
        .collect();
    if rollouts.is_empty() {
        return Ok(());
    }
    let fleets = specs::<FleetSpec>(tx, RecordKind::Fleet, None).await?;
    let held = Held {
        fleets: fleets
            .into_iter()
            .map(|(key, spec)| (key.name, spec))
            .collect(),
        clusters: facts(tx).await?,
        applications: specs(tx, RecordKind::Application, None).await?,
        rollouts,
    };
    for document in documents {
        let namespace = namespace_of(document, default_namespace);
        match document {
            Document::Rollout(object) if object.spec.destination.is_some() => {
                held.check_rollout(object, &namespace, checked);
            }
            Document::Application(object) => {
                held.check_application(object, &namespace, checked);
            }
            Document::Fleet(object) => held.check_fleet(object, checked),
            Document::Cluster(object) => held.check_cluster(object, checked),
            _ => {}
        }
    }
    Ok(())
}

impl Held {
    fn check_rollout(
        &self,
        object: &bellwether_api::document::Object<RolloutSpec>,
        namespace: &str,
        checked: &mut Checked,
    ) {
        let (spec, name) = (&object.spec, &object.metadata.name);
        let mut error = |path: FieldPath, message: String, meant: Option<&str>| {
            checked
                .errors
                .push(finding(&object.source, path, message, meant));
        };
        let Some(destination) = &spec.destination else {
            return;
        };
        if let Err(failed) = self.placed(destination) {
            let fleets = self.fleets.keys().map(String::as_str);
            let meant = match &failed {
                PlacementError::NoSuchFleet { name } => closest(name, fleets),
                PlacementError::Empty | PlacementError::UnreadFleet { .. } => None,
            };
            let path = FieldPath::spec().key("destination");
            error(path, failed.to_string(), meant);
            return;
        }
        let fleet = destination
            .fleet
            .as_ref()
            .and_then(|fleet| self.fleets.get(fleet));
        let default = fleet.map_or(&[][..], |fleet| &fleet.defaults.traffic);
        for message in misfits(spec, default, self.members(destination)) {
            error(FieldPath::spec().key("traffic"), message, None);
        }
        let path = FieldPath::spec().key("workload");
        for (key, other) in &self.rollouts {
            let is_self = key.namespace == namespace && key.name == *name;
            if !is_self && same_workload(spec, other) && self.meet(destination, other) {
                let message = format!(
                    "rollout {}/{} governs the same workload in a cluster of both",
                    key.namespace, key.name
                );
                error(path.clone(), message, None);
            }
        }
        for (key, application) in &self.applications {
            if key.namespace == namespace && key.name == *name {
                let message = format!(
                    "an application is called {name:?} too; what is said to the \
                     one must not reach the other"
                );
                error(FieldPath::metadata("name"), message, None);
            }
            if self.delivers(application, spec) {
                let message = format!(
                    "application {}/{} delivers this workload to a cluster of both; name it in \
                     spec.application instead of a destination",
                    key.namespace, key.name
                );
                error(path.clone(), message, None);
            }
        }
    }

    fn check_application(
        &self,
        object: &bellwether_api::document::Object<ApplicationSpec>,
        namespace: &str,
        checked: &mut Checked,
    ) {
        for (key, rollout) in &self.rollouts {
            let same_name = key.namespace == namespace && key.name == object.metadata.name;
            let (path, message) = if same_name {
                (
                    FieldPath::metadata("name"),
                    format!(
                        "a rollout without an application is called {:?} too",
                        key.name
                    ),
                )
            } else if self.delivers(&object.spec, rollout) {
                (
                    FieldPath::spec().key("components"),
                    format!(
                        "rollout {}/{} governs {} {}, as somebody else delivers it, in a cluster of \
                         both; delete it first",
                        key.namespace, key.name, rollout.workload.kind, rollout.workload.name
                    ),
                )
            } else {
                continue;
            };
            checked
                .errors
                .push(finding(&object.source, path, message, None));
        }
    }

    /// Checks what a fleet's defaults become for the Rollouts that take them.
    fn check_fleet(
        &self,
        object: &bellwether_api::document::Object<FleetSpec>,
        checked: &mut Checked,
    ) {
        let takes = |rollout: &&(RecordKey, RolloutSpec)| {
            let destination = rollout.1.destination.as_ref();
            destination.and_then(|one| one.fleet.as_ref()) == Some(&object.metadata.name)
        };
        for (key, rollout) in self.rollouts.iter().filter(takes) {
            for lack in lacks(rollout, &object.spec.defaults.traffic) {
                let message = format!("rollout {}/{} takes it: {lack}", key.namespace, key.name);
                let path = FieldPath::spec().key("defaults").key("traffic");
                checked
                    .errors
                    .push(finding(&object.source, path, message, None));
            }
        }
    }

    /// Checks what a cluster's default provider becomes for the Rollouts that are granted to it.
    fn check_cluster(
        &self,
        object: &bellwether_api::document::Object<ClusterSpec>,
        checked: &mut Checked,
    ) {
        let named = |cluster: &&ClusterFacts| cluster.name == object.metadata.name;
        for (key, rollout) in &self.rollouts {
            let destination = rollout.destination.as_ref();
            let mut members = destination.into_iter().flat_map(|one| self.members(one));
            let Some(cluster) = members.find(named) else {
                continue;
            };
            for lack in lacks(rollout, &cluster.traffic) {
                let message = format!("rollout {}/{} takes it: {lack}", key.namespace, key.name);
                let path = FieldPath::spec().key("traffic");
                checked
                    .errors
                    .push(finding(&object.source, path, message, None));
            }
        }
    }

    /// The clusters that a destination means; none when it cannot be resolved.
    fn members(&self, destination: &Destination) -> Vec<&ClusterFacts> {
        let placed = self.placed(destination).unwrap_or_default();
        let members = self.clusters.iter();
        members.filter(|one| placed.contains(&one.id)).collect()
    }

    fn delivers(&self, application: &ApplicationSpec, rollout: &RolloutSpec) -> bool {
        let renders = manifests_of(application)
            .iter()
            .any(|manifest| governs_same(rollout, manifest));
        renders && self.meet(&application.destination, rollout)
    }

    /// Tells whether a cluster is in both destinations.
    fn meet(&self, destination: &Destination, rollout: &RolloutSpec) -> bool {
        let ours = self.placed(destination).unwrap_or_default();
        let theirs = rollout
            .destination
            .as_ref()
            .and_then(|destination| self.placed(destination).ok())
            .unwrap_or_default();
        !ours.is_disjoint(&theirs)
    }

    fn placed(&self, destination: &Destination) -> Result<BTreeSet<Uuid>, PlacementError> {
        let fleet = destination
            .fleet
            .as_ref()
            .and_then(|name| self.fleets.get(name));
        let placement = place(destination, fleet, &self.clusters)?;
        Ok(placement.clusters.iter().map(|one| one.id).collect())
    }
}

fn same_workload(one: &RolloutSpec, other: &RolloutSpec) -> bool {
    let place = |spec: &RolloutSpec| {
        let workload = &spec.workload;
        (
            workload.kind.clone(),
            workload.namespace.clone(),
            workload.name.clone(),
        )
    };
    place(one) == place(other)
}

async fn facts(tx: &mut Tx) -> Result<Vec<ClusterFacts>, StoreError> {
    let found = clusters::list_in(tx).await?;
    let mut kinds = Kinds::new();
    Ok(found
        .into_iter()
        .filter(|cluster| cluster.state != ClusterState::Revoked)
        .map(|cluster| facts_of(&cluster, &mut kinds))
        .collect())
}
