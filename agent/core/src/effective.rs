//! What `bellwether-sync` applies: the rendered objects with a run's overlay on them.

use bellwether_api::{reference::ObjectRef, traffic::Provider, workload_adapter::WorkloadAdapter};
use serde_json::{Value, json};

use crate::{
    machine::{Overlay, RevisionsWant},
    names::pin_label,
    provider::{Names, knative, render},
    settled::TemplateVersion,
};

/// One governed workload and what its run wants.
#[derive(Clone, Debug)]
pub struct Governed<'a> {
    /// The workload.
    pub workload: &'a ObjectRef,
    /// `spec.template` as the bundle that was last finished renders it; absent = no run, the
    /// rendered template is taken.
    pub old_template: Option<&'a Value>,
    /// The user's objects that are split; empty = no traffic is.
    pub routes: &'a [GovernedRoute],
    /// Where the workload's kind keeps what a run in place needs; absent = it has none.
    pub adapter: Option<&'a WorkloadAdapter>,
    /// What the run wants.
    pub overlay: &'a Overlay,
}

/// One object of the user that splits traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernedRoute {
    /// What splits by it.
    pub provider: Provider,
    /// The object.
    pub target: ObjectRef,
    /// The Services between which it splits.
    pub names: Names,
}

impl GovernedRoute {
    /// Tells whether this is the object, in whatever version of its API.
    #[must_use]
    pub fn is(&self, object: &Value) -> bool {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
        };
        let group = |api_version: &str| {
            api_version
                .split_once('/')
                .map_or(String::new(), |(group, _)| group.to_owned())
        };
        text("/kind") == self.target.kind
            && text("/metadata/name") == self.target.name
            && Some(text("/metadata/namespace")) == self.target.namespace.as_deref()
            && group(text("/apiVersion")) == group(&self.target.api_version)
    }
}

/// Returns `rendered` with every overlay on it, in the same order. What an overlay leaves out is
/// exactly as it was rendered; objects that no overlay touches are returned unchanged. Objects carry
/// their namespace.
#[must_use]
pub fn effective(rendered: &[Value], governed: &[Governed<'_>]) -> Vec<Value> {
    rendered
        .iter()
        .map(|object| {
            governed
                .iter()
                .fold(object.clone(), |object, run| overlaid(object, run))
        })
        .collect()
}

fn overlaid(mut object: Value, run: &Governed<'_>) -> Value {
    if let Some(route) = run.routes.iter().find(|route| route.is(&object)) {
        // A route that cannot carry the split stays whole; why is observed and told.
        object =
            render(route.provider, &object, &route.names, &run.overlay.split).unwrap_or(object);
    }
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    };
    let namespace = run.workload.namespace.as_deref().unwrap_or("");
    if text("/metadata/namespace") != namespace {
        return object;
    }
    let (kind, name) = (text("/kind").to_owned(), text("/metadata/name").to_owned());
    match kind.as_str() {
        kind if kind == run.workload.kind
            && name == run.workload.name
            && is_of_kind(&object, run) =>
        {
            if let (TemplateVersion::Old, Some(old)) = (run.overlay.template, run.old_template) {
                object["spec"]["template"] = old.clone();
            }
            if run.overlay.paused && is_per_node(run) {
                // A DaemonSet cannot be paused; held so, its controller replaces no pod.
                set(&mut object, "/spec/updateStrategy/type", json!("OnDelete"));
            } else if run.overlay.paused {
                object["spec"]["paused"] = json!(true);
            } else if run.overlay.resumed && !is_per_node(run) {
                object["spec"]["paused"] = json!(false);
            }
            if let Some(replicas) = run.overlay.replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
            if let (Some(partition), Some(adapter)) = (run.overlay.in_place.partition, run.adapter)
            {
                let held = if adapter.by_node {
                    json!("OnDelete")
                } else {
                    json!(partition)
                };
                set(&mut object, &adapter.partition, held);
            }
            if let Some(names) = revision_names(namespace, &run.overlay.revisions) {
                object = knative::held(&object, &names, run.overlay.split.weight);
            }
        }
        // Services of Knative have no selector.
        "Service" if !text("/apiVersion").contains('/') => {
            if let Some(pin) = run.overlay.pins.iter().find(|pin| pin.service == name) {
                let label = run
                    .adapter
                    .map_or(pin_label(&run.workload.kind), |adapter| {
                        &adapter.revision_label
                    });
                object["spec"]["selector"][label] = json!(pin.hash);
            }
        }
        _ => {}
    }
    object
}

/// A copy of a DaemonSet runs beside it.
fn is_per_node(run: &Governed<'_>) -> bool {
    run.adapter.is_none() && run.workload.kind == "DaemonSet"
}

/// A Service of Knative and one of Kubernetes may have the same name.
fn is_of_kind(object: &Value, run: &Governed<'_>) -> bool {
    let is_by_revision = run.adapter.is_some_and(|adapter| adapter.by_revision);
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    !is_by_revision || api_version == Some(run.workload.api_version.as_str())
}

/// The revisions that share the requests of a workload which keeps them; `None` = as the user wrote it.
#[must_use]
pub fn revision_names(namespace: &str, want: &RevisionsWant) -> Option<Names> {
    Some(Names {
        namespace: namespace.to_owned(),
        apex: want.old.clone()?,
        canary: want.new.clone().unwrap_or_default(),
        rules: Vec::new(),
        copied: None,
    })
}

/// Sets what a JSON pointer points to, and the objects on the way there.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for key in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}

#[cfg(test)]
mod tests;
