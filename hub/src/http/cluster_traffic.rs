//! Whether a cluster's default provider fits the applications that are placed there.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::{ApplicationSpec, Component},
    cluster::ClusterSpec,
    document::{Document, FieldPath, Object},
    fleet::FleetSpec,
    reference::NamespacedName,
};
use bellwether_hub_core::{
    addons::choose,
    cluster_defaults::misfits_of_release,
    placement::{Choice, ClusterFacts, Standing},
    release::{RolloutRecord, content},
};
use bellwether_store::{StoreError, Tx, desired};
use uuid::Uuid;

use super::references::{self, Checked, finding};

/// Checks the default providers of written clusters against what takes them. What is rendered is checked
/// once it is.
///
/// # Errors
/// The database fails.
pub(super) async fn check(
    tx: &mut Tx,
    documents: &[Document],
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let written: Vec<&Object<ClusterSpec>> = documents
        .iter()
        .filter_map(|document| match document {
            Document::Cluster(object) if !object.spec.traffic.is_empty() => Some(object),
            _ => None,
        })
        .collect();
    if written.is_empty() {
        return Ok(());
    }
    let known = Known {
        fleets: references::fleets(tx).await?,
        clusters: references::all_facts(tx).await?,
    };
    for (name, spec) in references::applications(tx).await? {
        let placed = known.placed(tx, &name, &spec, &written).await?;
        let rendered = |component: &Component| component.rendered_source().is_some();
        if placed.is_empty() || spec.components.iter().any(rendered) {
            continue;
        }
        let records = records(tx, &name).await?;
        // What is wrong with the application itself is said where it is written.
        let Ok(content) = content(&name.name, &spec, &records) else {
            continue;
        };
        for (object, cluster) in placed {
            let here = std::slice::from_ref(cluster);
            for (rollout, lack) in misfits_of_release(&content, &[], here, &known.fleets) {
                let message = format!("rollout {}/{rollout} takes it: {lack}", name.namespace);
                let path = FieldPath::spec().key("traffic");
                let error = finding(&object.source, path, message, None);
                checked.errors.push(error);
            }
        }
    }
    Ok(())
}

/// What the hub holds, as the transaction sees it.
struct Known {
    fleets: BTreeMap<String, FleetSpec>,
    clusters: Vec<ClusterFacts>,
}

impl Known {
    /// The written clusters that an application is placed in.
    async fn placed<'a>(
        &'a self,
        tx: &mut Tx,
        name: &NamespacedName,
        spec: &ApplicationSpec,
        written: &[&'a Object<ClusterSpec>],
    ) -> Result<Vec<(&'a Object<ClusterSpec>, &'a ClusterFacts)>, StoreError> {
        let holders = desired::holders_in(tx, &format!("application/{name}")).await?;
        let standing = Standing {
            holding: holders.into_keys().collect(),
            ..Standing::default()
        };
        let fleet = spec.destination.fleet.as_ref();
        let choice = Choice {
            destination: &spec.destination,
            policy: spec.placement.as_ref(),
            fleet: fleet.and_then(|fleet| self.fleets.get(fleet)),
            clusters: &self.clusters,
            standing: &standing,
        };
        let Ok(chosen) = choose(name, choice, &self.fleets) else {
            return Ok(Vec::new());
        };
        let placed: BTreeSet<Uuid> = chosen.placement.clusters.iter().map(|one| one.id).collect();
        let found = written.iter().filter_map(|object| {
            let mut clusters = self.clusters.iter();
            let cluster = clusters.find(|one| one.name == object.metadata.name)?;
            placed.contains(&cluster.id).then_some((*object, cluster))
        });
        Ok(found.collect())
    }
}

async fn records(
    tx: &mut Tx,
    application: &NamespacedName,
) -> Result<Vec<RolloutRecord>, StoreError> {
    let rollouts = references::rollouts(tx, application).await?;
    let records = rollouts.into_iter();
    Ok(records
        .map(|(name, spec)| RolloutRecord {
            name,
            spec,
            rendered_as: None,
        })
        .collect())
}
