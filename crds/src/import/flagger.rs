//! Canaries of Flagger, read as Rollouts.
//!
//! What a Canary says and a Rollout can say with the same meaning is translated. Everything else is
//! refused with its path: a field that is dropped silently would be a release that is judged
//! otherwise than its user thinks. What Flagger makes of its own (`-primary`, `-canary`) is not made
//! here.

mod analysis;
mod canary;
mod fields;
mod load;
mod matching;
mod metrics;
mod problems;
mod query;
mod route;
mod service;
mod strategy;
mod traffic;
mod webhooks;

use serde_json::{Map, Value, json};

pub use problems::{ImportError, Problem};

use fields::Fields;
use problems::Problems;

/// The API group of Flagger's kinds.
pub const GROUP: &str = "flagger.app";

/// What the records of Flagger among some objects mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translated {
    /// Documents of kind Rollout, one for each Canary, without `application`. They hold what was
    /// written and no defaults, and are not validated yet.
    pub rollouts: Vec<Value>,
    /// Services that clients use and that Flagger would make, since nobody wrote them.
    pub services: Vec<Value>,
    /// What has nothing to do here and is left out.
    pub notes: Vec<Problem>,
}

/// Tells whether an object is a record of Flagger.
#[must_use]
pub fn is_record(object: &Value) -> bool {
    group_of(object) == GROUP
}

/// Translates every record of Flagger among `objects`, which hold everything that is rendered
/// together: the workload, its Service, its routes.
///
/// # Errors
/// Everything in the first record that has no counterpart.
pub fn translate(objects: &[Value]) -> Result<Translated, ImportError> {
    let mut translated = Translated::default();
    let scene = Scene(objects);
    for record in objects.iter().filter(|object| is_record(object)) {
        let problems = Problems::default();
        let (kind, name) = (text(record, "/kind"), text(record, "/metadata/name"));
        match kind {
            "Canary" => canary::translate(record, &scene, &problems, &mut translated),
            "MetricTemplate" => metrics::check_template(record, &problems),
            _ => problems.add(
                "kind".to_owned(),
                "it has no counterpart; leave it out by the chart's values",
            ),
        }
        translated.notes.extend(problems.named_notes(name));
        problems.into_result(kind, name)?;
    }
    Ok(translated)
}

/// Everything that is rendered together.
#[derive(Clone, Copy)]
struct Scene<'a>(&'a [Value]);

impl<'a> Scene<'a> {
    /// Finds an object; a namespace counts where both say one.
    fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&'a Value> {
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

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn group_of(object: &Value) -> &str {
    let version = text(object, "/apiVersion");
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Writes a field that is there.
fn put(target: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        target.insert(key.to_owned(), value.into());
    }
}

/// Makes a name of a text that people read: `404s percentage` is `404s-percentage`.
fn label_of(text: &str) -> String {
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

/// A map of texts as the list of names and values that ours is.
fn named_values(values: &Map<String, Value>) -> Vec<Value> {
    values
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

#[cfg(test)]
mod tests;
