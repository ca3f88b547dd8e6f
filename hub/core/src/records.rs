//! Records among rendered objects: what a chart says of how its workload changes becomes a plan and
//! is not applied.

use bellwether_api::{
    import::{self, ImportError, System},
    installation,
    rollout::RolloutSpec,
};
use serde_json::Value;

use crate::release::{RenderedAs, RolloutRecord, is_workload};

/// What one rendering holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What clusters get.
    pub objects: Vec<Value>,
    /// How workloads change.
    pub rollouts: Vec<RolloutRecord>,
    /// What is run at some moment; [`take`] finds none.
    pub hooks: Vec<Value>,
}

/// Why a rendering cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A Rollout is not valid.
    #[error("Rollout {name}: {why}")]
    Invalid {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A record of another system, or one that does not belong into an application.
    #[error(
        "{api_version} {kind} {name} is not supported by this version of Bellwether; {instead}"
    )]
    Foreign {
        /// Group and version.
        api_version: String,
        /// The kind.
        kind: String,
        /// Its name.
        name: String,
        /// What to do.
        instead: &'static str,
    },
    /// An object of Bellwether itself.
    #[error("{}", installation::said(kind, name))]
    Own {
        /// The kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A record of another system says what has no counterpart.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Kinds that steer how workloads change, which two systems must not do at a time.
const STEERING: &[(&str, &str)] = &[
    ("argoproj.io", "Rollout"),
    ("argoproj.io", "AnalysisTemplate"),
    ("argoproj.io", "AnalysisRun"),
    ("argoproj.io", "Experiment"),
];

/// Takes the records out of the objects that a component of an application renders. Rollouts that name no
/// component are that one's.
///
/// # Errors
/// The first record that cannot be used.
pub fn take(application: &str, component: &str, objects: &[Value]) -> Result<Found, RecordError> {
    let rollout = |name: &str, object: &Value| rollout(application, component, name, object);
    let mut found = Found::default();
    for object in objects {
        let text = |pointer: &str| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("bellwether.dev", "Rollout") => {
                let name = text("/metadata/name");
                found.rollouts.push(rollout(name, object)?);
            }
            ("bellwether.dev", _) => {
                return Err(foreign(object, "apply it to the hub itself"));
            }
            steering if STEERING.contains(&steering) => {
                return Err(foreign(
                    object,
                    "leave it out by the chart's values and write a Rollout",
                ));
            }
            (group, _) if System::of_group(group).is_some() => {}
            _ if is_own(object) => {
                return Err(RecordError::Own {
                    kind: kind.to_owned(),
                    name: text("/metadata/name").to_owned(),
                });
            }
            _ => found.objects.push(object.clone()),
        }
    }
    let translated = import::translate(objects)?;
    for document in &translated.rollouts {
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        found.rollouts.push(rollout(name, document)?);
    }
    found.objects.extend(translated.services);
    refuse_twice(&found.rollouts)?;
    for record in &mut found.rollouts {
        let mut objects = found.objects.iter();
        if record.spec.component.is_none()
            && objects.any(|object| is_workload(object, &record.spec.workload))
        {
            record.spec.component = Some(component.to_owned());
        }
    }
    Ok(found)
}

/// Whether a rendered object has a name that is Bellwether's own.
pub(crate) fn is_own(object: &Value) -> bool {
    let text = |pointer: &str| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default()
    };
    installation::is_own_name(
        text("/apiVersion"),
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name"),
    )
}

fn foreign(object: &Value, instead: &'static str) -> RecordError {
    let text = |pointer: &str| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    RecordError::Foreign {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        name: text("/metadata/name"),
        instead,
    }
}

fn rollout(
    application: &str,
    component: &str,
    name: &str,
    object: &Value,
) -> Result<RolloutRecord, RecordError> {
    let invalid = |why: String| RecordError::Invalid {
        name: name.to_owned(),
        why,
    };
    let rendered_as = RenderedAs::of(component, &object["spec"]);
    let mut object = object.clone();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && !spec.contains_key("destination")
    {
        // A chart does not know which application it is part of.
        spec.insert("application".to_owned(), Value::from(application));
    }
    // Through the documents' own reader, which says what was probably meant.
    let bytes = object.to_string();
    let loaded =
        bellwether_api::document::load("rendered", bytes.as_bytes()).map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            invalid(texts.join("; "))
        })?;
    let spec: RolloutSpec = match loaded.documents.into_iter().next() {
        Some(bellwether_api::document::Document::Rollout(object)) => object.spec,
        _ => return Err(invalid("it is no Rollout".to_owned())),
    };
    if spec.destination.is_some() {
        return Err(invalid(
            "spec.destination: the application says where it goes".to_owned(),
        ));
    }
    Ok(RolloutRecord {
        name: name.to_owned(),
        rendered_as: Some(rendered_as),
        spec,
    })
}

/// Refuses two Rollouts of one name, or of one workload, in one rendering: they are meant for one cluster.
fn refuse_twice(rollouts: &[RolloutRecord]) -> Result<(), RecordError> {
    for (index, one) in rollouts.iter().enumerate() {
        for other in &rollouts[..index] {
            let why = if other.name == one.name {
                "metadata.name: another Rollout has it".to_owned()
            } else if other.spec.workload == one.spec.workload {
                let (workload, other) = (&one.spec.workload, &other.name);
                format!(
                    "spec.workload: {} {} is governed by Rollout {other} already",
                    workload.kind, workload.name
                )
            } else {
                continue;
            };
            return Err(RecordError::Invalid {
                name: one.name.clone(),
                why,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
