use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use bellwether_api::call::{DiffChange, DiffGroup, NotCompared, ObjectDiff};
use similar::TextDiff;

use super::{
    Reading,
    leaves::{Leaves, leaves, unlike},
    side::{Document, Side, side},
};
use crate::{
    components::present,
    overrides::{ClusterKind, OverrideError, kind_of, told_apart},
    placement::ClusterFacts,
    release::ReleaseContent,
};

/// Kinds of clusters that one comparison looks at.
const MAX_KINDS: usize = 500;
/// Lines of all objects that are compared with each other; what is beyond is named only.
const MAX_LINES: usize = 60_000;
/// Lines that are shown around a change.
const CONTEXT_LINES: usize = 3;

/// What one cluster has on each side; absent = nothing.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The cluster.
    pub cluster: &'a ClusterFacts,
    /// On the left.
    pub from: Option<&'a ReleaseContent>,
    /// On the right.
    pub to: Option<&'a ReleaseContent>,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Clusters with the same difference, those of most clusters first.
    pub groups: Vec<DiffGroup>,
    /// Clusters without any, by name.
    pub same: Vec<String>,
    /// Clusters that could not be compared.
    pub unknown: Vec<NotCompared>,
}

/// What makes two clusters get the same of a release: its address, what overrides do, and which
/// components it has there.
type SideKind<'a> = (Option<*const ReleaseContent>, ClusterKind<'a>, Vec<&'a str>);

/// The same of both sides.
type Kind<'a> = (SideKind<'a>, SideKind<'a>);

/// Compares what clusters have on both sides, and groups those with the same difference.
#[must_use]
pub fn compare(clusters: &[Compared<'_>], reading: Reading<'_>) -> Difference {
    let mut comparison = Comparison {
        reading,
        lines_left: MAX_LINES,
        groups: HashMap::new(),
    };
    let mut kinds: HashMap<Kind<'_>, Result<Option<usize>, String>> = HashMap::new();
    let mut placeholders: HashMap<*const ReleaseContent, bool> = HashMap::new();
    let mut members: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut difference = Difference::default();
    for one in clusters {
        let kind = kind(one, reading, &mut placeholders);
        let full = kinds.len() >= MAX_KINDS;
        let found = match kinds.entry(kind) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(_) if full => Err(format!(
                "more than {MAX_KINDS} clusters differ from each other; name those that matter"
            )),
            Entry::Vacant(place) => place.insert(comparison.group(one)).clone(),
        };
        let name = one.cluster.name.clone();
        match found {
            Ok(None) => difference.same.push(name),
            Ok(Some(group)) => {
                members.entry(group).or_default().insert(name);
            }
            Err(why) => difference.unknown.push(NotCompared { cluster: name, why }),
        }
    }
    difference.same.sort();
    difference.groups = comparison.named(members);
    difference
}

fn kind<'a>(
    one: &Compared<'a>,
    reading: Reading<'_>,
    placeholders: &mut HashMap<*const ReleaseContent, bool>,
) -> Kind<'a> {
    let mut of = |content: Option<&'a ReleaseContent>| match content {
        None => (None, (Vec::new(), None), Vec::new()),
        Some(content) => {
            let place = std::ptr::from_ref(content);
            let told_apart = *placeholders
                .entry(place)
                .or_insert_with(|| told_apart(&content.overrides));
            let kind = kind_of(&content.overrides, one.cluster, told_apart);
            let there = present(content, one.cluster, reading.fleets);
            let names = there.iter().map(|component| component.name.as_str());
            (Some(place), kind, names.collect())
        }
    };
    (of(one.from), of(one.to))
}

struct Comparison<'a> {
    reading: Reading<'a>,
    lines_left: usize,
    /// Differences by what differs, with their place in the order in which they were found.
    groups: HashMap<String, (usize, Vec<ObjectDiff>)>,
}

impl Comparison<'_> {
    /// The place of the group to which a cluster belongs; absent = it has no difference.
    fn group(&mut self, one: &Compared<'_>) -> Result<Option<usize>, String> {
        let told = |error: OverrideError| format!("{error}: {}", error.source);
        let from = side(one.from, one.cluster, self.reading).map_err(told)?;
        let to = side(one.to, one.cluster, self.reading).map_err(told)?;
        let changed = changed(&from, &to);
        if changed.is_empty() {
            return Ok(None);
        }
        let key = key_of(&changed);
        if let Some((place, _)) = self.groups.get(&key) {
            return Ok(Some(*place));
        }
        let objects = changed
            .into_iter()
            .map(|(before, after)| self.object(before, after));
        let objects = objects.collect();
        let place = self.groups.len();
        self.groups.insert(key, (place, objects));
        Ok(Some(place))
    }

    fn object(&mut self, before: Option<&Document>, after: Option<&Document>) -> ObjectDiff {
        let (old, new) = (
            before.map_or_else(String::new, yaml),
            after.map_or_else(String::new, yaml),
        );
        let lines = old.lines().count() + new.lines().count();
        let text = if lines > self.lines_left {
            String::new()
        } else {
            self.lines_left -= lines;
            TextDiff::from_lines(&old, &new)
                .unified_diff()
                .context_radius(CONTEXT_LINES)
                .to_string()
        };
        ObjectDiff {
            object: after
                .or(before)
                .map(|document| document.title.clone())
                .unwrap_or_default(),
            change: match (before, after) {
                (None, _) => DiffChange::Added,
                (_, None) => DiffChange::Removed,
                (Some(_), Some(_)) => DiffChange::Changed,
            },
            text,
        }
    }

    /// The groups with the names of their clusters.
    fn named(self, mut members: BTreeMap<usize, BTreeSet<String>>) -> Vec<DiffGroup> {
        let mut groups: Vec<DiffGroup> = self
            .groups
            .into_values()
            .map(|(place, objects)| DiffGroup {
                clusters: members.remove(&place).into_iter().flatten().collect(),
                objects,
            })
            .collect();
        groups
            .sort_by(|a, b| (b.clusters.len(), &a.clusters).cmp(&(a.clusters.len(), &b.clusters)));
        groups
    }
}

type Pair<'a> = (Option<&'a Document>, Option<&'a Document>);

fn changed<'a>(from: &'a Side, to: &'a Side) -> Vec<Pair<'a>> {
    let keys: BTreeSet<_> = from.keys().chain(to.keys()).collect();
    keys.into_iter()
        .map(|key| (from.get(key), to.get(key)))
        .filter(|(before, after)| before.map(|one| &one.value) != after.map(|one| &one.value))
        .collect()
}

/// What is different, without what surrounds it: clusters with other sizes may get the same new image.
fn key_of(changed: &[Pair<'_>]) -> String {
    let leaves = |document: Option<&Document>| {
        document.map_or_else(Leaves::new, |document| leaves(&document.value))
    };
    let mut key = String::new();
    for (before, after) in changed {
        let title = after.or(*before).map_or("", |document| &document.title);
        let (old, new) = (leaves(*before), leaves(*after));
        let unlike: Vec<_> = unlike(&old, &new).collect();
        let sides = (before.is_some(), after.is_some());
        let text = serde_json::to_string(&(title, sides, unlike));
        key.push_str(&text.expect("a JSON value always serialises"));
    }
    key
}

fn yaml(document: &Document) -> String {
    // A text is compared line by line as it is, not as it is folded.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let mut text = String::new();
    match serde_saphyr::to_fmt_writer_with_options(&mut text, &document.value, options) {
        Ok(()) => text,
        // What is no YAML, such as a control character, is shown as JSON.
        Err(_) => format!("{:#}\n", document.value),
    }
}
