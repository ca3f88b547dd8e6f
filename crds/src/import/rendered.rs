//! What records of other systems stand among, and what becomes of them.

use serde_json::Value;

use super::problems::Problem;

/// What the records of other systems among some objects mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translated {
    /// Documents of kind Rollout, one for each workload, without `application`. They hold what was
    /// written and no defaults, and are not validated yet.
    pub rollouts: Vec<Value>,
    /// Services that clients use and that the other system would make, since nobody wrote them.
    pub services: Vec<Value>,
    /// What has nothing to do here and is left out.
    pub notes: Vec<Problem>,
}

impl Translated {
    /// Takes in what another system's records mean.
    pub(super) fn extend(&mut self, other: Self) {
        self.rollouts.extend(other.rollouts);
        self.services.extend(other.services);
        self.notes.extend(other.notes);
    }
}

/// Everything that is rendered together.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a>(pub &'a [Value]);

impl<'a> Scene<'a> {
    /// The objects of a group.
    pub fn records(&self, group: &'static str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let objects = self.0.iter();
        objects.filter(move |object| group_of(object) == group)
    }

    /// Finds an object; a namespace counts where both say one.
    pub fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|object| {
            let own = text(object, "/metadata/namespace");
            let is_there = own.is_empty() || namespace.is_empty() || own == namespace;
            is_there
                && group_of(object) == group
                && text(object, "/kind") == kind
                && text(object, "/metadata/name") == name
        })
    }
}

/// The text at a pointer; empty = there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn group_of(object: &Value) -> &str {
    let version = text(object, "/apiVersion");
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Makes a name of a text that people read: `404s percentage` is `404s-percentage`.
pub(super) fn label_of(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.trim_end_matches('-').to_owned()
}
