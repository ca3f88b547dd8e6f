//! Records of other systems, printed as records of ours.

use anyhow::bail;
use bellwether_api::{document, import};
use serde_json::{Value, json};

use crate::{
    args::ImportArgs,
    documents::Documents,
    failure::Code,
    output::{note, print, yaml},
};

/// Prints what Canaries of Flagger and Rollouts of Kruise become: Rollouts, and the Services that nobody
/// wrote.
///
/// # Errors
/// When files cannot be read, when they hold no such record, or when one says what has no counterpart.
pub fn import(args: &ImportArgs) -> anyhow::Result<Code> {
    let objects = Documents::read(&args.files)?.values()?;
    let printed = translated(&objects, args.application.as_deref())?;
    for text in &printed.notes {
        note(text);
    }
    print(&printed.documents)?;
    Ok(Code::Done)
}

struct Printed {
    documents: String,
    notes: Vec<String>,
}

fn translated(objects: &[Value], application: Option<&str>) -> anyhow::Result<Printed> {
    let translated = import::translate(objects)?;
    if translated.rollouts.is_empty() && translated.notes.is_empty() {
        bail!("there is no Canary of Flagger and no Rollout of Kruise in it");
    }
    let notes = translated.notes.iter();
    let mut notes: Vec<String> = notes.map(|one| format!("left out: {one}")).collect();
    let mut texts = Vec::new();
    for mut rollout in translated.rollouts {
        rollout["spec"]["application"] = json!(application.unwrap_or("application"));
        notes.extend(warnings(&rollout)?);
        if application.is_none()
            && let Some(spec) = rollout["spec"].as_object_mut()
        {
            spec.remove("application");
        }
        texts.push(yaml(&rollout)?);
    }
    if application.is_none() && !texts.is_empty() {
        notes.push("say --application NAME, or write spec.application before you apply it".into());
    }
    if !translated.services.is_empty() {
        notes.push(
            "Flagger makes the Services below; they belong to the component's objects".into(),
        );
    }
    for service in &translated.services {
        texts.push(yaml(service)?);
    }
    Ok(Printed {
        documents: texts.join("---\n"),
        notes,
    })
}

/// What is to be said of a Rollout that is accepted.
fn warnings(rollout: &Value) -> anyhow::Result<Vec<String>> {
    let text = rollout.to_string();
    match document::load("", text.as_bytes()) {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter();
            Ok(warnings
                .map(|one| format!("warning: {}", one.message))
                .collect())
        }
        Err(errors) => {
            let texts: Vec<String> = errors
                .iter()
                .map(|one| format!("{}: {}", one.path, one.message))
                .collect();
            bail!(
                "the Rollout that it becomes is refused: {}",
                texts.join("; ")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(analysis: Value) -> Vec<Value> {
        vec![
            json!({
                "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
                "metadata": {"name": "web"},
                "spec": {
                    "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "service": {"port": 80}, "analysis": analysis,
                },
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {"selector": {"matchLabels": {"app": "web"}}},
            }),
        ]
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let objects = canary(json!({"stepWeight": 10, "maxWeight": 50}));
        let printed = translated(&objects, Some("shop")).expect("translated");
        let (rollout, service) = printed
            .documents
            .split_once("---\n")
            .expect("two documents");
        let loaded = document::load("printed", rollout.as_bytes()).expect("a Rollout");
        assert_eq!(loaded.documents.len(), 1);
        assert!(service.contains("kind: Service"), "{service}");
        let bare = translated(&objects, None).expect("translated");
        assert!(
            !bare.documents.contains("application:"),
            "{}",
            bare.documents
        );
        assert!(bare.notes.iter().any(|one| one.contains("--application")));
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let objects = canary(json!({"stepWeight": 10, "alerts": [{"name": "on-call"}]}));
        let error = translated(&objects, Some("shop")).err().expect("refused");
        assert!(
            error.to_string().contains("spec.analysis.alerts"),
            "{error}"
        );
        let none = translated(&objects[1..], None).err().expect("no Canary");
        assert!(none.to_string().contains("no Canary"), "{none}");
    }
}
