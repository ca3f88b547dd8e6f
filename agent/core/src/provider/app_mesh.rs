//! AWS App Mesh VirtualRouter: virtual nodes by weight, and matches as routes of their own.

mod condition;
mod node;

use bellwether_api::{matching::Match, number::Weight, reference::ObjectRef};
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, RouteObservation, Split,
    backends::{Backends, agreed},
    tree::{items, items_mut, namespace_of, text},
};

/// VirtualRouter of App Mesh.
#[derive(Clone, Copy, Debug)]
pub struct VirtualRouter;

/// The kinds of route, of which a route has one; only the first two have what requests have.
const LAYERS: [&str; 4] = ["httpRoute", "http2Route", "grpcRoute", "tcpRoute"];
/// The most targets that a route takes.
const MAX_TARGETS: usize = 10;
const MAX_WEIGHT: u64 = 100;

impl Renderer for VirtualRouter {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        with_backends(namespace_of(object), names, |backends| {
            let own = items(object, "/spec/routes");
            let mut out = Vec::new();
            let mut found = Vec::new();
            for (index, route) in own.iter().enumerate() {
                let name = text(route, "name");
                let Some((layer, targets)) = targets(route)
                    .filter(|(_, targets)| backends.has_apex(targets))
                    .filter(|_| names.selects(index, Some(name)))
                else {
                    out.push(route.clone());
                    continue;
                };
                found.push((index, Some(name.to_owned())));
                if !split.matches.is_empty() {
                    let priority = before(route, layer, own)?;
                    for (place, item) in split.matches.iter().enumerate() {
                        out.extend(matched(route, layer, item, place, priority, backends)?);
                    }
                }
                let mut route = route.clone();
                if split.weight > Weight::ZERO {
                    let shares = shares(name, targets, split.weight, backends)?;
                    route[layer]["action"]["weightedTargets"] = json!(shares);
                }
                out.push(route);
            }
            names.all_found(&found)?;
            let mut object = object.clone();
            if let Some(routes) = items_mut(&mut object, "/spec/routes") {
                *routes = out;
            }
            Ok(object)
        })
    }

    fn own_targets(&self, _target: &ObjectRef, names: &Names) -> Vec<ObjectRef> {
        node::target(names).into_iter().collect()
    }

    fn names_own(&self) -> bool {
        true
    }

    fn own(
        &self,
        _object: &Value,
        names: &Names,
        _split: &Split,
    ) -> Result<Vec<Value>, RenderError> {
        Ok(node::of_canary(names)?.into_iter().collect())
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        observe(object)
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        with_backends(namespace_of(object), names, |backends| {
            let routes = items(object, "/spec/routes").iter();
            let shares = routes.filter_map(|route| backends.share(targets(route)?.1));
            agreed(shares, !names.rules.is_empty())
        })
    }
}

/// The kind of a route, and where it leads.
fn targets(route: &Value) -> Option<(&'static str, &[Value])> {
    let layer = LAYERS
        .into_iter()
        .find(|layer| route.get(layer).is_some())?;
    Some((layer, items(&route[layer], "/action/weightedTargets")))
}

fn with_backends<T>(namespace: &str, names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    let is = |target: &Value, node: Option<(String, String)>| {
        let reference = &target["virtualNodeRef"];
        let within = match text(reference, "namespace") {
            "" => namespace,
            other => other,
        };
        node.is_some_and(|(name, own)| text(reference, "name") == name && within == own)
    };
    then(&Backends {
        is_apex: &|target| is(target, node::of_user(names)),
        is_canary: &|target| {
            let canary = node::target(names).map(|node| (node.name, names.namespace.clone()));
            is(target, canary)
        },
        rename: &|target| {
            if let Some(node) = node::target(names) {
                target["virtualNodeRef"] = json!({"name": node.name, "namespace": names.namespace});
            }
        },
        default_weight: 0,
        max_weight: MAX_WEIGHT,
    })
}

/// The targets with the canary's beside the apex'. Weights end at 100, so that the apex' is written in
/// hundredths, exactly, and the others' beside it as nearly as they can.
fn shares(
    name: &str,
    targets: &[Value],
    weight: Weight,
    backends: &Backends<'_>,
) -> Result<Vec<Value>, RenderError> {
    let refuse = |why| {
        Err(RenderError::Unsplittable {
            what: format!("route {name}"),
            why,
        })
    };
    if targets.len() >= MAX_TARGETS {
        return Err(RenderError::TooMany {
            what: "targets in one route",
            count: targets.len() + 1,
            limit: MAX_TARGETS,
        });
    }
    let (apex, others): (Vec<&Value>, Vec<&Value>) =
        targets.iter().partition(|one| (backends.is_apex)(one));
    let [apex] = apex.as_slice() else {
        return refuse("it leads to the VirtualNode of the Service twice; let it do so once");
    };
    let weight_of = |one: &Value| one.get("weight").and_then(Value::as_u64).unwrap_or(0);
    let own = weight_of(apex).max(1);
    if others.iter().any(|other| weight_of(other) > own) {
        return refuse(
            "another of its targets weighs more than the Service's, and weights end at 100; give \
             that one a route of its own",
        );
    }
    let mut out = backends.split(std::slice::from_ref(*apex), weight);
    for other in others {
        let mut other = other.clone();
        other["weight"] = json!((weight_of(&other) * MAX_WEIGHT + own / 2) / own);
        out.push(other);
    }
    Ok(out)
}

/// The priority of the routes for matches: that of the route less one, which no other may have. Of
/// routes without one the most specific is taken, so that what stands before this one alone cannot
/// be said.
fn before(route: &Value, layer: &str, all: &[Value]) -> Result<i64, RenderError> {
    let refuse = |why| {
        Err(RenderError::Unsplittable {
            what: format!("route {}", text(route, "name")),
            why,
        })
    };
    if !matches!(layer, "httpRoute" | "http2Route") {
        return refuse("only http routes have matches; name those in traffic[].rules");
    }
    let priority = |route: &Value| route.get("priority").and_then(Value::as_i64);
    let Some(own) = priority(route).filter(|own| *own > 0) else {
        return refuse(
            "a match stands before it, by the priority that is one less than its own; give it a \
             priority of at least 1",
        );
    };
    if all.iter().any(|other| priority(other) == Some(own - 1)) {
        return refuse(
            "a match stands before it, by the priority that is one less than its own, which another \
             route has; leave that one free",
        );
    }
    Ok(own - 1)
}

/// The route of one item; `None` when no request can fulfil both its conditions and the route's.
fn matched(
    route: &Value,
    layer: &str,
    item: &Match,
    place: usize,
    priority: i64,
    backends: &Backends<'_>,
) -> Result<Option<Value>, RenderError> {
    let Some(condition) = condition::joined(&route[layer]["match"], item)? else {
        return Ok(None);
    };
    let mut out = route.clone();
    // Names are unique within a router.
    out["name"] = json!(format!("{}-canary-{place}", text(route, "name")));
    out["priority"] = json!(priority);
    out[layer]["match"] = condition;
    let mut to = backends.canary_only(items(&route[layer], "/action/weightedTargets"));
    if let [single] = to.as_mut_slice() {
        // A weight must be said.
        single["weight"] = json!(1);
    }
    out[layer]["action"]["weightedTargets"] = json!(to);
    Ok(Some(out))
}

fn observe(object: &Value) -> RouteObservation {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let (generation, observed) = (
        number("/metadata/generation").unwrap_or(0),
        number("/status/observedGeneration").unwrap_or(0),
    );
    if observed < generation {
        return RouteObservation::NotYet {
            why: format!("its status speaks of generation {observed} of {generation}"),
        };
    }
    let active = items(object, "/status/conditions")
        .iter()
        .find(|one| text(one, "type") == "VirtualRouterActive");
    match active.map(|one| text(one, "status")) {
        Some("True") => RouteObservation::Programmed,
        _ => RouteObservation::NotYet {
            why: "it is not active in the mesh yet".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
