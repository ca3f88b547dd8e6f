//! Canaries of Flagger, read as Rollouts.
//!
//! What a Canary says and a Rollout can say with the same meaning is translated. Everything else is
//! refused with its path: a field that is dropped silently would be a release that is judged
//! otherwise than its user thinks. What Flagger makes of its own (`-primary`, `-canary`) is not made
//! here.

mod analysis;
mod canary;
mod load;
mod matching;
mod metrics;
mod query;
mod route;
mod service;
mod strategy;
mod traffic;
mod webhooks;

use serde_json::{Map, Value, json};

use super::{
    fields::{Fields, put},
    problems::{ImportError, Problems},
    rendered::{Scene, Translated, label_of, text},
    systems::System,
};

/// The API group of Flagger's kinds.
pub(super) const GROUP: &str = "flagger.app";

/// Translates every record of Flagger among `objects`, which hold everything that is rendered
/// together: the workload, its Service, its routes.
///
/// # Errors
/// Everything in the first record that has no counterpart.
pub(super) fn translate(objects: &[Value]) -> Result<Translated, ImportError> {
    let mut translated = Translated::default();
    let scene = Scene(objects);
    for record in scene.records(GROUP) {
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
        problems.into_result(System::Flagger, kind, name)?;
    }
    Ok(translated)
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
