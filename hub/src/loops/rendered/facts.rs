use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bellwether_api::cluster_template::ClusterValues;
use bellwether_hub_core::{
    placement::ClusterFacts,
    recipe::{RenderFacts, ValuesOverride, values_in},
};
use bellwether_store::{Digest, renderings::FactsByComponent};
use serde_json::{Map, Value};

use crate::{loops::world::Served, telemetry::chain};

/// Says what a rendering sees of clusters. Those that serve the same share one [`Served`], so that
/// one digest is enough for all of them that have the same values.
pub(super) struct Facts<'a> {
    renderer: &'a str,
    /// By component; a component without values of clusters is left out.
    values: BTreeMap<String, Vec<ValuesOverride>>,
    known: HashMap<(usize, String), Digest>,
}

impl<'a> Facts<'a> {
    pub fn new(renderer: &'a str, values: BTreeMap<String, Vec<ValuesOverride>>) -> Self {
        Self {
            renderer,
            values,
            known: HashMap::new(),
        }
    }

    /// What a component is rendered for in a cluster.
    ///
    /// # Errors
    /// Why its values do not fit the cluster.
    pub fn of(
        &self,
        served: &Served,
        cluster: &ClusterFacts,
        component: &str,
    ) -> Result<RenderFacts, String> {
        Ok(RenderFacts {
            kubernetes_version: served.kubernetes_version.clone(),
            api_versions: served.api_versions.clone(),
            values: self.values_of(cluster, component)?,
            renderer: self.renderer.to_owned(),
        })
    }

    /// The digest of [`Facts::of`].
    ///
    /// # Errors
    /// Why the component's values do not fit the cluster.
    pub fn digest(
        &mut self,
        served: &Arc<Served>,
        cluster: &ClusterFacts,
        component: &str,
    ) -> Result<Digest, String> {
        let values = self.values_of(cluster, component)?;
        let text = if values.is_empty() {
            String::new()
        } else {
            Value::Object(values).to_string()
        };
        let key = (Arc::as_ptr(served).addr(), text);
        if let Some(digest) = self.known.get(&key) {
            return Ok(*digest);
        }
        let digest = Digest(self.of(served, cluster, component)?.digest());
        self.known.insert(key, digest);
        Ok(digest)
    }

    fn values_of(
        &self,
        cluster: &ClusterFacts,
        component: &str,
    ) -> Result<Map<String, Value>, String> {
        let Some(overrides) = self.values.get(component) else {
            return Ok(Map::new());
        };
        let values = ClusterValues {
            name: &cluster.name,
            labels: &cluster.labels,
        };
        values_in(overrides, values).map_err(|error| chain(&error))
    }
}

/// The facts that were settled for a component, if they were.
pub(super) fn settled(facts: Option<&FactsByComponent>, component: &str) -> Option<Digest> {
    let facts = facts?;
    facts.get(component).or_else(|| facts.get("")).copied()
}
