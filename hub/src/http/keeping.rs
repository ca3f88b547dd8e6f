//! An application whose objects are to stay is not deleted before its clusters know.

use std::{collections::BTreeMap, fmt};

use bellwether_api::{
    application::{ApplicationSpec, Component, ComponentSync},
    bundle::{Bundle, BundleComponent},
    reference::NamespacedName,
    sync_policy::DeletionPolicy,
};
use bellwether_store::{
    Digest, StoreError, blobs,
    clusters::{self, ClusterState},
    desired,
    records::{self, RecordKey},
    status,
};

use super::problem::{ApiError, ApiResult};
use crate::app::App;

/// Clusters that are named at most.
const MAX_NAMED: usize = 5;

/// The tombstone of an application that is deleted says nothing of `sync.deletion`, which goes with the record:
/// an agent goes by the newest release that it took up. Refuses to delete an application of which more should
/// stay, all of it or of one component, than one of its clusters has heard.
///
/// # Errors
/// 409 with the clusters, or the database fails.
pub async fn refuse_untold(app: &App, key: &RecordKey) -> ApiResult<()> {
    let Some(record) = records::get(&app.store, key).await? else {
        return Ok(());
    };
    let spec: Option<ApplicationSpec> = serde_json::from_value(record.spec).ok();
    let Some(wanted) = spec.map(|spec| Policies::of_application(&spec)) else {
        return Ok(());
    };
    if !wanted.keep_any() {
        return Ok(());
    }
    let untold = untold(app, key, &wanted).await?;
    if untold.is_empty() {
        return Ok(());
    }
    let mut names = untold[..untold.len().min(MAX_NAMED)].join(", ");
    if untold.len() > MAX_NAMED {
        names.push_str(&format!(" and {} more", untold.len() - MAX_NAMED));
    }
    Err(ApiError::conflict(format!(
        "application {:?} says {wanted}, which {names} did not take up yet: they would delete what is to \
         stay; wait until the release is everywhere, or say Delete; nothing was deleted",
        key.name
    )))
}

/// The clusters that would delete more than is wanted, or of which that is not known.
async fn untold(app: &App, key: &RecordKey, wanted: &Policies) -> ApiResult<Vec<String>> {
    let name = NamespacedName {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    };
    let unit = format!("application/{name}");
    let held = desired::holders(&app.store, &unit).await?;
    let told: BTreeMap<_, _> = status::list_for_unit(&app.store, &unit)
        .await?
        .into_iter()
        .map(|row| {
            (
                row.cluster,
                row.detail["digest"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let mut policies = BTreeMap::new();
    let mut names = Vec::new();
    for cluster in clusters::list(&app.store).await? {
        if cluster.state == ClusterState::Revoked || !held.contains_key(&cluster.id) {
            continue;
        }
        let digest = told.get(&cluster.id).cloned().unwrap_or_default();
        if !policies.contains_key(&digest) {
            policies.insert(digest.clone(), policy_of(app, &digest).await?);
        }
        let known = policies[&digest].as_ref();
        let knows = known.is_some_and(|known: &Policies| known.keep_all_of(wanted));
        if !knows {
            names.push(cluster.name);
        }
    }
    Ok(names)
}

/// What a bundle says; absent = it is not kept any more, or there is none.
async fn policy_of(app: &App, digest: &str) -> Result<Option<Policies>, StoreError> {
    let Ok(digest) = digest.parse::<Digest>() else {
        return Ok(None);
    };
    let content = blobs::get(&app.store, digest).await?;
    let bundle: Option<Bundle> = content.and_then(|content| serde_json::from_slice(&content).ok());
    Ok(bundle.map(|bundle| Policies::of_bundle(&bundle)))
}

/// What becomes of objects when their application goes.
struct Policies {
    application: DeletionPolicy,
    /// By component, those that say it themselves, and those that go by the application.
    components: BTreeMap<String, Option<DeletionPolicy>>,
}

impl Policies {
    fn of_application(spec: &ApplicationSpec) -> Self {
        let own = |one: &Component| (one.name.clone(), own_policy(one.sync.as_ref()));
        Self {
            application: spec.sync.deletion,
            components: spec.components.iter().map(own).collect(),
        }
    }

    fn of_bundle(bundle: &Bundle) -> Self {
        let own = |one: &BundleComponent| (one.name.clone(), own_policy(one.sync.as_ref()));
        Self {
            application: bundle.sync.deletion,
            components: bundle.components.iter().map(own).collect(),
        }
    }

    fn of(&self, component: &str) -> Option<DeletionPolicy> {
        let own = self.components.get(component)?;
        Some(own.unwrap_or(self.application))
    }

    fn keep_any(&self) -> bool {
        let mut own = self.components.values().flatten();
        self.application != DeletionPolicy::Delete
            || own.any(|policy| *policy != DeletionPolicy::Delete)
    }

    /// Tells whether at least as much stays as `wanted` says. What a component that is wanted no more made
    /// may be another's by now, and stays as the one of those that keeps most says.
    fn keep_all_of(&self, wanted: &Self) -> bool {
        let new = wanted.components.keys();
        let new = new.filter(|name| self.of(name).is_none());
        let most_of_new = new.filter_map(|name| wanted.of(name)).map(keeps).max();
        let enough = |name: &String| {
            let known = self.of(name).map_or(0, keeps);
            let wanted = wanted.of(name).map(keeps).or(most_of_new);
            known >= wanted.unwrap_or_default()
        };
        keeps(self.application) >= keeps(wanted.application) && self.components.keys().all(enough)
    }
}

impl fmt::Display for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.components.iter().filter_map(|(name, own)| {
            let policy = own.filter(|policy| *policy != DeletionPolicy::Delete)?;
            Some(format!("sync.deletion: {policy:?} of component {name:?}"))
        });
        let all = (self.application != DeletionPolicy::Delete)
            .then(|| format!("sync.deletion: {:?}", self.application));
        let said: Vec<String> = all.into_iter().chain(own).collect();
        f.write_str(&said.join(", "))
    }
}

fn own_policy(sync: Option<&ComponentSync>) -> Option<DeletionPolicy> {
    sync?.deletion
}

/// How much stays, in order.
const fn keeps(policy: DeletionPolicy) -> u8 {
    match policy {
        DeletionPolicy::Delete => 0,
        DeletionPolicy::SelectivelyOrphan => 1,
        DeletionPolicy::Orphan => 2,
    }
}
