//! The user's DestinationRule of the apex, and its like for the canary's Service: policies and
//! subsets belong to a host, and the canary has one of its own.

use bellwether_api::reference::ObjectRef;
use serde_json::{Value, json};

use super::{canary_host, names_service};
use crate::{
    names::cut,
    provider::{
        Names, RenderError,
        tree::{items, items_mut, namespace_of, remove, text},
    },
};

/// What names the run's DestinationRule; `None` = the rollout names none of the user's.
pub(super) fn target(names: &Names) -> Option<ObjectRef> {
    let rule = names.copied.as_ref()?;
    Some(ObjectRef {
        api_version: text(rule, "apiVersion").to_owned(),
        kind: "DestinationRule".to_owned(),
        namespace: Some(names.namespace.clone()),
        name: name(rule, names),
    })
}

fn name(rule: &Value, names: &Names) -> String {
    cut(&format!(
        "{}-{}",
        names.canary,
        text(&rule["metadata"], "name")
    ))
}

/// The run's DestinationRule: what the user's says of the apex, said of the canary's Service. All of
/// the canary's pods are one version, so that each subset has all of them.
///
/// # Errors
/// The user's speaks of another host.
pub(super) fn of_canary(names: &Names) -> Result<Option<Value>, RenderError> {
    let Some(rule) = &names.copied else {
        return Ok(None);
    };
    let mut spec = rule["spec"].clone();
    let host = text(&spec, "host").to_owned();
    if !names_service(&host, namespace_of(rule), names, &names.apex) {
        return Err(RenderError::Unsplittable {
            what: format!("DestinationRule {}", text(&rule["metadata"], "name")),
            why: "its host is not the Service of the rollout; name that one's, or leave \
                  destinationRule out",
        });
    }
    spec["host"] = json!(canary_host(&host, names));
    if let Some(subsets) = items_mut(&mut spec, "/subsets") {
        for subset in subsets {
            remove(subset, "labels");
        }
    }
    Ok(Some(json!({
        "apiVersion": rule["apiVersion"],
        "kind": "DestinationRule",
        "metadata": {"name": name(rule, names), "namespace": names.namespace},
        "spec": spec,
    })))
}

/// Tells whether the canary's Service has the subset too.
pub(super) fn has_subset(names: &Names, subset: &str) -> bool {
    names.copied.as_ref().is_some_and(|rule| {
        items(rule, "/spec/subsets")
            .iter()
            .any(|one| text(one, "name") == subset)
    })
}
