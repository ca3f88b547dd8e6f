//! Gloo RouteTable and VirtualService: destinations by weight, matches as routes of their own, and a
//! shadow.

mod destination;
mod matcher;

use bellwether_api::{matching::Match, number::Weight, reference::ObjectRef};
use serde_json::{Value, json};

use self::destination::{destinations, put, with_backends};
use super::{
    Names, RenderError, Renderer, RouteObservation, Split,
    arms::{Arm, Version},
    backends::{Backends, agreed},
    tree::{items, items_mut, namespace_of, object as object_field, text},
};

/// Kinds of Gloo that hold routes.
#[derive(Clone, Copy, Debug)]
pub enum Gloo {
    /// RouteTable.
    RouteTable,
    /// VirtualService.
    VirtualService,
}

impl Gloo {
    const fn routes(self) -> &'static str {
        match self {
            Self::RouteTable => "/spec/routes",
            Self::VirtualService => "/spec/virtualHost/routes",
        }
    }
}

impl Renderer for Gloo {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        with_backends(namespace_of(object), names, |backends| {
            let mut out = Vec::new();
            let mut found = Vec::new();
            for (index, route) in items(object, self.routes()).iter().enumerate() {
                let name = route.get("name").and_then(Value::as_str);
                let own = destinations(route);
                if !backends.has_apex(&own) || !names.selects(index, name) {
                    out.push(route.clone());
                    continue;
                }
                found.push((index, name.map(str::to_owned)));
                if !split.matches.is_empty() {
                    out.extend(matched(route, &split.matches, &own, backends)?);
                }
                out.push(shared(route, split, &own, backends)?);
            }
            names.all_found(&found)?;
            let mut object = object.clone();
            if let Some(routes) = items_mut(&mut object, self.routes()) {
                *routes = out;
            }
            Ok(object)
        })
    }

    fn own_targets(&self, _target: &ObjectRef, names: &Names) -> Vec<ObjectRef> {
        destination::target(names).into_iter().collect()
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
        Ok(destination::of_canary(names)?.into_iter().collect())
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        observe(object)
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        with_backends(namespace_of(object), names, |backends| {
            let routes = items(object, self.routes()).iter();
            let shares = routes.filter_map(|route| backends.share(&destinations(route)));
            agreed(shares, !names.rules.is_empty())
        })
    }
}

/// The user's own route, by weight.
fn shared(
    route: &Value,
    split: &Split,
    own: &[Value],
    backends: &Backends<'_>,
) -> Result<Value, RenderError> {
    let mut out = route.clone();
    if split.weight > Weight::ZERO {
        put(&mut out, backends.split(own, split.weight));
    }
    let share = split.mirrored();
    if share > Weight::ZERO {
        shadow(&mut out, share, own, backends)?;
    }
    Ok(out)
}

/// The route of those who match; `None` when no request can fulfil both their conditions and the
/// route's. Gloo takes the first route that matches.
fn matched(
    route: &Value,
    matches: &[Match],
    own: &[Value],
    backends: &Backends<'_>,
) -> Result<Option<Value>, RenderError> {
    let arm = Arm {
        when: matches.to_vec(),
        to: Version::Canary,
    };
    let Some(matchers) = arm.joined(items(route, "/matchers"), matcher::joined)? else {
        return Ok(None);
    };
    let mut out = route.clone();
    super::tree::remove(&mut out, "name");
    out["matchers"] = json!(matchers);
    put(&mut out, arm.backends(backends, own));
    Ok(Some(out))
}

/// Sends a copy of requests to the canary.
fn shadow(
    route: &mut Value,
    share: Weight,
    own: &[Value],
    backends: &Backends<'_>,
) -> Result<(), RenderError> {
    let refuse = |why| {
        Err(RenderError::Unsplittable {
            what: "a route".to_owned(),
            why,
        })
    };
    if route.pointer("/options/shadowing").is_some() {
        return refuse(
            "it has a shadow of its own, and a route takes one; leave it out while a run mirrors",
        );
    }
    let target = backends.canary_only(own).into_iter().next();
    let upstream = target.and_then(|one| one.pointer("/destination/upstream").cloned());
    let Some(upstream) = upstream else {
        return refuse(
            "Gloo mirrors to an Upstream, and it leads to the Service itself; let it lead to an \
             Upstream, and name that one in gloo.upstream",
        );
    };
    if let Some(options) = object_field(route, "options") {
        let shadowing = json!({"upstream": upstream, "percentage": share.percent()});
        options.insert("shadowing".to_owned(), shadowing);
    }
    Ok(())
}

/// Each of Gloo's parts that reads a namespace reports a state, without a generation: what it says of
/// the object before the last write is told apart by the settle time alone. A warning is what it has
/// for destinations that it does not know.
fn observe(object: &Value) -> RouteObservation {
    let status = &object["status"];
    let several = status.get("statuses").and_then(Value::as_object);
    let reports: Vec<&Value> = match several {
        Some(statuses) => statuses.values().collect(),
        None => status.get("state").map(|_| status).into_iter().collect(),
    };
    if reports.is_empty() {
        return RouteObservation::NotYet {
            why: "no controller has reported".to_owned(),
        };
    }
    let mut waits = None;
    for report in reports {
        let by = text(report, "reportedBy");
        let why = || format!("{by}: {}", text(report, "reason"));
        // Older versions write the state as a number.
        match (text(report, "state"), report["state"].as_u64()) {
            ("Accepted", _) | (_, Some(1)) => {}
            ("Rejected", _) | (_, Some(2)) => {
                return RouteObservation::Rejected { why: why() };
            }
            ("Warning", _) | (_, Some(3)) => waits = Some(why()),
            _ => waits = Some(format!("{by} has not read it yet")),
        }
    }
    match waits {
        Some(why) => RouteObservation::NotYet { why },
        None => RouteObservation::Programmed,
    }
}

#[cfg(test)]
mod tests;
