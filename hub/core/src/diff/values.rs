use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    call::{FieldSet, OverrideExplained, ValueExplained, ValuesExplained, ValuesSource},
    cluster_template::ClusterValues,
};
use serde_json::{Map, Value};

use super::{
    Reading,
    explain::shown,
    leaves::{Leaves, leaves},
    mask::mask,
};
use crate::{
    components::present,
    placement::ClusterFacts,
    recipe::{Recipe, RecipeKind, ValuesError, filled, lay_over, values_overrides},
    release::ReleaseContent,
};

/// Says where the values come from that the charts and plugins of a cluster are rendered with, in the
/// order in which they are laid over one another. What secrets hold is not opened: it lies below all
/// else, so that it sets nothing that is shown here.
///
/// # Errors
/// A text of an override asks for something that the cluster lacks.
pub fn explain_values(
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    reading: Reading<'_>,
) -> Result<Vec<ValuesExplained>, ValuesError> {
    let mut found = Vec::new();
    for component in present(content, cluster, reading.fleets) {
        let recipe = component.rendered.as_ref().map(|from| &from.recipe);
        let Some(recipe) = recipe.filter(|recipe| recipe.kind.takes_values()) else {
            continue;
        };
        let mut layers = Layers::of(recipe, reading.salt);
        let here = ClusterValues {
            name: &cluster.name,
            labels: &cluster.labels,
        };
        for one in values_overrides(&content.overrides, &component.name) {
            let holds = one.holds_in(here);
            let own = holds.then(|| filled(&one, here)).transpose()?;
            layers.lay(one.name, own);
        }
        if !layers.sources.is_empty() {
            found.push(layers.into_explained(component.name.clone()));
        }
    }
    Ok(found)
}

/// Counts the values that an override sets among what it changes, so that one of values alone is not
/// said to change nothing.
pub fn count_values(overrides: &mut [OverrideExplained], values: &[ValuesExplained]) {
    for one in overrides {
        let sources = values.iter().flat_map(|values| &values.sources);
        let set = sources
            .filter(|source| source.name == one.name)
            .filter_map(|source| source.set);
        one.changed = set.fold(one.changed, u32::saturating_add);
    }
}

/// Values that are laid over one another.
struct Layers<'a> {
    salt: &'a [u8],
    sources: Vec<ValuesSource>,
    merged: Map<String, Value>,
    /// What stands where, as it is shown.
    leaves: Leaves,
    set: BTreeMap<String, Vec<FieldSet>>,
}

impl<'a> Layers<'a> {
    fn of(recipe: &Recipe, salt: &'a [u8]) -> Self {
        let secrets = recipe.values_from.iter().enumerate();
        let secrets = secrets.map(|(index, from)| ValuesSource {
            name: format!(
                "helm.valuesFrom[{index}] (secret {}, {})",
                from.secret, from.key
            ),
            holds: true,
            set: None,
        });
        let mut layers = Self {
            salt,
            sources: secrets.collect(),
            merged: Map::new(),
            leaves: Leaves::new(),
            set: BTreeMap::new(),
        };
        if !recipe.values.is_empty() {
            let written = match recipe.kind {
                RecipeKind::Plugin => "plugin.params",
                _ => "helm.values",
            };
            layers.lay(written.to_owned(), Some(recipe.values.clone()));
        }
        layers
    }

    /// Lays the values of one source over those before it; absent = it means other clusters.
    fn lay(&mut self, name: String, own: Option<Map<String, Value>>) {
        let holds = own.is_some();
        let count = own.map_or(0, |own| self.laid(&name, own));
        self.sources.push(ValuesSource {
            name,
            holds,
            set: Some(u32::try_from(count).unwrap_or(u32::MAX)),
        });
    }

    /// Notes what a source set or took away, and says how many values that are.
    fn laid(&mut self, name: &str, own: Map<String, Value>) -> usize {
        lay_over(&mut self.merged, &own);
        let mut shown_now = Value::Object(self.merged.clone());
        mask(&mut shown_now, self.salt);
        let after = match self.merged.is_empty() {
            true => Leaves::new(),
            false => leaves(&shown_now),
        };
        let own = leaves(&Value::Object(own));
        let gone = self.leaves.keys().filter(|path| !after.contains_key(*path));
        let written = own.keys().filter(|path| after.contains_key(*path));
        let paths: BTreeSet<String> = gone.chain(written).cloned().collect();
        for path in &paths {
            self.set.entry(path.clone()).or_default().push(FieldSet {
                by: name.to_owned(),
                to: after.get(path).map(shown),
            });
        }
        self.leaves = after;
        paths.len()
    }

    fn into_explained(self, component: String) -> ValuesExplained {
        let values = self.set.into_iter();
        ValuesExplained {
            component,
            sources: self.sources,
            values: values
                .map(|(path, set)| ValueExplained { path, set })
                .collect(),
        }
    }
}
