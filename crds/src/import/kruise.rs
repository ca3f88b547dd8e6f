//! Rollouts of Kruise Rollout, read as Rollouts.
//!
//! What can be said with the same meaning is translated, everything else is refused with its path.
//! The two versions of its API that there are say the same in other words, and are read as one.

mod matching;
mod plan;
mod routes;
mod steps;
mod workload;

use serde_json::Value;

use super::{
    fields::{Fields, put},
    problems::{ImportError, Problems},
    rendered::{Scene, Translated, label_of, text},
    systems::System,
};

/// The API group of Kruise Rollout's kinds.
pub(super) const GROUP: &str = "rollouts.kruise.io";

/// Translates every record of Kruise Rollout among `objects`, which hold everything that is rendered
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
        if kind == "Rollout" {
            let rollout = plan::translate(record, &scene, &problems);
            translated.rollouts.extend(rollout);
        } else {
            problems.add(
                "kind".to_owned(),
                "it has no counterpart; leave it out by the chart's values, and write a Rollout \
                 where one stands on it",
            );
        }
        translated.notes.extend(problems.named_notes(name));
        problems.into_result(System::KruiseRollout, kind, name)?;
    }
    Ok(translated)
}

#[cfg(test)]
mod tests;
