//! What clusters would lose of what they hold, once for all that are alike.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bellwether_api::bundle::BundleComponent;
use bellwether_hub_core::{
    addons::Fleets,
    brake::{self, Loss, loses_nothing_more, loss_in_cluster},
    bundle::{Likeness, components, likeness},
    placement::ClusterFacts,
    release::ReleaseContent,
};
use bellwether_store::{Digest, Store, blobs};

use crate::loops::LoopError;

/// Bundles that are read at once.
const READ_AT_ONCE: usize = 100;

/// A cluster that holds the application and would get a release.
pub struct Getting<'a> {
    pub cluster: &'a ClusterFacts,
    pub held: Digest,
    /// The release, as it is rendered for the cluster.
    pub content: &'a ReleaseContent,
}

/// Clusters that hold the same and would get the same; at least one.
pub struct Group<'a> {
    pub clusters: Vec<&'a ClusterFacts>,
    held: Digest,
    /// What each of them would get; shared by all groups that would get the same.
    gets: Arc<Vec<BundleComponent>>,
}

/// Groups clusters that are alike.
pub fn alike<'a>(getting: impl Iterator<Item = Getting<'a>>, fleets: &Fleets) -> Vec<Group<'a>> {
    type Kind = (usize, Likeness);
    let mut kinds: BTreeMap<Kind, Option<Arc<Vec<BundleComponent>>>> = BTreeMap::new();
    let mut places: BTreeMap<(Digest, Kind), usize> = BTreeMap::new();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for one in getting {
        let Getting {
            cluster,
            held,
            content,
        } = one;
        let kind = (
            std::ptr::from_ref(content).addr(),
            likeness(content, cluster, fleets),
        );
        // An override that does not fit is told when the cluster is granted: it keeps what it has.
        let gets = kinds
            .entry(kind.clone())
            .or_insert_with(|| components(content, cluster, fleets).ok().map(Arc::new));
        let Some(gets) = gets else { continue };
        match places.entry((held, kind)) {
            Entry::Occupied(place) => groups[*place.get()].clusters.push(cluster),
            Entry::Vacant(place) => {
                place.insert(groups.len());
                groups.push(Group {
                    clusters: vec![cluster],
                    held,
                    gets: Arc::clone(gets),
                });
            }
        }
    }
    groups
}

/// What each cluster of a group would lose.
pub struct Lost<'g, 'a> {
    pub loss: Loss,
    pub group: &'g Group<'a>,
    /// Whether that is nothing but what the release lacks which it mends.
    pub nothing_more: bool,
}

/// What clusters would lose by `next`, group by group. Each bundle that is held is read once. `mends` says what a
/// cluster would get of the release that `next` mends; absent = nothing is known of it there.
///
/// # Errors
/// The database fails.
pub async fn losses<'g, 'a>(
    store: &Store,
    before: &brake::Known<'_>,
    next: &ReleaseContent,
    groups: &'g [Group<'a>],
    mends: impl Fn(&ClusterFacts) -> Option<Vec<BundleComponent>>,
) -> Result<Vec<Lost<'g, 'a>>, LoopError> {
    let mut by_digest: BTreeMap<Digest, Vec<&Group<'a>>> = BTreeMap::new();
    for group in groups {
        by_digest.entry(group.held).or_default().push(group);
    }
    let digests: Vec<Digest> = by_digest.keys().copied().collect();
    let mut found = Vec::new();
    for some in digests.chunks(READ_AT_ONCE) {
        let bundles: BTreeMap<Digest, Vec<u8>> =
            blobs::get_many(store, some).await?.into_iter().collect();
        for digest in some {
            let held = bundles.get(digest).map(Vec::as_slice);
            let own = by_digest[digest].iter();
            found.extend(own.map(|group| {
                let loss = loss_in_cluster(held, before, next, &group.gets);
                let mended = loss
                    .is_braked(None)
                    .then(|| mends(group.clusters[0]))
                    .flatten();
                Lost {
                    loss,
                    group,
                    nothing_more: mended
                        .is_some_and(|gets| loses_nothing_more(held, &gets, next, &group.gets)),
                }
            }));
        }
    }
    Ok(found)
}
