use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::bundle::{Bundle, BundleComponent};
use bellwether_hub_core::{
    allowance::Allowance,
    brake::{self, Loss, dropped_objects, is_uneven, lost_objects},
    bundle::{Likeness, components, likeness},
    placement::ClusterFacts,
    release::ReleaseContent,
};
use bellwether_store::{Digest, blobs, releases};
use uuid::Uuid;

use super::{
    LoopError,
    application::{Known, Look},
    facts::{Wanted, holders},
    loaded::{Loaded, with_content},
    rendered::{self, Preparation, RenderedRelease, Sent},
};

/// Bundles that are read at once.
const READ_AT_ONCE: usize = 100;

/// What clusters may hold: the content of the newest release, and of the last that succeeded.
pub(super) async fn may_be_held(
    look: Look<'_>,
    latest: &Loaded,
    last_succeeded: Option<Uuid>,
) -> Result<Vec<ReleaseContent>, LoopError> {
    let store = look.store;
    let mut before = vec![with_content(store, &latest.release).await?.content];
    if let Some(id) = last_succeeded.filter(|id| *id != latest.release.id)
        && let Some(stored) = releases::get(store, id).await?
    {
        before.push(with_content(store, &stored).await?.content);
    }
    Ok(before)
}

/// Refuses a release that would delete many of the application's objects at once. Gives by whose word it does;
/// absent = it takes none.
pub(super) fn refuse_mass_prune(
    look: Look<'_>,
    wanted: &Wanted,
    before: &[ReleaseContent],
    next: &ReleaseContent,
) -> Result<Option<Allowance>, LoopError> {
    let loss = dropped_objects(&before.iter().collect::<Vec<_>>(), next);
    let allowance = wanted.prune_allowance();
    if loss.is_braked(allowance.count()) {
        return Err(LoopError::PruneHeld {
            application: look.application.clone(),
            dropped: loss.leaving,
            held: loss.holding,
            place: String::new(),
            ask: Box::new(allowance.ask(loss.leaving)),
        });
    }
    Ok(loss.is_braked(None).then_some(allowance))
}

/// Refuses a release that would take many objects away from one cluster at once, whoever else keeps them:
/// because its values, its overrides or the destinations of components say so, by the labels and the Kubernetes
/// that it has now. Gives by whose word it does; absent = it takes none.
///
/// What clusters that are alike would get is made once, and what they hold is read once a bundle.
pub(super) async fn refuse_mass_leaving(
    look: Look<'_>,
    known: &Known,
    before: &[ReleaseContent],
    next: &ReleaseContent,
) -> Result<Option<Allowance>, LoopError> {
    if !is_uneven(next) && !before.iter().any(is_uneven) {
        return Ok(None);
    }
    let groups = alike(look, known, next).await?;
    let before = brake::Known::of(before);
    let most = most_lost(look, &before, next, &groups).await?;
    let allowance = known.wanted.prune_allowance();
    let Some((loss, cluster)) = most else {
        return Ok(None);
    };
    if loss.is_braked(allowance.count()) {
        return Err(LoopError::PruneHeld {
            application: look.application.clone(),
            dropped: loss.leaving,
            held: loss.holding,
            place: format!(" in cluster {}", cluster.name),
            ask: Box::new(allowance.ask(loss.leaving)),
        });
    }
    Ok(Some(allowance))
}

/// Clusters that hold the same and would get the same; `one` stands for all of them.
struct Group<'a> {
    one: &'a ClusterFacts,
    held: Digest,
    /// What the cluster would get; shared by all groups that would get the same.
    gets: Arc<Vec<BundleComponent>>,
}

/// Groups the clusters that have the application and get the release. Those that cannot get it lose nothing.
async fn alike<'a>(
    look: Look<'a>,
    known: &'a Known,
    next: &ReleaseContent,
) -> Result<Vec<Group<'a>>, LoopError> {
    let rendered = match &known.sources.preparation {
        Preparation::Ready(prepared) => prepared.release.clone(),
        Preparation::Inline | Preparation::Held(_) => RenderedRelease::default(),
    };
    let sent = rendered::to_send(look, known, next, &rendered).await?;
    let holders = holders(look.store, look.application).await?;
    let fleets = look.world.fleets();
    let mut kinds: BTreeMap<(usize, Likeness), Option<Arc<Vec<BundleComponent>>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    for cluster in &known.placement.clusters {
        let Some(held) = holders.get(&cluster.id).copied() else {
            continue;
        };
        if rendered.unrendered.contains_key(&cluster.id) {
            continue;
        }
        let own: Option<&Sent> = sent.get(&cluster.id);
        let content = own.map_or(next, |sent| &*sent.content);
        let kind = (
            std::ptr::from_ref(content).addr(),
            likeness(content, cluster, fleets),
        );
        if !seen.insert((held, kind.clone())) {
            continue;
        }
        // An override that does not fit is told when the cluster is granted: it keeps what it has.
        let gets = kinds
            .entry(kind)
            .or_insert_with(|| components(content, cluster, fleets).ok().map(Arc::new));
        if let Some(gets) = gets {
            groups.push(Group {
                one: cluster,
                held,
                gets: Arc::clone(gets),
            });
        }
    }
    Ok(groups)
}

/// The loss that takes the most of a word, and where; absent = none takes one.
async fn most_lost<'a>(
    look: Look<'_>,
    before: &brake::Known<'_>,
    next: &ReleaseContent,
    groups: &[Group<'a>],
) -> Result<Option<(Loss, &'a ClusterFacts)>, LoopError> {
    let mut by_digest: BTreeMap<Digest, Vec<&Group<'a>>> = BTreeMap::new();
    for group in groups {
        by_digest.entry(group.held).or_default().push(group);
    }
    let digests: Vec<Digest> = by_digest.keys().copied().collect();
    let mut most: Option<(Loss, &ClusterFacts)> = None;
    for some in digests.chunks(READ_AT_ONCE) {
        for (digest, bytes) in blobs::get_many(look.store, some).await? {
            let Ok(held) = serde_json::from_slice::<Bundle>(&bytes) else {
                continue;
            };
            for group in by_digest.get(&digest).into_iter().flatten() {
                let loss = lost_objects(&held, before, next, &group.gets);
                let is_more = most.is_none_or(|(most, _)| loss.leaving > most.leaving);
                if loss.is_braked(None) && is_more {
                    most = Some((loss, group.one));
                }
            }
        }
    }
    Ok(most)
}
