//! What clusters get of the hooks that a chart renders.

use bellwether_api::{
    GROUP,
    chart_hook::{ChartHook, HookDeletion, HookMoment},
    installation,
};
use serde_json::Value;

use crate::recipe::RenderedHook;

/// What Helm calls the moment at which a human asks for a test.
const TEST: [&str; 2] = ["test", "test-success"];

/// Why a hook cannot be run in clusters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hook {kind}/{name}{at}: {why}; set helm.hooks to false to leave the chart's hooks out")]
pub struct HookError {
    /// Its kind.
    pub kind: String,
    /// Its name; empty = it has none.
    pub name: String,
    /// Where it is written, as ` in FILE`; empty = not known.
    pub at: String,
    /// What is wrong.
    pub why: String,
}

/// Reads the hooks of a rendering. Tests are left out: nobody asks for them here. A rendering of
/// before knows of its hooks that they exist; such hooks cannot be run.
///
/// # Errors
/// The first hook that an agent could not run.
pub fn runnable(hooks: &[RenderedHook]) -> Result<Vec<ChartHook>, HookError> {
    let mut found = Vec::new();
    for hook in hooks {
        let (Some(object), moments) = (&hook.object, moments(hook)?) else {
            continue;
        };
        if moments.is_empty() {
            continue;
        }
        refuse_object(hook, object)?;
        found.push(ChartHook {
            object: object.clone(),
            moments,
            weight: hook.weight,
            delete: deletions(hook)?,
        });
    }
    Ok(found)
}

fn moments(hook: &RenderedHook) -> Result<Vec<HookMoment>, HookError> {
    let mut found = Vec::new();
    for event in hook.events.iter().filter(|event| !is_test(event)) {
        let known = HookMoment::ALL
            .into_iter()
            .find(|one| one.as_str() == event);
        let Some(moment) = known else {
            let words = HookMoment::ALL.map(HookMoment::as_str).join(", ");
            return Err(error(hook, format!("{event:?} is none of {words}, test")));
        };
        if !found.contains(&moment) {
            found.push(moment);
        }
    }
    Ok(found)
}

fn deletions(hook: &RenderedHook) -> Result<Vec<HookDeletion>, HookError> {
    let mut found = Vec::new();
    for policy in &hook.delete_policies {
        let known = HookDeletion::ALL
            .into_iter()
            .find(|one| one.as_str() == policy);
        let Some(word) = known else {
            let words = HookDeletion::ALL.map(HookDeletion::as_str).join(", ");
            let why = format!("hook-delete-policy {policy:?} is none of {words}");
            return Err(error(hook, why));
        };
        if !found.contains(&word) {
            found.push(word);
        }
    }
    Ok(found)
}

fn refuse_object(hook: &RenderedHook, object: &Value) -> Result<(), HookError> {
    let text = |pointer: &str| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default()
    };
    if text("/metadata/name").is_empty() {
        let why = "a hook is found again by its name, so that it runs once: it needs \
                   metadata.name, not generateName";
        return Err(error(hook, why.to_owned()));
    }
    let group = text("/apiVersion").split_once('/').map(|(group, _)| group);
    if group == Some(GROUP) {
        let why = format!("a {} is read by the hub and cannot be run", text("/kind"));
        return Err(error(hook, why));
    }
    if crate::records::is_own(object) {
        let why = installation::said(text("/kind"), text("/metadata/name"));
        return Err(error(hook, why));
    }
    Ok(())
}

fn error(hook: &RenderedHook, why: String) -> HookError {
    let at = match hook.file.as_str() {
        "" => String::new(),
        file => format!(" in {file}"),
    };
    HookError {
        kind: hook.kind.clone(),
        name: hook.name.clone(),
        at,
        why,
    }
}

/// Tells whether an event is Helm's word for a test.
pub(crate) fn is_test(event: &str) -> bool {
    TEST.contains(&event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(events: &[&str], policies: &[&str], object: Value) -> RenderedHook {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        RenderedHook {
            name: "migrate".to_owned(),
            kind: "Job".to_owned(),
            events: words(events),
            file: "templates/migrate.yaml".to_owned(),
            weight: -5,
            delete_policies: words(policies),
            object: Some(object),
        }
    }

    fn job() -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}})
    }

    #[test]
    fn hooks_keep_moments_weight_and_policies() {
        let read = runnable(&[hook(
            &["pre-install", "pre-upgrade", "pre-upgrade", "test"],
            &["hook-succeeded", "before-hook-creation"],
            job(),
        )])
        .expect("runnable");
        assert_eq!(
            read,
            [ChartHook {
                object: job(),
                moments: vec![HookMoment::PreInstall, HookMoment::PreUpgrade],
                weight: -5,
                delete: vec![
                    HookDeletion::HookSucceeded,
                    HookDeletion::BeforeHookCreation
                ],
            }]
        );
    }

    #[test]
    fn tests_and_hooks_whose_object_was_not_kept_are_left_out() {
        let mut unknown = hook(&["pre-delete"], &[], job());
        unknown.object = None;
        let hooks = [hook(&["test"], &[], job()), unknown];
        assert_eq!(runnable(&hooks), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        let generated = json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"generateName": "migrate-"}});
        let ours = json!({"apiVersion": "bellwether.dev/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web"}});
        let own = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "bellwether-system"}});
        for (refused, names) in [
            (
                hook(&["mid-install"], &[], job()),
                "\"mid-install\" is none of pre-install",
            ),
            (
                hook(&["pre-install"], &["hook-done"], job()),
                "\"hook-done\" is none of",
            ),
            (hook(&["pre-install"], &[], generated), "generateName"),
            (
                hook(&["pre-install"], &[], ours),
                "a Rollout is read by the hub",
            ),
            (
                hook(&["pre-install"], &[], own),
                "Namespace bellwether-system is part of Bellwether's own installation",
            ),
        ] {
            let said = runnable(&[refused]).expect_err("refused").to_string();
            assert!(said.contains(names), "{said}");
            let place = "hook Job/migrate in templates/migrate.yaml";
            assert!(
                said.contains(place) && said.contains("helm.hooks"),
                "{said}"
            );
        }
    }
}
