//! What `bellwether-sync` applies: the rendered objects with a run's overlay on them.

use bellwether_api::reference::ObjectRef;
use serde_json::{Value, json};

use crate::{machine::Overlay, names::HASH_LABEL, provider::gateway_api, settled::TemplateVersion};

/// One governed workload and what its run wants.
#[derive(Clone, Debug)]
pub struct Governed<'a> {
    /// The workload.
    pub workload: &'a ObjectRef,
    /// `spec.template` as the bundle that was last finished renders it; absent = no run, the
    /// rendered template is taken.
    pub old_template: Option<&'a Value>,
    /// The apex Service; absent = no traffic is split.
    pub service: Option<&'a str>,
    /// The canary Service ([`crate::names::canary_name`] of the apex).
    pub canary_service: &'a str,
    /// HTTPRoutes in the workload's namespace that are split.
    pub http_routes: &'a [String],
    /// What the run wants.
    pub overlay: &'a Overlay,
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
        kind if kind == run.workload.kind && name == run.workload.name => {
            if let (TemplateVersion::Old, Some(old)) = (run.overlay.template, run.old_template) {
                object["spec"]["template"] = old.clone();
            }
            if run.overlay.paused {
                object["spec"]["paused"] = json!(true);
            }
            if let Some(replicas) = run.overlay.replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
        }
        "Service" => {
            if let Some(pin) = run.overlay.pins.iter().find(|pin| pin.service == name) {
                object["spec"]["selector"][HASH_LABEL] = json!(pin.hash);
            }
        }
        "HTTPRoute" if run.http_routes.contains(&name) => {
            if let Some(apex) = run.service {
                let weight = run.overlay.route_weight();
                object = gateway_api::render(&object, apex, run.canary_service, weight);
            }
        }
        _ => {}
    }
    object
}

#[cfg(test)]
mod tests;
