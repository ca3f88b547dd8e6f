//! How many replicas each cluster gets of an application that divides them.

use std::collections::BTreeMap;

use bellwether_api::{application::ApplicationSpec, call::Condition, reference::NamespacedName};
use bellwether_hub_core::{
    addons::Fleets,
    overrides::share_texts,
    placement::ClusterFacts,
    release::{Undivided, content},
};

use super::{placement::condition, problem::ApiResult};
use crate::{app::App, loops::newest_content};

/// What is to be said of a division.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// What each cluster gets, by its name; empty = nothing is divided.
    pub texts: BTreeMap<String, Vec<String>>,
    /// Why nothing can be divided; absent = it can.
    pub condition: Option<Condition>,
}

impl Shares {
    /// Takes what one cluster gets.
    pub fn take(&mut self, cluster: &str) -> Vec<String> {
        self.texts.remove(cluster).unwrap_or_default()
    }
}

/// Says what each of these clusters gets of an application: as it is divided now, or as the next
/// release would be.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn shares(
    app: &App,
    name: &NamespacedName,
    spec: &ApplicationSpec,
    clusters: &[ClusterFacts],
    fleets: &Fleets,
) -> ApiResult<Shares> {
    let asked = spec
        .placement
        .as_ref()
        .and_then(|one| one.division.as_ref());
    if asked.is_none() || clusters.is_empty() {
        return Ok(Shares::default());
    }
    let before = newest_content(&app.store, name).await?;
    let before = before.as_ref().map(|(content, succeeded)| Undivided {
        content,
        succeeded: *succeeded,
    });
    // Who governs a workload has no part in how it is divided.
    let Ok(mut content) = content(&name.name, spec, &[]) else {
        return Ok(Shares::default());
    };
    if let Some(before) = before {
        content.rollouts.clone_from(&before.content.rollouts);
    }
    Ok(match content.divided(asked, before, clusters, fleets) {
        Ok(content) => Shares {
            texts: clusters
                .iter()
                .map(|one| (one.name.clone(), share_texts(&content, &one.name)))
                .collect(),
            condition: None,
        },
        Err(error) => Shares {
            texts: BTreeMap::new(),
            condition: Some(condition("Undivided", error.to_string())),
        },
    })
}
