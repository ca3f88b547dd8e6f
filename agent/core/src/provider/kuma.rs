//! Kuma: a MeshHTTPRoute of the run beside the user's Service, which Kuma knows as a MeshService.

use bellwether_api::{matching::Match, number::Weight, reference::ObjectRef};
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, Split,
    arms::Arm,
    backends::{Backends, agreed},
    gateway_api::http_condition,
    tree::{items, items_mut, namespace_of, push, remove, text},
};
use crate::names::cut;

const API_VERSION: &str = "kuma.io/v1alpha1";
const KIND: &str = "MeshHTTPRoute";
const MESH_LABEL: &str = "kuma.io/mesh";

/// The Service that Kuma makes a MeshService of. It is never changed.
#[derive(Clone, Copy, Debug)]
pub struct MeshService;

impl Renderer for MeshService {
    fn render(&self, object: &Value, names: &Names, _split: &Split) -> Result<Value, RenderError> {
        if text(&object["metadata"], "name") != names.apex
            || namespace_of(object) != names.namespace
        {
            return Err(RenderError::NoBackend {
                service: names.apex.clone(),
            });
        }
        Ok(object.clone())
    }

    fn own_targets(&self, _target: &ObjectRef, names: &Names) -> Vec<ObjectRef> {
        vec![ObjectRef {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            namespace: Some(names.namespace.clone()),
            name: route_name(names),
        }]
    }

    fn own(&self, object: &Value, names: &Names, split: &Split) -> Result<Vec<Value>, RenderError> {
        let to = items(object, "/spec/ports")
            .iter()
            .map(|port| to_port(port, names, split))
            .collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(RenderError::Unsplittable {
                what: format!("Service {}", names.apex),
                why: "it has no ports, and Kuma routes to a port",
            });
        }
        let mut route = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": route_name(names), "namespace": names.namespace},
            "spec": {"targetRef": {"kind": "Mesh"}, "to": to},
        });
        let labels = &object["metadata"]["labels"];
        if let Some(mesh) = labels.get(MESH_LABEL) {
            route["metadata"]["labels"][MESH_LABEL] = mesh.clone();
        }
        Ok(vec![route])
    }

    fn observed_weight(&self, _object: &Value, own: &[&Value], names: &Names) -> Option<Weight> {
        if own.is_empty() {
            return Some(Weight::ZERO);
        }
        with_backends(names, |backends| {
            let rules = own
                .iter()
                .flat_map(|route| items(route, "/spec/to"))
                .flat_map(|to| items(to, "/rules"));
            let shares =
                rules.filter_map(|rule| backends.share(items(rule, "/default/backendRefs")));
            agreed(shares, false)
        })
    }
}

fn route_name(names: &Names) -> String {
    cut(&format!("{}-split", names.canary))
}

fn with_backends<T>(names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    then(&Backends {
        is_apex: &|backend| text(backend, "name") == names.apex,
        is_canary: &|backend| text(backend, "name") == names.canary,
        rename: &|backend| backend["name"] = json!(names.canary),
        default_weight: 1,
        max_weight: u32::MAX.into(),
    })
}

/// What clients of one port of the Service are given.
fn to_port(port: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
    let number = port.get("port").cloned().unwrap_or_default();
    let section = match text(port, "name") {
        "" => number.to_string(),
        name => name.to_owned(),
    };
    let apex = json!({
        "kind": "MeshService", "name": names.apex, "namespace": names.namespace, "port": number,
    });
    let own = [apex];
    let rules = with_backends(names, |backends| -> Result<Vec<Value>, RenderError> {
        let mut rules = Vec::new();
        for arm in split.arms() {
            rules.extend(arm_rule(&arm, &own, backends)?);
        }
        rules.push(split_rule(&own, split, backends));
        Ok(rules)
    })?;
    Ok(json!({
        "targetRef": {
            "kind": "MeshService", "name": names.apex, "namespace": names.namespace,
            "sectionName": section,
        },
        "rules": rules,
    }))
}

fn everything() -> Value {
    json!({"path": {"type": "PathPrefix", "value": "/"}})
}

fn arm_rule(
    arm: &Arm,
    own: &[Value],
    backends: &Backends<'_>,
) -> Result<Option<Value>, RenderError> {
    let matches = arm.joined(&[everything()], condition)?;
    let to = arm.backends(backends, own);
    Ok(matches.map(|matches| json!({"matches": matches, "default": {"backendRefs": to}})))
}

/// The condition of the Gateway API, with names of headers as Kuma's definition takes them: in lower case.
fn condition(base: &Value, item: &Match) -> Result<Option<Value>, RenderError> {
    let mut joined = http_condition(base, item)?;
    let headers = joined
        .as_mut()
        .and_then(|joined| items_mut(joined, "/headers"));
    for header in headers.into_iter().flatten() {
        header["name"] = json!(text(header, "name").to_lowercase());
    }
    Ok(joined)
}

fn split_rule(own: &[Value], split: &Split, backends: &Backends<'_>) -> Value {
    let shares = if split.weight > Weight::ZERO {
        backends.split(own, split.weight)
    } else {
        own.to_vec()
    };
    let mut default = json!({"backendRefs": shares});
    let mirrored = split.mirrored();
    if mirrored > Weight::ZERO {
        for mut target in backends.canary_only(own) {
            remove(&mut target, "weight");
            let mirror = json!({"percentage": mirrored.percent(), "backendRef": target});
            let filter = json!({"type": "RequestMirror", "requestMirror": mirror});
            push(&mut default, "filters", filter);
        }
    }
    json!({"matches": [everything()], "default": default})
}

#[cfg(test)]
mod tests;
