//! Whether documents fit what the hub holds: fleets, applications, clusters, each other. Looked at
//! inside the transaction that wrote them, so that all of it is seen together.

mod subject;

use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec,
    call::ProblemItem,
    document::{Document, DocumentError, FieldPath, Source, closest},
    fleet::FleetSpec,
    reference::NamespacedName,
    rollout::RolloutSpec,
    validate::Finding,
};
use bellwether_hub_core::{
    addons::has,
    placement::{ClusterFacts, Standing},
};
use bellwether_store::{
    StoreError, Tx,
    clusters::{self, Cluster, ClusterState},
    desired,
    records::{self, ListOptions, Record, RecordKey, RecordKind},
};
use serde::de::DeserializeOwned;

use super::{apply::namespace_of, problem::problem_item};
use crate::scheduling::{Kinds, facts_of};
use subject::Subject;

/// What the check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What must be mended.
    pub errors: Vec<ProblemItem>,
    /// What is accepted and probably not meant.
    pub warnings: Vec<String>,
}

struct Held {
    fleets: BTreeMap<String, FleetSpec>,
    clusters: Vec<ClusterFacts>,
}

/// Checks every application that the documents touch.
///
/// # Errors
/// The database fails.
pub async fn check(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let touched = touched(tx, documents, default_namespace, &mut checked).await?;
    if touched.is_empty() {
        return Ok(checked);
    }
    let fleets = fleets(tx).await?;
    let held = Held {
        clusters: facts(tx, &fleets, touched.values()).await?,
        fleets,
    };
    for (name, spec) in touched {
        let rollouts = rollouts(tx, &name).await?;
        let of_application: Vec<&(String, RolloutSpec)> = rollouts.iter().collect();
        let holders = desired::holders_in(tx, &format!("application/{name}")).await?;
        let standing = Standing {
            holding: holders.into_keys().collect(),
            ..Standing::default()
        };
        Subject {
            documents,
            default_namespace,
            name: &name,
            spec: &spec,
            standing: &standing,
        }
        .check(&held, &of_application, &mut checked);
    }
    Ok(checked)
}

/// Returns the applications to check: those written, those of written rollouts, and those of
/// written fleets.
async fn touched(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
    checked: &mut Checked,
) -> Result<BTreeMap<NamespacedName, ApplicationSpec>, StoreError> {
    let mut found = BTreeMap::new();
    for document in documents {
        let namespace = namespace_of(document, default_namespace);
        match document {
            Document::Application(object) => {
                let name = NamespacedName {
                    namespace,
                    name: object.metadata.name.clone(),
                };
                found.insert(name, object.spec.clone());
            }
            Document::Rollout(object) => {
                let Some(wanted) = &object.spec.application else {
                    continue;
                };
                let known =
                    specs::<ApplicationSpec>(tx, RecordKind::Application, Some(&namespace)).await?;
                match known.iter().find(|(key, _)| key.name == *wanted) {
                    Some((_, spec)) => {
                        let name = NamespacedName {
                            namespace,
                            name: wanted.clone(),
                        };
                        found.entry(name).or_insert_with(|| spec.clone());
                    }
                    None => {
                        let names = known.iter().map(|(key, _)| key.name.as_str());
                        checked.errors.push(finding(
                            &object.source,
                            FieldPath::spec().key("application"),
                            format!(
                                "there is no application {wanted:?} in namespace {namespace:?}"
                            ),
                            closest(wanted, names),
                        ));
                    }
                }
            }
            Document::Fleet(object) => {
                for (key, spec) in
                    specs::<ApplicationSpec>(tx, RecordKind::Application, None).await?
                {
                    let name = NamespacedName {
                        namespace: key.namespace,
                        name: key.name,
                    };
                    if spec.destination.fleet.as_deref() == Some(object.metadata.name.as_str())
                        || has(&object.spec, &name)
                    {
                        found.entry(name).or_insert(spec);
                    }
                }
            }
            Document::Cluster(_)
            | Document::MetricTemplate(_)
            | Document::Repository(_)
            | Document::AlertProvider(_) => {}
        }
    }
    Ok(found)
}

pub(super) fn finding(
    source: &Source,
    path: FieldPath,
    message: String,
    suggestion: Option<&str>,
) -> ProblemItem {
    let finding = Finding {
        path,
        message,
        suggestion: suggestion.map(str::to_owned),
    };
    problem_item(&DocumentError::from_finding(source, &finding))
}

pub(super) async fn fleets(tx: &mut Tx) -> Result<BTreeMap<String, FleetSpec>, StoreError> {
    let specs = specs::<FleetSpec>(tx, RecordKind::Fleet, None).await?;
    Ok(specs
        .into_iter()
        .map(|(key, spec)| (key.name, spec))
        .collect())
}

/// Every application, as the transaction sees it.
///
/// # Errors
/// The database fails.
pub async fn applications(
    tx: &mut Tx,
) -> Result<BTreeMap<NamespacedName, ApplicationSpec>, StoreError> {
    let found = specs::<ApplicationSpec>(tx, RecordKind::Application, None).await?;
    let named = |key: RecordKey| NamespacedName {
        namespace: key.namespace,
        name: key.name,
    };
    Ok(found
        .into_iter()
        .map(|(key, spec)| (named(key), spec))
        .collect())
}

/// The applications that the documents touch.
///
/// # Errors
/// The database fails.
pub async fn named(
    tx: &mut Tx,
    documents: &[Document],
    default_namespace: &str,
) -> Result<BTreeMap<NamespacedName, ApplicationSpec>, StoreError> {
    touched(tx, documents, default_namespace, &mut Checked::default()).await
}

/// What placement needs to know of every cluster that may speak.
///
/// # Errors
/// The database fails.
pub async fn all_facts(tx: &mut Tx) -> Result<Vec<ClusterFacts>, StoreError> {
    Ok(facts_among(clusters::list_in(tx).await?))
}

/// The clusters that these applications can be meant for: those that they name, where all of them
/// name theirs and none can be an add-on.
async fn facts(
    tx: &mut Tx,
    fleets: &BTreeMap<String, FleetSpec>,
    specs: impl Iterator<Item = &ApplicationSpec> + Clone,
) -> Result<Vec<ClusterFacts>, StoreError> {
    let found = if !fleets.values().any(|fleet| !fleet.addons.is_empty())
        && specs
            .clone()
            .all(|spec| !spec.destination.clusters.is_empty())
    {
        let names: Vec<String> = specs
            .flat_map(|spec| spec.destination.clusters.iter().cloned())
            .collect();
        clusters::named_in(tx, &names).await?
    } else {
        clusters::list_in(tx).await?
    };
    Ok(facts_among(found))
}

fn facts_among(found: Vec<Cluster>) -> Vec<ClusterFacts> {
    let mut kinds = Kinds::new();
    found
        .into_iter()
        .filter(|cluster| cluster.state != ClusterState::Revoked)
        .map(|cluster| facts_of(&cluster, &mut kinds))
        .collect()
}

/// The Rollouts of an application, as the transaction sees them.
pub(super) async fn rollouts(
    tx: &mut Tx,
    application: &NamespacedName,
) -> Result<Vec<(String, RolloutSpec)>, StoreError> {
    let records = records::rollouts_of_in(tx, application).await?;
    let read = |record: Record| {
        let spec: RolloutSpec = serde_json::from_value(record.spec).ok()?;
        let is_own = spec.application.as_deref() == Some(application.name.as_str());
        is_own.then_some((record.key.name, spec))
    };
    Ok(records.into_iter().filter_map(read).collect())
}

/// Reads the specs of a kind; one that cannot be read is left out, and the loops say so.
pub(super) async fn specs<T: DeserializeOwned>(
    tx: &mut Tx,
    kind: RecordKind,
    namespace: Option<&str>,
) -> Result<Vec<(RecordKey, T)>, StoreError> {
    let options = ListOptions {
        kind,
        namespace: namespace.map(str::to_owned),
        limit: u32::MAX,
        after: None,
    };
    let page = records::list_in(tx, &options).await?;
    let read = |record: Record| Some((record.key, serde_json::from_value(record.spec).ok()?));
    Ok(page.records.into_iter().filter_map(read).collect())
}
