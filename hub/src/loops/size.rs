use std::sync::Arc;

use bellwether_api::bundle::{BundleMode, MAX_PACKED_BYTES, TooLarge};
use bellwether_hub_core::{
    bundle::{BundleInput, EncodedBundle, build, may_be_too_large, unlike},
    placement::ClusterFacts,
    release::{Release, ReleaseContent},
};
use bellwether_store::blobs;
use uuid::Uuid;

use super::{
    LoopError,
    application::{Known, Look},
    rendered::{self, Preparation, RenderedRelease},
};

/// Refuses a release of which some cluster would get more than its agent takes: none would be half of it.
pub(super) async fn refuse_too_large(
    look: Look<'_>,
    known: &Known,
    content: &ReleaseContent,
) -> Result<(), LoopError> {
    let (hooks, rendered) = match &known.sources.preparation {
        Preparation::Ready(prepared) => (
            prepared.hooks.values().flatten().collect(),
            prepared.release.clone(),
        ),
        Preparation::Inline | Preparation::Held(_) => (Vec::new(), RenderedRelease::default()),
    };
    if !may_be_too_large(content, &hooks) {
        return Ok(());
    }
    let sent = rendered::to_send(look, known, content, &rendered).await?;
    let own = |id: Uuid| sent.get(&id).map(|sent| Arc::as_ptr(&sent.content).addr());
    let placed = known.placement.clusters.iter();
    let getting = placed.filter(|cluster| !rendered.unrendered.contains_key(&cluster.id));
    let fleets = look.world.fleets();
    let fleet = look.world.fleet_defaults(&known.wanted.spec);
    for cluster in unlike(content, getting, fleets, own) {
        let release = Release {
            id: Uuid::nil(),
            revision: u64::MAX,
            digest: content.digest(),
            content: match sent.get(&cluster.id) {
                Some(sent) => (*sent.content).clone(),
                None => content.clone(),
            },
        };
        let bundle = build(BundleInput {
            application: look.application,
            release: &release,
            run: Uuid::nil(),
            attempt: u32::MAX,
            mode: BundleMode::Rollout,
            returns: false,
            cluster,
            fleet: &fleet,
            fleets,
        })
        .map_err(|source| LoopError::Override {
            application: look.application.clone(),
            cluster: cluster.id,
            name: cluster.name.clone(),
            source: Box::new(source),
        })?;
        fits(look, cluster, &bundle)?;
    }
    Ok(())
}

fn fits(look: Look<'_>, cluster: &ClusterFacts, bundle: &EncodedBundle) -> Result<(), LoopError> {
    check(bundle)?.map_err(|source| LoopError::TooLarge {
        application: look.application.clone(),
        cluster: cluster.id,
        name: cluster.name.clone(),
        source,
    })
}

/// Says by how much a bundle is larger than what an agent takes.
pub(super) fn check(bundle: &EncodedBundle) -> Result<Result<(), TooLarge>, LoopError> {
    let bytes = bundle.bytes.len();
    let unpacked =
        TooLarge::check_objects(&bundle.bundle).and_then(|()| TooLarge::check_content(bytes));
    // What packs badly grows by little: most bundles need not be packed to see that they fit.
    if unpacked.is_err() || bytes <= MAX_PACKED_BYTES / 2 {
        return Ok(unpacked);
    }
    Ok(TooLarge::check_packed(blobs::packed_bytes(&bundle.bytes)?))
}
