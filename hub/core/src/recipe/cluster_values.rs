//! Values that a chart is rendered with in some clusters alone.

use bellwether_api::{
    cluster_template::{ClusterTemplateError, ClusterValues, fill},
    overrides::Override,
    selector::Selector,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lay_over;

/// The values of one override, with where they hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuesOverride {
    /// The override.
    pub name: String,
    /// The clusters by label; absent = whatever labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The clusters by name; empty = whatever name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// The values, whose texts are not filled in yet.
    pub values: Map<String, Value>,
}

/// Why the values of an override cannot be used in a cluster.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to fill in the values of override {name:?}")]
pub struct ValuesError {
    /// The override.
    pub name: String,
    /// Why.
    #[source]
    pub source: ClusterTemplateError,
}

/// Returns what overrides say of a component's values, in their order.
#[must_use]
pub fn values_overrides(overrides: &[Override], component: &str) -> Vec<ValuesOverride> {
    overrides
        .iter()
        .filter(|one| one.concerns(component))
        .filter_map(|one| {
            Some(ValuesOverride {
                name: one.name.clone(),
                selector: one.selector.clone(),
                clusters: one.clusters.clone(),
                values: one.values.as_ref()?.as_object()?.clone(),
            })
        })
        .collect()
}

/// Returns the values that hold in one cluster, later ones over earlier ones; a null stays, for it
/// takes a value of the chart away. Empty = the cluster has none of its own.
///
/// # Errors
/// A text asks for something that the cluster lacks.
pub fn values_in(
    overrides: &[ValuesOverride],
    cluster: ClusterValues<'_>,
) -> Result<Map<String, Value>, ValuesError> {
    let mut values = Map::new();
    for one in overrides.iter().filter(|one| one.holds_in(cluster)) {
        lay_over(&mut values, &filled(one, cluster)?);
    }
    Ok(values)
}

/// Returns the values of one override with its texts filled in.
pub(crate) fn filled(
    one: &ValuesOverride,
    cluster: ClusterValues<'_>,
) -> Result<Map<String, Value>, ValuesError> {
    let mut own = one.values.clone();
    for value in own.values_mut() {
        fill_all(value, cluster).map_err(|source| ValuesError {
            name: one.name.clone(),
            source,
        })?;
    }
    Ok(own)
}

impl ValuesOverride {
    /// Tells whether it holds in a cluster.
    pub(crate) fn holds_in(&self, cluster: ClusterValues<'_>) -> bool {
        let is_named =
            self.clusters.is_empty() || self.clusters.iter().any(|one| one == cluster.name);
        let selector = self.selector.as_ref();
        is_named && selector.is_none_or(|selector| selector.matches(cluster.labels))
    }
}

fn fill_all(value: &mut Value, cluster: ClusterValues<'_>) -> Result<(), ClusterTemplateError> {
    match value {
        Value::String(text) => *text = fill(text, cluster)?,
        Value::Array(items) => {
            for item in items {
                fill_all(item, cluster)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                fill_all(field, cluster)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn overrides(list: Value) -> Vec<ValuesOverride> {
        let list: Vec<Override> = serde_json::from_value(list).expect("overrides");
        values_overrides(&list, "web")
    }

    fn values(list: &[ValuesOverride], env: &str) -> Result<Value, ValuesError> {
        let labels = BTreeMap::from([("env".to_owned(), env.to_owned())]);
        let cluster = ClusterValues {
            name: "c1",
            labels: &labels,
        };
        values_in(list, cluster).map(Value::Object)
    }

    #[test]
    fn later_values_win_and_maps_are_merged() {
        let list = overrides(json!([
            {"name": "all", "values": {"host": "svc-{{ cluster.labels.env }}.ink", "image": {"tag": "a", "pull": "x"}}},
            {"name": "other", "components": ["db"], "values": {"host": "db"}},
            {"name": "prod", "selector": {"matchLabels": {"env": "prod"}},
             "values": {"host": "svc.ink", "image": {"tag": null}, "list": [1]}},
            {"name": "away", "clusters": ["c2"], "values": {"host": "away"}},
            {"name": "plain", "labels": {"a": "b"}},
        ]));
        assert_eq!(list.len(), 3);
        assert_eq!(
            values(&list, "sit"),
            Ok(json!({"host": "svc-sit.ink", "image": {"tag": "a", "pull": "x"}}))
        );
        assert_eq!(
            values(&list, "prod"),
            Ok(json!({"host": "svc.ink", "image": {"tag": null, "pull": "x"}, "list": [1]})),
            "null stays: it takes the chart's own away"
        );
        assert_eq!(values(&[], "prod"), Ok(json!({})));
    }

    #[test]
    fn a_label_that_is_missing_names_the_override() {
        let list =
            overrides(json!([{"name": "all", "values": {"a": ["{{ cluster.labels.zone }}"]}}]));
        let error = values(&list, "sit").expect_err("it has no such label");
        assert_eq!(error.name, "all");
    }
}
