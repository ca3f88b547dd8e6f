//! Contour HTTPProxy: services by weight, matches as routes of their own, and a mirror.

use bellwether_api::{
    matching::{Match, NamedMatch},
    number::Weight,
};
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, RouteObservation, Split,
    backends::{Backends, agreed},
    overtaking::{self, Path, is_under},
    pattern::{Test, cookies},
    tree::{items, items_mut, namespace_of, push, text},
};

/// HTTPProxy of Contour.
#[derive(Clone, Copy, Debug)]
pub struct HttpProxy;

const MAX_WEIGHT: u64 = i32::MAX as u64;

impl Renderer for HttpProxy {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        let own = items(object, "/spec/routes");
        let mut out = Vec::new();
        let mut found = Vec::new();
        let is_split = |index: usize, route: &Value| {
            let services = items(route, "/services");
            let leads = with_backends(object, services, names, |backends| {
                backends.has_apex(services)
            });
            leads && names.selects(index, None)
        };
        let others: Vec<Path<'_>> = (own.iter().enumerate())
            .filter(|(index, route)| !is_split(*index, route))
            .map(|(_, route)| path_in(route))
            .collect();
        for (index, route) in own.iter().enumerate() {
            if !is_split(index, route) {
                out.push(route.clone());
                continue;
            }
            found.push((index, None));
            with_backends(object, items(route, "/services"), names, |backends| {
                for item in &split.matches {
                    let Some(matched) = matched(route, item, backends)? else {
                        continue;
                    };
                    let paths = (path_in(route), path_in(&matched));
                    overtaking::refuse(paths.0, paths.1, others.iter().copied())?;
                    out.push(matched);
                }
                out.push(shared(route, split, backends)?);
                Ok(())
            })?;
        }
        names.all_found(&found)?;
        let mut object = object.clone();
        if let Some(routes) = items_mut(&mut object, "/spec/routes") {
            *routes = out;
        }
        Ok(object)
    }

    /// Contour sends Envoy routes, clusters and endpoints by streams of their own; a request to a cluster
    /// that Envoy does not know yet is answered with 503.
    fn announces(&self, _live: &Value) -> bool {
        true
    }

    fn can_announce(&self) -> bool {
        true
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        observe(object)
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        let shares = items(object, "/spec/routes").iter().filter_map(|route| {
            let services: Vec<Value> = items(route, "/services")
                .iter()
                .filter(|service| !is_mirror(service))
                .cloned()
                .collect();
            with_backends(object, &services, names, |backends| {
                backends.share(&services)
            })
        });
        agreed(shares, !names.rules.is_empty())
    }
}

fn is_mirror(service: &Value) -> bool {
    service.get("mirror") == Some(&json!(true))
}

/// Services without any weight among them are alike; beside one that has a weight they get
/// nothing.
fn with_backends<T>(
    object: &Value,
    services: &[Value],
    names: &Names,
    then: impl FnOnce(&Backends<'_>) -> T,
) -> T {
    let beside = namespace_of(object) == names.namespace;
    let is = |backend: &Value, service: &str| {
        beside && !is_mirror(backend) && text(backend, "name") == service
    };
    let weighted = services
        .iter()
        .any(|one| one.get("weight").and_then(Value::as_u64).unwrap_or(0) > 0);
    then(&Backends {
        is_apex: &|backend| is(backend, &names.apex),
        is_canary: &|backend| is(backend, &names.canary),
        rename: &|backend| backend["name"] = json!(names.canary),
        default_weight: u64::from(!weighted),
        max_weight: MAX_WEIGHT,
    })
}

/// The user's own route, by weight.
fn shared(route: &Value, split: &Split, backends: &Backends<'_>) -> Result<Value, RenderError> {
    let all = items(route, "/services");
    let (mirrors, own): (Vec<Value>, Vec<Value>) = all.iter().cloned().partition(is_mirror);
    let mut out = route.clone();
    if split.weight > Weight::ZERO || split.announced {
        let mut services = backends.split(&own, split.weight);
        services.extend(mirrors.clone());
        out["services"] = json!(services);
    }
    let share = split.mirrored();
    if share > Weight::ZERO {
        if !mirrors.is_empty() {
            return Err(RenderError::Unsplittable {
                what: "a route".to_owned(),
                why: "it has a mirror of its own, and a route takes one; leave it out while a run \
                      mirrors",
            });
        }
        if let Some(apex) = own.iter().find(|one| (backends.is_apex)(one)) {
            let mut mirror = apex.clone();
            (backends.rename)(&mut mirror);
            mirror["mirror"] = json!(true);
            mirror["weight"] = json!(share.percent());
            push(&mut out, "services", mirror);
        }
    }
    Ok(out)
}

/// The route of one item; `None` when no request can fulfil both its conditions and the route's.
/// Contour tries routes with more conditions first.
fn matched(
    route: &Value,
    item: &Match,
    backends: &Backends<'_>,
) -> Result<Option<Value>, RenderError> {
    let mut conditions = items(route, "/conditions").to_vec();
    if let Some(path) = &item.path {
        let wanted = match Test::of_value(path) {
            Test::Exact(value) => ("exact", value),
            Test::Prefix(value) => ("prefix", value),
            Test::Regex(value) => ("regex", value),
        };
        if !join_path(&mut conditions, wanted)? {
            return Ok(None);
        }
    }
    let mut headers: Vec<(String, Value)> = Vec::new();
    for one in &item.headers {
        headers.push((one.name.clone(), compared("header", one)));
    }
    if !item.cookies.is_empty() {
        let header = json!({"header": {"name": "Cookie", "regex": cookies(&item.cookies)?}});
        headers.push(("Cookie".to_owned(), header));
    }
    for (name, header) in headers {
        if !join_header(&mut conditions, &name, header)? {
            return Ok(None);
        }
    }
    let query = item.query_params.iter();
    conditions.extend(query.map(|one| compared("queryParameter", one)));
    let mut out = route.clone();
    out["conditions"] = json!(conditions);
    let services = items(route, "/services");
    out["services"] = json!(backends.canary_only(services));
    Ok(Some(out))
}

fn compared(kind: &str, one: &NamedMatch) -> Value {
    let test = Test::of_named(one);
    let (op, value) = match test {
        Test::Exact(value) => ("exact", value.to_owned()),
        Test::Prefix(value) if kind == "queryParameter" => ("prefix", value.to_owned()),
        _ => ("regex", test.whole()),
    };
    json!({kind: {"name": one.name, op: value}})
}

/// The path of a route; without one it is every path.
fn path_in(route: &Value) -> Path<'_> {
    let conditions = items(route, "/conditions");
    let at = |kind: &str| {
        let mut found = conditions.iter().filter_map(|one| one.get(kind)?.as_str());
        found.next()
    };
    match (at("exact"), at("regex"), at("prefix")) {
        (Some(path), ..) => Path::Exact(path),
        (_, Some(path), _) => Path::Regex(path),
        (.., Some(path)) => Path::Prefix(path),
        _ => Path::Prefix("/"),
    }
}

/// Adds a condition on a header; tells whether any request can fulfil it and the route's own.
fn join_header(
    conditions: &mut Vec<Value>,
    name: &str,
    header: Value,
) -> Result<bool, RenderError> {
    let same = conditions.iter().find(|one| {
        one.get("header")
            .is_some_and(|own| text(own, "name").eq_ignore_ascii_case(name))
    });
    let Some(own) = same else {
        conditions.push(header);
        return Ok(true);
    };
    let exact = |one: &Value| {
        one.pointer("/header/exact")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    match (exact(own), exact(&header)) {
        (Some(own), Some(wanted)) => Ok(own == wanted),
        _ => Err(RenderError::Collision {
            subject: format!("header {name}"),
        }),
    }
}

/// Puts a path among the conditions, of which one may be a path; tells whether any request can
/// fulfil it and the route's own.
fn join_path(
    conditions: &mut Vec<Value>,
    (kind, value): (&str, &str),
) -> Result<bool, RenderError> {
    let kinds = ["prefix", "exact", "regex"];
    let place = conditions
        .iter()
        .position(|one| kinds.iter().any(|kind| one.get(kind).is_some()));
    let wanted = json!({kind: value});
    let Some(place) = place else {
        conditions.push(wanted);
        return Ok(true);
    };
    let own = conditions[place].clone();
    let of = |kind: &str| own.get(kind).and_then(Value::as_str);
    match (of("prefix"), of("exact"), kind) {
        _ if own == wanted => {}
        (Some("/"), _, _) => conditions[place] = wanted,
        (_, _, "prefix") if value == "/" => {}
        (Some(prefix), _, "exact" | "prefix") if is_under(value, prefix) => {
            conditions[place] = wanted;
        }
        (Some(path), _, "prefix") | (_, Some(path), "prefix") if is_under(path, value) => {}
        (Some(_), _, "exact" | "prefix") | (_, Some(_), "exact" | "prefix") => return Ok(false),
        _ => {
            return Err(RenderError::Collision {
                subject: "the path".to_owned(),
            });
        }
    }
    Ok(true)
}

fn observe(object: &Value) -> RouteObservation {
    let not_yet = |why: String| RouteObservation::NotYet { why };
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let Some(valid) = items(object, "/status/conditions")
        .iter()
        .find(|one| text(one, "type") == "Valid")
    else {
        return not_yet("Contour has not reported".to_owned());
    };
    let observed = valid
        .get("observedGeneration")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if observed < generation {
        return not_yet(format!(
            "its status speaks of generation {observed} of {generation}"
        ));
    }
    match text(valid, "status") {
        "True" => RouteObservation::Programmed,
        "False" => RouteObservation::Rejected {
            why: object
                .pointer("/status/description")
                .and_then(Value::as_str)
                .unwrap_or("it is invalid")
                .to_owned(),
        },
        other => not_yet(format!("Valid is {other:?}")),
    }
}

#[cfg(test)]
mod tests;
