use std::collections::BTreeSet;

use bellwether_api::{
    application::ApplicationSpec, cluster_template::ClusterValues, legacy::normalised,
    overrides::Override,
};
use serde_json::Value;

use super::{OverrideError, in_cluster};
use crate::{placement::ClusterFacts, release::DEFAULT_TARGET_NAMESPACE};

/// Kinds of clusters up to which each is tried before an application is accepted. What does not fit
/// a cluster beyond them is found when a release is made for it.
const MAX_TRIED: usize = 500;

/// An application whose objects are what one cluster gets.
#[derive(Clone, Debug)]
pub struct InCluster<'a> {
    /// One of the clusters for which this holds.
    pub cluster: &'a ClusterFacts,
    /// The application, with the objects of that cluster.
    pub spec: ApplicationSpec,
}

/// Applies the overrides of an application for every kind of cluster among `clusters`: clusters in
/// which the same overrides hold and, where texts have placeholders, no two. Without overrides the
/// list is empty.
pub fn try_clusters<'a>(
    spec: &ApplicationSpec,
    clusters: &'a [ClusterFacts],
) -> Vec<Result<InCluster<'a>, (&'a ClusterFacts, OverrideError)>> {
    let overrides = spec.all_overrides();
    if overrides.is_empty() {
        return Vec::new();
    }
    let told_apart = told_apart(&overrides);
    let mut seen = BTreeSet::new();
    let mut tried = Vec::new();
    for cluster in clusters {
        let kind = kind_of(&overrides, cluster, told_apart);
        if seen.len() == MAX_TRIED || !seen.insert(kind) {
            continue;
        }
        tried.push(
            overridden(spec, cluster)
                .map(|spec| InCluster { cluster, spec })
                .map_err(|error| (cluster, error)),
        );
    }
    tried
}

/// Which overrides hold in a cluster, with its name where that makes it one of its own kind.
pub(crate) type ClusterKind<'a> = (Vec<bool>, Option<&'a str>);

/// Tells clusters apart by what overrides do to them: those of one kind get the same.
pub(crate) fn kind_of<'a>(
    overrides: &[Override],
    cluster: &'a ClusterFacts,
    told_apart: bool,
) -> ClusterKind<'a> {
    let holding = overrides
        .iter()
        .map(|one| one.holds_in(&cluster.name, &cluster.labels));
    (
        holding.collect(),
        told_apart.then_some(cluster.name.as_str()),
    )
}

/// Tells whether texts of overrides have placeholders, so that no two clusters get the same.
pub(crate) fn told_apart(overrides: &[Override]) -> bool {
    overrides.iter().any(has_placeholders)
}

fn overridden(
    spec: &ApplicationSpec,
    cluster: &ClusterFacts,
) -> Result<ApplicationSpec, OverrideError> {
    let values = ClusterValues {
        name: &cluster.name,
        labels: &cluster.labels,
    };
    let overrides = spec.all_overrides();
    let mut out = spec.clone();
    for component in &mut out.components {
        let Some(objects) = &mut component.manifests else {
            continue;
        };
        let namespace = component
            .target_namespace
            .as_deref()
            .or(spec.target_namespace.as_deref())
            .unwrap_or(DEFAULT_TARGET_NAMESPACE);
        let written: Vec<Value> = objects.iter().map(normalised).collect();
        *objects = in_cluster(&overrides, values, &component.name, namespace, &written)?.objects;
    }
    out.overrides.clear();
    for component in &mut out.components {
        component.overrides.clear();
    }
    Ok(out)
}

fn has_placeholders(one: &Override) -> bool {
    fn any(value: &Value) -> bool {
        match value {
            Value::String(text) => bellwether_api::cluster_template::has_placeholders(text),
            Value::Array(items) => items.iter().any(any),
            Value::Object(fields) => fields.values().any(any),
            _ => false,
        }
    }
    any(&serde_json::to_value(one).expect("types of the API always serialise"))
}
