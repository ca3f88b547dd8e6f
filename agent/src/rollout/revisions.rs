//! Workloads that keep revisions of their template: what is read of them; pure.

use bellwether_agent_core::{
    effective::revision_names,
    machine::{Overlay, RevisionsView, RevisionsWant, RouteView},
    provider::{
        Renderer as _, RouteObservation,
        knative::{Service, condition},
    },
    settled::{DeploymentView, TemplateVersion},
};
use bellwether_api::reference::ObjectRef;
use serde_json::Value;

use super::views;

/// The generations of a workload; `template` says which version it carries. It counts as one pod: how
/// many a revision has, its own requests say.
pub fn workload(object: &Value, template: TemplateVersion) -> DeploymentView {
    let is_ready = u32::from(condition(object, "Ready").is_some_and(|(is, _)| is == "True"));
    DeploymentView {
        uid: views::uid(object),
        generation: views::number(object, "/metadata/generation"),
        observed_generation: views::number(object, "/status/observedGeneration"),
        replicas: 1,
        total: 1,
        updated: 1,
        ready: is_ready,
        available: is_ready,
        paused: false,
        revision: views::text(object, "/status/latestCreatedRevisionName"),
        template,
        // A revision serves for as long as no newer one is ready.
        update_takes: 0,
        unread: String::new(),
    }
}

/// What a decision looks at beside the generations. `written` is what it was applied with, if it was.
pub fn view(object: &Value, written: Option<RevisionsWant>) -> RevisionsView {
    let created = views::text(object, "/status/latestCreatedRevisionName");
    let configured = condition(object, "ConfigurationsReady");
    let is_newest = views::text(object, "/status/latestReadyRevisionName") == created;
    let is_ready = configured.is_some_and(|(is, _)| is == "True") && is_newest;
    let trouble = match configured {
        Some(("False", "")) => "its configuration is not ready".to_owned(),
        Some(("False", why)) => why.chars().take(200).collect(),
        _ => String::new(),
    };
    let targets = object.pointer("/status/traffic").and_then(Value::as_array);
    let shares = |target: &&Value| views::count(target, "/percent") > 0;
    let mut shared = targets.into_iter().flatten().filter(shares).peekable();
    let has_all = shared.peek().is_some()
        && shared.all(|target| views::text(target, "/revisionName") == created)
        && Service.observe(object) == RouteObservation::Programmed;
    RevisionsView {
        written,
        created,
        is_ready,
        trouble,
        has_all,
    }
}

/// The workload as the route that it is, while a run shares its requests; `None` = no run does.
pub fn route(target: &ObjectRef, object: Option<&Value>, overlay: &Overlay) -> Option<RouteView> {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let names = revision_names(namespace, &overlay.revisions)?;
    Some(RouteView {
        name: format!("{}/{}", target.kind, target.name),
        is_missing: object.is_none(),
        weight: object.and_then(|object| Service.observed_weight(object, &[], &names)),
        split: None,
        lacking: None,
        announces: false,
        observation: object.map_or_else(
            || RouteObservation::NotYet {
                why: "it does not exist".to_owned(),
            },
            |object| Service.observe(object),
        ),
    })
}

#[cfg(test)]
mod tests;
