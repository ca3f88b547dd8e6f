//! What the status of an HTTPRoute says.

use serde_json::Value;

use crate::provider::{
    RouteObservation,
    tree::{items, namespace_of, text},
};

/// Tells whether every parent of the route has accepted its present generation and resolved its
/// references.
#[must_use]
pub fn observe(route: &Value) -> RouteObservation {
    let not_yet = |why: String| RouteObservation::NotYet { why };
    let Some(generation) = route
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
    else {
        return not_yet("the route has no generation".to_owned());
    };
    let namespace = namespace_of(route);
    let wanted = items(route, "/spec/parentRefs");
    if wanted.is_empty() {
        return not_yet("the route has no parent".to_owned());
    }
    let reported = items(route, "/status/parents");
    let mut waiting = None;
    for parent in wanted {
        let identity = ParentIdentity::of(parent, namespace);
        let entries = reported.iter().filter(|entry| {
            entry
                .get("parentRef")
                .is_some_and(|r| ParentIdentity::of(r, namespace) == identity)
        });
        // Several controllers may speak of one parent; one that carries it is enough.
        let observations: Vec<_> = entries
            .map(|entry| parent_observation(entry, generation))
            .collect();
        if observations.contains(&RouteObservation::Programmed) {
            continue;
        }
        let named = |why: &str| format!("parent {}: {why}", identity.name);
        match observations.first() {
            Some(RouteObservation::Rejected { why }) => {
                return RouteObservation::Rejected { why: named(why) };
            }
            Some(RouteObservation::NotYet { why }) => waiting = waiting.or(Some(named(why))),
            Some(RouteObservation::Programmed) => {}
            None => waiting = waiting.or(Some(named("no controller has reported"))),
        }
    }
    waiting.map_or(RouteObservation::Programmed, not_yet)
}

/// What controllers report of the parents that the route names.
pub(super) fn entries_of_parents(route: &Value) -> impl Iterator<Item = &Value> {
    let namespace = namespace_of(route);
    let wanted: Vec<_> = items(route, "/spec/parentRefs")
        .iter()
        .map(|parent| ParentIdentity::of(parent, namespace))
        .collect();
    items(route, "/status/parents").iter().filter(move |entry| {
        let of = entry.get("parentRef").unwrap_or(&Value::Null);
        wanted.contains(&ParentIdentity::of(of, namespace))
    })
}

fn parent_observation(entry: &Value, generation: i64) -> RouteObservation {
    for kind in ["Accepted", "ResolvedRefs"] {
        let conditions = items(entry, "/conditions");
        let Some(condition) = conditions.iter().find(|c| text(c, "type") == kind) else {
            return RouteObservation::NotYet {
                why: format!("{kind} is not reported"),
            };
        };
        let observed = condition
            .get("observedGeneration")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if observed != generation {
            return RouteObservation::NotYet {
                why: format!("{kind} speaks of generation {observed} of {generation}"),
            };
        }
        match text(condition, "status") {
            "True" => {}
            "False" => {
                let (reason, message) = (text(condition, "reason"), text(condition, "message"));
                return RouteObservation::Rejected {
                    why: format!("{kind} is False: {reason} {message}"),
                };
            }
            other => {
                return RouteObservation::NotYet {
                    why: format!("{kind} is {other:?}"),
                };
            }
        }
    }
    RouteObservation::Programmed
}

#[derive(PartialEq, Eq)]
struct ParentIdentity<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    section: &'a str,
    port: Option<i64>,
}

impl<'a> ParentIdentity<'a> {
    fn of(reference: &'a Value, route_namespace: &'a str) -> Self {
        let or = |key, default| match text(reference, key) {
            "" => default,
            value => value,
        };
        Self {
            group: or("group", "gateway.networking.k8s.io"),
            kind: or("kind", "Gateway"),
            namespace: or("namespace", route_namespace),
            name: or("name", ""),
            section: or("sectionName", ""),
            port: reference.get("port").and_then(Value::as_i64),
        }
    }
}
