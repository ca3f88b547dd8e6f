use std::collections::BTreeMap;

use bellwether_api::bundle::Bundle;
use bellwether_hub_core::{
    components::{are_placed, leaving, present},
    release::ReleaseContent,
};
use bellwether_store::{Digest, blobs};

use super::{
    LoopError,
    application::{Known, Look},
    facts::holders,
};

/// Refuses a release that would take many objects away from a cluster at once because components do
/// not go there any more: by what their destinations say now, and by the labels that clusters have now.
pub(super) async fn refuse_mass_leaving(
    look: Look<'_>,
    known: &Known,
    next: &ReleaseContent,
) -> Result<(), LoopError> {
    if !are_placed(next) {
        return Ok(());
    }
    let allowance = known.wanted.prune_allowance();
    let mut bundles: BTreeMap<Digest, Option<Bundle>> = BTreeMap::new();
    for (id, digest) in holders(look.store, look.application).await? {
        let Some(cluster) = look.world.cluster(id) else {
            continue;
        };
        if let std::collections::btree_map::Entry::Vacant(place) = bundles.entry(digest) {
            let bytes = blobs::get(look.store, digest).await?;
            place.insert(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()));
        }
        let Some(Some(held)) = bundles.get(&digest) else {
            continue;
        };
        let there = present(next, cluster, look.world.fleets());
        let loss = leaving(held, next, &there);
        if loss.is_braked(allowance) {
            return Err(LoopError::PruneHeld {
                application: look.application.clone(),
                dropped: loss.leaving,
                held: loss.holding,
            });
        }
    }
    Ok(())
}
