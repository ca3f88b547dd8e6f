//! A rule's own condition and an item of a match, joined so that both must hold.

use bellwether_api::matching::{Match, NamedMatch};
use serde_json::{Value, json};

use crate::provider::{
    RenderError,
    overtaking::{Path, is_under},
    pattern::{Test, cookies},
    tree::{items, text},
};

/// Joins an HTTPRouteMatch with an item; `None` = no request can fulfil both.
///
/// # Errors
/// Both look at the same thing in ways that one condition cannot hold.
pub(in crate::provider) fn http(base: &Value, item: &Match) -> Result<Option<Value>, RenderError> {
    let mut joined = base.clone();
    if let Some(path) = &item.path {
        let (kind, value) = match Test::of_value(path) {
            Test::Exact(value) => ("Exact", value.to_owned()),
            Test::Prefix(value) => ("PathPrefix", value.to_owned()),
            Test::Regex(_) => ("RegularExpression", Test::of_value(path).whole()),
        };
        let Some(path) = path_of(base, kind, &value)? else {
            return Ok(None);
        };
        joined["path"] = path;
    }
    if let Some(method) = &item.method {
        let own = text(base, "method");
        if !own.is_empty() && own != method {
            return Ok(None);
        }
        joined["method"] = json!(method);
    }
    for one in &item.query_params {
        let entry = entry(&one.name, Test::of_named(one));
        if !add(&mut joined, "queryParams", "query parameter", entry)? {
            return Ok(None);
        }
    }
    headers(&mut joined, item).map(|possible| possible.then_some(joined))
}

/// Joins a GRPCRouteMatch with an item; `None` = no request can fulfil both.
///
/// # Errors
/// Both look at the same thing in ways that one condition cannot hold.
pub(super) fn grpc(base: &Value, item: &Match) -> Result<Option<Value>, RenderError> {
    let mut joined = base.clone();
    headers(&mut joined, item).map(|possible| possible.then_some(joined))
}

/// Adds the conditions on headers; tells whether any request can fulfil them all.
fn headers(joined: &mut Value, item: &Match) -> Result<bool, RenderError> {
    let own = |one: &NamedMatch| entry(&one.name, Test::of_named(one));
    let mut entries: Vec<Value> = item.headers.iter().map(own).collect();
    if !item.cookies.is_empty() {
        // Of several conditions on one header only the first counts, so cookies share one.
        entries.push(json!({
            "type": "RegularExpression", "name": "Cookie", "value": cookies(&item.cookies)?,
        }));
    }
    for entry in entries {
        if !add(joined, "headers", "header", entry)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn entry(name: &str, test: Test<'_>) -> Value {
    match test {
        Test::Exact(value) => json!({"type": "Exact", "name": name, "value": value}),
        other => json!({"type": "RegularExpression", "name": name, "value": other.whole()}),
    }
}

/// Adds a condition to a list where each name may stand once; tells whether any request can fulfil
/// it.
fn add(joined: &mut Value, list: &str, what: &str, entry: Value) -> Result<bool, RenderError> {
    let same = |one: &&Value| {
        let (a, b) = (text(one, "name"), text(&entry, "name"));
        a == b || (what == "header" && a.eq_ignore_ascii_case(b))
    };
    let pointer = format!("/{list}");
    let Some(own) = items(joined, &pointer).iter().find(same) else {
        crate::provider::tree::push(joined, list, entry);
        return Ok(true);
    };
    let kind = |one: &Value| match text(one, "type") {
        "" => "Exact".to_owned(),
        kind => kind.to_owned(),
    };
    let value = |one: &Value| text(one, "value").to_owned();
    match (
        kind(own) == kind(&entry),
        value(own) == value(&entry),
        kind(own).as_str(),
    ) {
        (true, true, _) => Ok(true),
        (true, false, "Exact") => Ok(false),
        _ => Err(RenderError::Collision {
            subject: format!("{what} {}", text(&entry, "name")),
        }),
    }
}

/// The path that fulfils both the rule's own condition and this one.
fn path_of(base: &Value, kind: &str, value: &str) -> Result<Option<Value>, RenderError> {
    let wanted = json!({"type": kind, "value": value});
    let Some(own) = base.get("path") else {
        return Ok(Some(wanted));
    };
    let or = |key, default| match text(own, key) {
        "" => default,
        value => value,
    };
    let (own_kind, own_value) = (or("type", "PathPrefix"), or("value", "/"));
    let is_all = |kind: &str, value: &str| kind == "PathPrefix" && value == "/";
    Ok(match (own_kind, kind) {
        _ if (own_kind, own_value) == (kind, value) => Some(own.clone()),
        _ if is_all(own_kind, own_value) => Some(wanted),
        _ if is_all(kind, value) => Some(own.clone()),
        ("Exact", "Exact") => None,
        ("Exact" | "PathPrefix", "PathPrefix") if is_under(own_value, value) => Some(own.clone()),
        ("PathPrefix", "Exact" | "PathPrefix") if is_under(value, own_value) => Some(wanted),
        ("Exact" | "PathPrefix", "Exact" | "PathPrefix") => None,
        _ => {
            return Err(RenderError::Collision {
                subject: "the path".to_owned(),
            });
        }
    })
}

/// The path of an HTTPRouteMatch; without one it is every path.
pub(super) fn path_in(one: &Value) -> Path<'_> {
    let at = |key: &str| match one.pointer(&format!("/path/{key}")) {
        Some(Value::String(value)) => value.as_str(),
        _ => "",
    };
    match (at("type"), at("value")) {
        ("Exact", value) => Path::Exact(value),
        ("RegularExpression", value) => Path::Regex(value),
        (_, "") => Path::Prefix("/"),
        (_, value) => Path::Prefix(value),
    }
}
