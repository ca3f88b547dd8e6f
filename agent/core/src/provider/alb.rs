//! AWS Load Balancer Controller: an Ingress whose backend is an action with weighted target
//! groups.

use bellwether_api::number::Weight;
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, Split,
    backends::Backends,
    tree::{items, items_mut, namespace_of, object, text},
};

/// Ingress of the AWS Load Balancer Controller.
#[derive(Clone, Copy, Debug)]
pub struct Alb;

const ACTIONS: &str = "alb.ingress.kubernetes.io/actions.";
/// A backend's port of this name makes its Service name that of an action.
const USE_ANNOTATION: &str = "use-annotation";
/// The largest weight of a target group.
const MAX_WEIGHT: u64 = 999;

impl Renderer for Alb {
    fn render(&self, ingress: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        let mut out = ingress.clone();
        let mut found = Vec::new();
        let mut actions: Vec<(String, Value)> = Vec::new();
        let rules = items_mut(&mut out, "/spec/rules").into_iter().flatten();
        for (index, rule) in rules.enumerate() {
            let paths = items_mut(rule, "/http/paths").into_iter().flatten();
            for path in paths.filter(|_| names.selects(index, None)) {
                let Some(action) = action_of(ingress, path, names)? else {
                    continue;
                };
                found.push((index, None));
                let groups = groups(&action.value, names, |backends, own| {
                    backends.split(own, split.weight)
                });
                let mut value = action.value;
                value["forwardConfig"]["targetGroups"] = json!(groups);
                path["backend"]["service"] = json!({
                    "name": action.name, "port": {"name": USE_ANNOTATION},
                });
                actions.push((action.name, value));
            }
        }
        names.all_found(&found)?;
        for (name, value) in &actions {
            if actions
                .iter()
                .any(|(other, unlike)| other == name && unlike != value)
            {
                return Err(RenderError::Unsplittable {
                    what: format!("Service {}", names.apex),
                    why: "it stands in rules with different ports, and one action has one; name \
                          the rule in traffic[].rules",
                });
            }
        }
        if let Some(annotations) = object(&mut out["metadata"], "annotations") {
            for (name, value) in actions {
                annotations.insert(format!("{ACTIONS}{name}"), json!(value.to_string()));
            }
        }
        Ok(out)
    }

    fn observed_weight(&self, ingress: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        let shares = items(ingress, "/spec/rules")
            .iter()
            .enumerate()
            .filter(|(index, _)| names.selects(*index, None))
            .flat_map(|(_, rule)| items(rule, "/http/paths"))
            .filter_map(|path| action_of(ingress, path, names).ok().flatten())
            .filter_map(|action| groups(&action.value, names, |backends, own| backends.share(own)));
        super::backends::agreed(shares, false)
    }
}

/// What a path forwards to.
struct Action {
    name: String,
    value: Value,
}

/// The action of a path that leads to the apex: the one that the user wrote, or the one that says
/// the same as the path's plain backend.
fn action_of(ingress: &Value, path: &Value, names: &Names) -> Result<Option<Action>, RenderError> {
    let Some(service) = path.pointer("/backend/service") else {
        return Ok(None);
    };
    let name = text(service, "name").to_owned();
    let port = service.get("port").cloned().unwrap_or_default();
    if text(&port, "name") != USE_ANNOTATION {
        if name != names.apex || namespace_of(ingress) != names.namespace {
            return Ok(None);
        }
        let port = match port.get("number").and_then(Value::as_u64) {
            Some(number) => number.to_string(),
            None => text(&port, "name").to_owned(),
        };
        let group = json!({"serviceName": name, "servicePort": port});
        let value = json!({"type": "forward", "forwardConfig": {"targetGroups": [group]}});
        return Ok(Some(Action { name, value }));
    }
    let annotation = format!("{ACTIONS}{name}");
    let written = ingress
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(&annotation)?.as_str())
        .unwrap_or("{}");
    let value: Value = serde_json::from_str(written).map_err(|_| RenderError::Unsplittable {
        what: format!("annotation {annotation}"),
        why: "it is no JSON",
    })?;
    let leads = groups(&value, names, |backends, own| backends.has_apex(own));
    Ok(leads.then_some(Action { name, value }))
}

/// Does something with the target groups of an action.
fn groups<T>(action: &Value, names: &Names, then: impl FnOnce(&Backends<'_>, &[Value]) -> T) -> T {
    let is = |group: &Value, service: &str| text(group, "serviceName") == service;
    let backends = Backends {
        is_apex: &|group| is(group, &names.apex),
        is_canary: &|group| is(group, &names.canary),
        rename: &|group| group["serviceName"] = json!(names.canary),
        default_weight: 1,
        max_weight: MAX_WEIGHT,
    };
    then(&backends, items(action, "/forwardConfig/targetGroups"))
}

#[cfg(test)]
mod tests;
