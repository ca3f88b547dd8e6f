//! An application whose objects are to stay is not deleted before its clusters know.

use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec, bundle::Bundle, reference::NamespacedName,
    sync_policy::DeletionPolicies,
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
    let Some(wanted) = spec.map(|spec| DeletionPolicies::of_application(&spec)) else {
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
async fn untold(app: &App, key: &RecordKey, wanted: &DeletionPolicies) -> ApiResult<Vec<String>> {
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
        let known: Option<&DeletionPolicies> = policies[&digest].as_ref();
        let knows = known.is_some_and(|known| known.keep_all_of(wanted));
        if !knows {
            names.push(cluster.name);
        }
    }
    Ok(names)
}

/// What a bundle says; absent = it is not kept any more, or there is none.
async fn policy_of(app: &App, digest: &str) -> Result<Option<DeletionPolicies>, StoreError> {
    let Ok(digest) = digest.parse::<Digest>() else {
        return Ok(None);
    };
    let content = blobs::get(&app.store, digest).await?;
    let bundle: Option<Bundle> = content.and_then(|content| serde_json::from_slice(&content).ok());
    Ok(bundle.map(|bundle| DeletionPolicies::of_bundle(&bundle)))
}
