//! Whether a cluster's default provider fits the applications that are placed there.

use bellwether_api::{
    application::Component,
    cluster::ClusterSpec,
    document::{Document, FieldPath, Object},
    reference::NamespacedName,
};
use bellwether_hub_core::{
    addons::choose,
    cluster_defaults::misfits_of_release,
    placement::{Choice, ClusterFacts, Standing},
    release::{RolloutRecord, content},
};
use bellwether_store::{StoreError, Tx, desired};

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
    let fleets = references::fleets(tx).await?;
    let clusters = references::all_facts(tx).await?;
    for (name, spec) in references::applications(tx).await? {
        let holders = desired::holders_in(tx, &format!("application/{name}")).await?;
        let standing = Standing {
            holding: holders.into_keys().collect(),
            ..Standing::default()
        };
        let fleet = spec.destination.fleet.as_ref();
        let choice = Choice {
            destination: &spec.destination,
            policy: spec.placement.as_ref(),
            fleet: fleet.and_then(|fleet| fleets.get(fleet)),
            clusters: &clusters,
            standing: &standing,
        };
        let Ok(chosen) = choose(&name, choice, &fleets) else {
            continue;
        };
        let named = |cluster: &&ClusterFacts| {
            let mut written = written.iter();
            written.any(|object| object.metadata.name == cluster.name)
        };
        let placed = chosen.placement.clusters.iter().filter(named);
        let placed: Vec<ClusterFacts> = placed.cloned().collect();
        let rendered = |component: &Component| component.rendered_source().is_some();
        if placed.is_empty() || spec.components.iter().any(rendered) {
            continue;
        }
        let records = records(tx, &name).await?;
        // What is wrong with the application itself is said where it is written.
        let Ok(content) = content(&name.name, &spec, &records) else {
            continue;
        };
        for object in &written {
            let here = placed.iter().filter(|one| one.name == object.metadata.name);
            let here: Vec<ClusterFacts> = here.cloned().collect();
            for (rollout, lack) in misfits_of_release(&content, &[], &here, &fleets) {
                let message = format!("rollout {}/{rollout} takes it: {lack}", name.namespace);
                let path = FieldPath::spec().key("traffic");
                let error = finding(&object.source, path, message, None);
                checked.errors.push(error);
            }
        }
    }
    Ok(())
}

async fn records(
    tx: &mut Tx,
    application: &NamespacedName,
) -> Result<Vec<RolloutRecord>, StoreError> {
    let rollouts = references::rollouts(tx, application).await?;
    let records = rollouts.into_iter();
    Ok(records
        .map(|(name, spec)| RolloutRecord { name, spec })
        .collect())
}
