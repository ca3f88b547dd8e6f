//! Clusters for which a component renders another Rollout than for any that a release was made of.

use std::collections::BTreeMap;

use bellwether_hub_core::{records::take, release::RolloutRecord};
use bellwether_store::{Digest, releases};
use uuid::Uuid;

use super::Sight;
use crate::loops::{LoopError, loaded::with_content};

/// Says why these clusters cannot have a release, by what is rendered for them, by component. Renderings that are no use
/// at all are not named: sending them says why.
pub(super) async fn other_variants(
    sight: Sight<'_>,
    release: Uuid,
    rendered: &BTreeMap<Uuid, Vec<(String, Digest)>>,
) -> Result<BTreeMap<Uuid, String>, LoopError> {
    let mut found = BTreeMap::new();
    let Some(renderings) = sight.renderings else {
        return Ok(found);
    };
    let mut known: BTreeMap<&(String, Digest), Vec<RolloutRecord>> = BTreeMap::new();
    for one in rendered.values().flatten() {
        if !known.contains_key(one) {
            let (component, digest) = one;
            let rendering = renderings.read(*digest).await?;
            let taken = take(&sight.application.name, component, &rendering.objects);
            known.insert(one, taken.unwrap_or_default().rollouts);
        }
    }
    if known.values().all(Vec::is_empty) {
        return Ok(found);
    }
    let Some(stored) = releases::get(sight.store, release).await? else {
        return Ok(found);
    };
    let content = with_content(sight.store, &stored).await?.content;
    for (cluster, renderings) in rendered {
        let records = renderings.iter().flat_map(|one| known[one].iter());
        let records: Vec<RolloutRecord> = records.cloned().collect();
        if let Err(other) = content.refuse_other(&records) {
            found.insert(*cluster, other.to_string());
        }
    }
    Ok(found)
}
