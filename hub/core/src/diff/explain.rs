use std::collections::BTreeMap;

use bellwether_api::call::{FieldExplained, FieldSet, OverrideExplained};
use serde_json::Value;

use super::{
    Reading,
    leaves::{Leaves, leaves, unlike},
    side::{self, Key},
};
use crate::{overrides::OverrideError, placement::ClusterFacts, release::ReleaseContent};

/// Bytes of a value that are shown.
const MAX_VALUE_BYTES: usize = 200;

/// What sets the share of a cluster, before any override.
const DIVISION: &str = "placement.division";

/// The objects of a cluster, with what people call them.
type Objects = BTreeMap<Key, (String, Leaves)>;

/// Says which override set which field of what a cluster gets, in the order in which they are
/// applied.
///
/// # Errors
/// An override does not fit what it changes in this cluster.
pub fn explain(
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    reading: Reading<'_>,
) -> Result<(Vec<OverrideExplained>, Vec<FieldExplained>), OverrideError> {
    let undivided = ReleaseContent {
        overrides: Vec::new(),
        division: None,
        ..content.clone()
    };
    let upto = |count: usize| -> Result<Objects, OverrideError> {
        let so_far = ReleaseContent {
            overrides: content.overrides[..count].to_vec(),
            division: content.division.clone(),
            ..undivided.clone()
        };
        objects(&so_far, cluster, reading)
    };
    let written = objects(&undivided, cluster, reading)?;
    let mut before = written.clone();
    let mut overrides = Vec::with_capacity(content.overrides.len());
    let mut set: BTreeMap<(Key, String), Vec<FieldSet>> = BTreeMap::new();
    if content.division.is_some() {
        let after = upto(0)?;
        let found = changes(&before, &after);
        overrides.push(OverrideExplained {
            name: DIVISION.to_owned(),
            holds: true,
            changed: u32::try_from(found.len()).unwrap_or(u32::MAX),
        });
        for (key, path, to) in found {
            let by = DIVISION.to_owned();
            set.entry((key, path))
                .or_default()
                .push(FieldSet { by, to });
        }
        before = after;
    }
    for (index, one) in content.overrides.iter().enumerate() {
        let holds = one.holds_in(&cluster.name, &cluster.labels);
        let mut changed = 0;
        if holds {
            let after = upto(index + 1)?;
            for (key, path, to) in changes(&before, &after) {
                changed += 1;
                set.entry((key, path)).or_default().push(FieldSet {
                    by: one.name.clone(),
                    to,
                });
            }
            before = after;
        }
        overrides.push(OverrideExplained {
            name: one.name.clone(),
            holds,
            changed,
        });
    }
    let fields = set.into_iter().map(|((key, path), set)| FieldExplained {
        object: written
            .get(&key)
            .or_else(|| before.get(&key))
            .map(|(title, _)| title.clone())
            .unwrap_or_default(),
        written: written
            .get(&key)
            .and_then(|(_, leaves)| leaves.get(&path))
            .map(shown),
        path,
        set,
    });
    Ok((overrides, fields.collect()))
}

fn objects(
    content: &ReleaseContent,
    cluster: &ClusterFacts,
    reading: Reading<'_>,
) -> Result<Objects, OverrideError> {
    let found = side::objects(content, cluster, reading)?.into_iter();
    Ok(found
        .map(|(key, document)| (key, (document.title, leaves(&document.value))))
        .collect())
}

/// What one override changed: object, field, and its value then; absent = it took it away.
fn changes(before: &Objects, after: &Objects) -> Vec<(Key, String, Option<String>)> {
    let mut found = Vec::new();
    for (key, (_, old)) in before {
        let Some((_, new)) = after.get(key) else {
            found.push((key.clone(), String::new(), None));
            continue;
        };
        let fields = unlike(old, new);
        found.extend(fields.map(|(path, _, to)| (key.clone(), path.to_owned(), to.map(shown))));
    }
    // Overrides make no objects; whatever does is told field by field.
    for (key, (_, new)) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        let fields = new.iter();
        found.extend(fields.map(|(path, value)| (key.clone(), path.clone(), Some(shown(value)))));
    }
    found
}

/// A value as JSON; a long one is cut.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= MAX_VALUE_BYTES {
        return text;
    }
    let end = (0..=MAX_VALUE_BYTES)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default();
    format!("{}… ({} bytes)", &text[..end], text.len())
}
