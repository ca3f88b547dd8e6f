//! The division of what an application's records say over its clusters.

use bellwether_api::{application::ApplicationSpec, division::Division};
use bellwether_hub_core::release::{ReleaseContent, Undivided};

use super::{
    LoopError,
    application::{Known, Look},
    loaded::{Loaded, with_content},
};

/// How an application divides its replicas; absent = it does not.
pub(super) fn asked(spec: &ApplicationSpec) -> Option<&Division> {
    spec.placement.as_ref()?.division.as_ref()
}

/// Divides the replicas of what the records say over the clusters that are chosen.
///
/// # Errors
/// Nobody could get anything, or the database fails.
pub(super) async fn divided(
    look: Look<'_>,
    known: &Known,
    latest: Option<&Loaded>,
    content: ReleaseContent,
) -> Result<ReleaseContent, LoopError> {
    let clusters = &known.placement.clusters;
    let asked = asked(&known.wanted.spec).filter(|_| !clusters.is_empty());
    // Reading the newest release is for those that divide alone.
    let before = match latest.filter(|_| asked.is_some()) {
        Some(latest) => Some((with_content(look.store, &latest.release).await?, latest)),
        None => None,
    };
    let before = before.as_ref().map(|(release, latest)| Undivided {
        content: &release.content,
        succeeded: latest.run.status == bellwether_api::view::RunPhase::Succeeded,
    });
    content
        .divided(asked, before, clusters, look.world.fleets())
        .map_err(|source| LoopError::Divide {
            application: look.application.clone(),
            source,
        })
}

/// Divides a release that is restored over the clusters that are chosen now.
///
/// # Errors
/// Nobody could get anything, or the database fails.
pub(super) async fn divided_again(
    look: Look<'_>,
    known: &Known,
    latest: &Loaded,
    content: ReleaseContent,
) -> Result<ReleaseContent, LoopError> {
    if content.division.is_none() {
        return Ok(content);
    }
    let before = with_content(look.store, &latest.release).await?.content;
    let clusters = &known.placement.clusters;
    content
        .divided_again(before.division.as_ref(), clusters, look.world.fleets())
        .map_err(|source| LoopError::Divide {
            application: look.application.clone(),
            source,
        })
}
