use bellwether_api::application::ApplicationSpec;
use bellwether_hub_core::release::{Published, ReleaseContent, Written, is_draft};
use bellwether_store::{
    Store,
    releases::{self, Release},
};

use super::LoopError;

/// Tells whether what an application says is a draft, beside its newest release and that one's
/// content.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn waits_as_draft(
    store: &Store,
    spec: &ApplicationSpec,
    release: &Release,
    content: &ReleaseContent,
) -> Result<bool, LoopError> {
    if spec.publish_version.is_none() {
        return Ok(false);
    }
    let Some(restores) = &release.restores else {
        return Ok(is_draft(spec, Published::Release(content)));
    };
    let written = instead_of(store, release, restores).await?;
    Ok(is_draft(spec, Published::InsteadOf(&written)))
}

/// Reads what an application said when its newest release restored an earlier one.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub(super) async fn instead_of(
    store: &Store,
    release: &Release,
    restores: &releases::Restores,
) -> Result<Written, LoopError> {
    let bytes = releases::instead_of(store, restores).await?;
    serde_json::from_slice(&bytes).map_err(|source| LoopError::Corrupt {
        what: "restored release",
        application: release.application.clone(),
        source,
    })
}
