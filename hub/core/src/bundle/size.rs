//! Whether agents take what a release makes of their clusters.

use std::collections::BTreeSet;

use bellwether_api::bundle::{MAX_BUNDLE_OBJECTS, MAX_PACKED_BYTES};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    addons::Fleets,
    components::is_placed,
    overrides::kind_of,
    placement::ClusterFacts,
    release::{ReleaseComponent, ReleaseContent},
};

/// Kinds of clusters up to which each is tried. What is too large for a cluster beyond them is found
/// when it is granted.
const MAX_TRIED: usize = 500;
/// Bytes beside the overrides that an object may grow by in a cluster: its namespace, and facts of the
/// cluster in texts.
const GROWTH_BYTES: usize = 1_024;

/// Tells whether some cluster may get more of a release than an agent takes, with the `hooks` that are
/// rendered for it. When not, no bundle need be built to find out.
#[must_use]
pub fn may_be_too_large(content: &ReleaseContent, hooks: &[&Value]) -> bool {
    let bytes = |value: Result<Vec<u8>, serde_json::Error>| value.map_or(0, |bytes| bytes.len());
    let written = bytes(serde_json::to_vec(content));
    let overrides = bytes(serde_json::to_vec(&content.overrides));
    let run: usize = hooks.iter().map(|hook| hook.to_string().len()).sum();
    let components = content.components.iter();
    let objects: usize = components.map(|one| one.objects.len()).sum();
    let count = objects + hooks.len();
    let most = written + run + count * (overrides + GROWTH_BYTES);
    most > MAX_PACKED_BYTES || count > MAX_BUNDLE_OBJECTS
}

/// What tells apart what clusters get of a release, beside what is rendered for them: alike ones get the same
/// objects, but for their names and labels in texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Likeness {
    /// Which overrides hold.
    overrides: Vec<bool>,
    /// Which components are there.
    components: Vec<bool>,
}

/// Tells what a cluster is like for a release.
#[must_use]
pub fn likeness(content: &ReleaseContent, cluster: &ClusterFacts, fleets: &Fleets) -> Likeness {
    let here = |one: &ReleaseComponent| is_placed(one.destination.as_ref(), cluster, fleets);
    Likeness {
        overrides: kind_of(&content.overrides, cluster, false).0,
        components: content.components.iter().map(here).collect(),
    }
}

/// One cluster of each kind: those of one kind get bundles of one size, but for their names and labels.
/// `rendered` tells apart what is rendered for them.
#[must_use]
pub fn unlike<'a, R: Ord>(
    content: &ReleaseContent,
    clusters: impl IntoIterator<Item = &'a ClusterFacts>,
    fleets: &Fleets,
    rendered: impl Fn(Uuid) -> R,
) -> Vec<&'a ClusterFacts> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for cluster in clusters {
        if seen.insert((rendered(cluster.id), likeness(content, cluster, fleets))) {
            found.push(cluster);
        }
        if found.len() == MAX_TRIED {
            break;
        }
    }
    found
}
