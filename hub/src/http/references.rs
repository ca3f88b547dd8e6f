//! Whether documents fit what the hub holds: fleets, applications, clusters, each other. Looked at
//! inside the transaction that wrote them, so that all of it is seen together.

use std::collections::BTreeMap;

use bellwether_api::{
    application::{ApplicationSpec, Component},
    call::ProblemItem,
    document::{Document, DocumentError, FieldPath, Source, closest},
    fleet::FleetSpec,
    overrides::Override,
    reference::NamespacedName,
    rollout::RolloutSpec,
    validate::{Finding, fleet_traffic, governed},
};
use bellwether_hub_core::{
    addons::{choose, has},
    overrides::try_clusters,
    placement::{Choice, Chosen, ClusterFacts, PlacementError, Standing},
    plan::assign,
    release::{RolloutRecord, content},
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
            Document::Cluster(_) | Document::MetricTemplate(_) | Document::Repository(_) => {}
        }
    }
    Ok(found)
}

/// One application under check.
struct Subject<'a> {
    documents: &'a [Document],
    default_namespace: &'a str,
    name: &'a NamespacedName,
    spec: &'a ApplicationSpec,
    /// Where it is now.
    standing: &'a Standing,
}

impl Subject<'_> {
    fn check(&self, held: &Held, rollouts: &[&(String, RolloutSpec)], checked: &mut Checked) {
        self.check_placement(held, checked);
        self.check_components(held, checked);
        let mut broken = false;
        for (name, rollout) in rollouts {
            let findings = governed(rollout, self.spec);
            broken |= !findings.errors.is_empty();
            // Documents of one input were checked against each other already.
            if self.both_written(name) {
                continue;
            }
            let source = self.rollout_source(name);
            for error in findings.errors {
                checked.errors.push(match source {
                    Some(source) => problem_item(&DocumentError::from_finding(source, &error)),
                    None => self.application_error(
                        FieldPath::spec().key("components"),
                        format!(
                            "rollout/{name} no longer fits: {}: {}",
                            error.path, error.message
                        ),
                        None,
                    ),
                });
            }
            for warning in findings.warnings {
                checked
                    .warnings
                    .push(format!("rollout/{name}: {}", warning.message));
            }
        }
        let records: Vec<RolloutRecord> = rollouts
            .iter()
            .map(|(name, spec)| RolloutRecord {
                name: name.clone(),
                spec: spec.clone(),
            })
            .collect();
        // What `governed` has named is not said a second time, and what is rendered is checked once
        // it is.
        let rendered = |component: &Component| component.rendered_source().is_some();
        if broken || self.spec.components.iter().any(rendered) {
            return;
        }
        self.check_overrides(held, rollouts, checked);
        let components = FieldPath::spec().key("components");
        match content(&self.name.name, self.spec, &records) {
            Ok(content) => {
                for rollout in &content.rollouts {
                    for error in self.fleet_lacks(held, &rollout.spec) {
                        let message = format!("rollout/{}: {error}", rollout.name);
                        let error = self.application_error(components.clone(), message, None);
                        checked.errors.push(error);
                    }
                }
            }
            Err(error) => {
                let error = self.application_error(components, error.to_string(), None);
                checked.errors.push(error);
            }
        }
    }

    /// Whether the overrides fit the clusters that there are, and what comes of them fits the rollouts.
    fn check_overrides(
        &self,
        held: &Held,
        rollouts: &[&(String, RolloutSpec)],
        checked: &mut Checked,
    ) {
        let path = FieldPath::spec().key("overrides");
        let Ok(Chosen { placement, .. }) = self.choose(held) else {
            return;
        };
        for tried in try_clusters(self.spec, &placement.clusters) {
            match tried {
                Err((cluster, error)) => {
                    let at = self
                        .override_at(&error.name)
                        .unwrap_or_else(|| path.clone());
                    let cause = std::error::Error::source(&error)
                        .map_or_else(String::new, |cause| format!(": {cause}"));
                    let message = format!("in cluster {:?}: {error}{cause}", cluster.name);
                    checked
                        .errors
                        .push(self.application_error(at, message, None));
                }
                Ok(there) => {
                    let inline = there.spec.components.iter().filter_map(|component| {
                        let rollout = component.rollout.as_ref()?;
                        Some((
                            component.name.as_str(),
                            RolloutSpec {
                                component: Some(component.name.clone()),
                                ..rollout.clone()
                            },
                        ))
                    });
                    let records = rollouts
                        .iter()
                        .map(|(name, rollout)| (name.as_str(), rollout.clone()));
                    for (name, rollout) in inline.chain(records) {
                        for error in governed(&rollout, &there.spec).errors {
                            let message = format!(
                                "in cluster {:?} rollout {name:?} does not fit what the overrides make: {}: {}",
                                there.cluster.name, error.path, error.message
                            );
                            let error = self.application_error(path.clone(), message, None);
                            checked.errors.push(error);
                        }
                    }
                }
            }
        }
    }

    /// Whether the fleets that components name are there.
    fn check_components(&self, held: &Held, checked: &mut Checked) {
        for (index, component) in self.spec.components.iter().enumerate() {
            let destination = component.destination.as_ref();
            let Some(name) = destination.and_then(|one| one.fleet.as_ref()) else {
                continue;
            };
            if held.fleets.contains_key(name) {
                continue;
            }
            let at = FieldPath::spec().key("components").index(index);
            let at = at.key("destination").key("fleet");
            let meant = closest(name, held.fleets.keys().map(String::as_str));
            let message = format!("there is no fleet {name:?}");
            checked
                .errors
                .push(self.application_error(at, message, meant));
        }
    }

    /// Where the override of that name stands.
    fn override_at(&self, name: &str) -> Option<FieldPath> {
        let at = |list: &[Override]| list.iter().position(|one| one.name == name);
        if let Some(index) = at(&self.spec.overrides) {
            return Some(FieldPath::spec().key("overrides").index(index));
        }
        let mut components = self.spec.components.iter().enumerate();
        components.find_map(|(place, component)| {
            let path = FieldPath::spec().key("components").index(place);
            Some(path.key("overrides").index(at(&component.overrides)?))
        })
    }

    /// What a rollout that names no provider asks of its fleet's and these cannot do.
    fn fleet_lacks(&self, held: &Held, rollout: &RolloutSpec) -> Vec<String> {
        let fleet = self.spec.destination.fleet.as_ref();
        let Some(fleet) = fleet.and_then(|name| held.fleets.get(name)) else {
            return Vec::new();
        };
        let findings = fleet_traffic(rollout, &fleet.defaults.traffic);
        findings
            .errors
            .into_iter()
            .map(|finding| format!("the fleet's default {}", finding.message))
            .collect()
    }

    fn choose(&self, held: &Held) -> Result<Chosen, PlacementError> {
        let fleet = self.spec.destination.fleet.as_ref();
        let choice = Choice {
            destination: &self.spec.destination,
            policy: self.spec.placement.as_ref(),
            fleet: fleet.and_then(|name| held.fleets.get(name)),
            clusters: &held.clusters,
            standing: self.standing,
        };
        choose(self.name, choice, &held.fleets)
    }

    fn check_placement(&self, held: &Held, checked: &mut Checked) {
        let destination = FieldPath::spec().key("destination");
        let placement = match self.choose(held) {
            Ok(chosen) => chosen.placement,
            Err(PlacementError::NoSuchFleet { name }) => {
                let names = held.fleets.keys().map(String::as_str);
                let message = if held.fleets.is_empty() {
                    format!("there is no fleet {name:?}, and no other")
                } else {
                    let known: Vec<&str> =
                        held.fleets.keys().map(String::as_str).take(10).collect();
                    format!(
                        "there is no fleet {name:?}; there are: {}",
                        known.join(", ")
                    )
                };
                let path = destination.key("fleet");
                checked
                    .errors
                    .push(self.application_error(path, message, closest(&name, names)));
                return;
            }
            Err(error @ PlacementError::Empty) => {
                checked
                    .errors
                    .push(self.application_error(destination, error.to_string(), None));
                return;
            }
        };
        for condition in placement.conditions() {
            checked.warnings.push(format!(
                "application/{}: {}",
                self.name.name,
                condition.message()
            ));
        }
        if let Err(error) = assign(&self.spec.waves, &placement.clusters) {
            let path = FieldPath::spec().key("waves");
            checked
                .errors
                .push(self.application_error(path, error.to_string(), None));
        }
    }

    fn is(&self, document: &Document) -> bool {
        namespace_of(document, self.default_namespace) == self.name.namespace
    }

    fn application_source(&self) -> Option<&Source> {
        self.documents.iter().find_map(|document| match document {
            Document::Application(object)
                if self.is(document) && object.metadata.name == self.name.name =>
            {
                Some(&object.source)
            }
            _ => None,
        })
    }

    fn rollout_source(&self, name: &str) -> Option<&Source> {
        self.documents.iter().find_map(|document| match document {
            Document::Rollout(object) if self.is(document) && object.metadata.name == name => {
                Some(&object.source)
            }
            _ => None,
        })
    }

    fn both_written(&self, rollout: &str) -> bool {
        let namespace_written = |document: &&Document| {
            document.metadata().namespace.is_some()
                || self
                    .documents
                    .iter()
                    .all(|one| one.metadata().namespace.is_none())
        };
        self.application_source().is_some()
            && self.rollout_source(rollout).is_some()
            && self
                .documents
                .iter()
                .all(|document| namespace_written(&document))
    }

    /// Places an error in the application's document, or in whichever document touched it.
    fn application_error(
        &self,
        path: FieldPath,
        message: String,
        suggestion: Option<&str>,
    ) -> ProblemItem {
        match self.application_source() {
            Some(source) => finding(source, path, message, suggestion),
            None => ProblemItem {
                detail: format!("application/{} ({path}): {message}", self.name.name),
                suggestion: suggestion.map(str::to_owned),
                code: "Invalid".to_owned(),
                ..ProblemItem::default()
            },
        }
    }
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

async fn rollouts(
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
