//! APISIX ApisixRoute: backends by weight, and matches as rules of their own.

use bellwether_api::{
    matching::{Match, NamedMatch},
    number::Weight,
};
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, RouteObservation, Split,
    backends::{Backends, agreed},
    pattern::Test,
    tree::{items, items_mut, namespace_of, push, text},
};

/// ApisixRoute of Apache APISIX.
#[derive(Clone, Copy, Debug)]
pub struct ApisixRoute;

/// What a backend without a weight weighs.
const DEFAULT_WEIGHT: u64 = 100;
const MAX_WEIGHT: u64 = i32::MAX as u64;

impl Renderer for ApisixRoute {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        with_backends(namespace_of(object), names, |backends| {
            let mut out = Vec::new();
            let mut found = Vec::new();
            for (index, rule) in items(object, "/spec/http").iter().enumerate() {
                let name = rule.get("name").and_then(Value::as_str);
                let own = items(rule, "/backends");
                if !backends.has_apex(own) || !names.selects(index, name) {
                    out.push(rule.clone());
                    continue;
                }
                found.push((index, name.map(str::to_owned)));
                for (place, item) in split.matches.iter().enumerate() {
                    // The first item is tried first.
                    let above = split.matches.len() - place;
                    out.extend(matched(rule, item, place, above, backends));
                }
                let mut rule = rule.clone();
                if split.weight > Weight::ZERO {
                    rule["backends"] = json!(backends.split(own, split.weight));
                }
                out.push(rule);
            }
            names.all_found(&found)?;
            let mut object = object.clone();
            if let Some(rules) = items_mut(&mut object, "/spec/http") {
                *rules = out;
            }
            Ok(object)
        })
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        observe(object)
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        with_backends(namespace_of(object), names, |backends| {
            let shares = items(object, "/spec/http")
                .iter()
                .filter_map(|rule| backends.share(items(rule, "/backends")));
            agreed(shares, !names.rules.is_empty())
        })
    }
}

fn with_backends<T>(namespace: &str, names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    let is = |backend: &Value, service: &str| {
        namespace == names.namespace && text(backend, "serviceName") == service
    };
    then(&Backends {
        is_apex: &|backend| is(backend, &names.apex),
        is_canary: &|backend| is(backend, &names.canary),
        rename: &|backend| backend["serviceName"] = json!(names.canary),
        default_weight: DEFAULT_WEIGHT,
        max_weight: MAX_WEIGHT,
    })
}

/// The rule of one item; `None` when no request can fulfil both its conditions and the rule's.
fn matched(
    rule: &Value,
    item: &Match,
    place: usize,
    above: usize,
    backends: &Backends<'_>,
) -> Option<Value> {
    let mut out = rule.clone();
    // Names are unique within a route.
    out["name"] = json!(format!("{}-canary-{place}", text(rule, "name")));
    let own = rule.get("priority").and_then(Value::as_i64).unwrap_or(0);
    out["priority"] = json!(own + i64::try_from(above).unwrap_or(1));
    out["backends"] = json!(backends.canary_only(items(rule, "/backends")));
    if !out.get("match").is_some_and(Value::is_object) {
        out["match"] = json!({});
    }
    let condition = &mut out["match"];
    if let Some(method) = &item.method {
        let methods = items(condition, "/methods");
        if !methods.is_empty() && !methods.contains(&json!(method)) {
            return None;
        }
        condition["methods"] = json!([method]);
    }
    let mut add = |scope: &str, name: &str, test: Test<'_>, pattern: String| {
        let (op, value) = match test {
            Test::Exact(value) => ("Equal", value.to_owned()),
            _ => ("RegexMatch", pattern),
        };
        let subject = json!({"scope": scope, "name": name});
        let expression = json!({"subject": subject, "op": op, "value": value});
        push(condition, "exprs", expression);
    };
    let scopes: [(&str, &[NamedMatch]); 3] = [
        ("Header", &item.headers),
        ("Cookie", &item.cookies),
        ("Query", &item.query_params),
    ];
    for (scope, list) in scopes {
        for one in list {
            let test = Test::of_named(one);
            add(scope, &one.name, test, test.whole());
        }
    }
    if let Some(path) = &item.path {
        let test = Test::of_value(path);
        // Controllers look at the scope alone; the definition of 2.x wants a name, that of 1.x no empty one.
        add("Path", "uri", test, test.path());
    }
    Some(out)
}

/// The controller reports one condition, whose name depends on its version.
fn observe(object: &Value) -> RouteObservation {
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let reported = items(object, "/status/conditions")
        .iter()
        .find(|one| matches!(text(one, "type"), "Accepted" | "ResourcesAvailable"));
    let not_yet = |why: String| RouteObservation::NotYet { why };
    let Some(condition) = reported else {
        return not_yet("no controller has reported".to_owned());
    };
    let observed = condition.get("observedGeneration").and_then(Value::as_i64);
    match (observed, text(condition, "status")) {
        (Some(observed), _) if observed < generation => not_yet(format!(
            "its status speaks of generation {observed} of {generation}"
        )),
        (_, "True") => RouteObservation::Programmed,
        (_, "False") => RouteObservation::Rejected {
            why: format!(
                "{} {}",
                text(condition, "reason"),
                text(condition, "message")
            ),
        },
        (_, other) => not_yet(format!("{} is {other:?}", text(condition, "type"))),
    }
}

#[cfg(test)]
mod tests;
