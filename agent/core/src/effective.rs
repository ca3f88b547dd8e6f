//! What `bellwether-sync` applies: the rendered objects with a run's overlay on them.

use bellwether_api::{reference::ObjectRef, traffic::Provider, workload_adapter::WorkloadAdapter};
use serde_json::{Value, json};

use crate::{
    adopted::in_place::set,
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
    /// Where the kind of a workload with a copy beside it keeps what that takes; absent = it is known for
    /// the kind, or no copy runs beside it.
    pub copy_adapter: Option<HeldWhole<'a>>,
    /// What the run wants.
    pub overlay: &'a Overlay,
}

/// A workload of a kind that an adapter tells of, with a copy beside it. Any field of its spec may make new
/// pods, so that all of it stays old until the promotion, but for its size.
#[derive(Clone, Copy, Debug)]
pub struct HeldWhole<'a> {
    /// Where its kind keeps what the copy takes.
    pub adapter: &'a WorkloadAdapter,
    /// `spec` as the bundle that was last finished renders it; absent = no run, the rendered one is taken.
    pub old_spec: Option<&'a Value>,
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
            if let (TemplateVersion::Old, Some(held)) = (run.overlay.template, run.copy_adapter) {
                hold_whole(&mut object, held);
            }
            if run.overlay.paused && is_per_node(run) {
                // A DaemonSet cannot be paused; held so, its controller replaces no pod.
                set(&mut object, "/spec/updateStrategy/type", json!("OnDelete"));
            } else if run.overlay.paused {
                set(&mut object, paused_at(run), json!(true));
            } else if run.overlay.resumed && !is_per_node(run) {
                set(&mut object, paused_at(run), json!(false));
            }
            if let Some(replicas) = run.overlay.replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
            if let (Some(partition), Some(adapter)) = (run.overlay.in_place.partition, run.adapter)
                && let Some(at) = &adapter.partition
            {
                let held = if adapter.by_node {
                    json!("OnDelete")
                } else {
                    json!(partition)
                };
                set(&mut object, at, held);
            }
            if let Some(names) = revision_names(namespace, &run.overlay.revisions) {
                object = knative::held(&object, &names, run.overlay.split.weight);
            }
        }
        // Services of Knative have no selector.
        "Service" if !text("/apiVersion").contains('/') => {
            if let Some(pin) = run.overlay.pins.iter().find(|pin| pin.service == name) {
                let copy_adapter = run.copy_adapter.map(|held| held.adapter);
                let adapter = run.adapter.or(copy_adapter);
                let label = pin_label(&run.workload.kind, adapter);
                object["spec"]["selector"][label] = json!(pin.hash);
            }
        }
        _ => {}
    }
    object
}

/// Lays the old spec over the new one, with the size of the new one.
fn hold_whole(object: &mut Value, held: HeldWhole<'_>) {
    let Some(old) = held.old_spec else {
        return;
    };
    let size = object.pointer(&held.adapter.replicas).cloned();
    object["spec"] = old.clone();
    if let Some(size) = size {
        set(object, &held.adapter.replicas, size);
    }
}

/// A copy of a DaemonSet runs beside it.
fn is_per_node(run: &Governed<'_>) -> bool {
    run.adapter.is_none() && run.copy_adapter.is_none() && run.workload.kind == "DaemonSet"
}

/// Where the workload's controller is told to stand still.
fn paused_at<'a>(run: &Governed<'a>) -> &'a str {
    let held = run.copy_adapter;
    let named = held.and_then(|held| held.adapter.paused.as_deref());
    named.unwrap_or("/spec/paused")
}

/// A Service of Knative and one of Kubernetes may have the same name.
fn is_of_kind(object: &Value, run: &Governed<'_>) -> bool {
    let is_by_revision = run.adapter.is_some_and(|adapter| adapter.by_revision);
    let may_have_a_namesake = is_by_revision || run.copy_adapter.is_some();
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    !may_have_a_namesake || api_version == Some(run.workload.api_version.as_str())
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

#[cfg(test)]
mod tests;
