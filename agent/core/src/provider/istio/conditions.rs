//! A HTTPMatchRequest and an item of a match, joined so that both must hold.

use bellwether_api::matching::{Match, NamedMatch};
use serde_json::{Value, json};

use crate::provider::{
    RenderError,
    pattern::{Test, cookies},
    tree::remove,
};

/// Joins a route's own condition with an item; `None` = no request can fulfil both.
///
/// # Errors
/// Both look at the same thing in ways that one condition cannot hold.
pub(super) fn joined(base: &Value, item: &Match) -> Result<Option<Value>, RenderError> {
    let mut out = base.clone();
    remove(&mut out, "name");
    let mut possible = true;
    if let Some(path) = &item.path {
        possible &= uri(&mut out, compared(Test::of_value(path)))?;
    }
    if let Some(method) = &item.method {
        possible &= put(&mut out, "method", json!({"exact": method}), "the method")?;
    }
    for one in &item.headers {
        possible &= entry(&mut out, "headers", &one.name.to_lowercase(), test(one))?;
    }
    if !item.cookies.is_empty() {
        let value = json!({"regex": cookies(&item.cookies)?});
        possible &= entry(&mut out, "headers", "cookie", value)?;
    }
    for one in &item.query_params {
        possible &= entry(&mut out, "queryParams", &one.name, query(one))?;
    }
    if let Some(port) = item.port {
        possible &= same(&mut out, "port", json!(port));
    }
    for (label, value) in &item.source_labels {
        if !out.get("sourceLabels").is_some_and(Value::is_object) {
            out["sourceLabels"] = json!({});
        }
        possible &= same(&mut out["sourceLabels"], label, json!(value));
    }
    Ok(possible.then_some(out))
}

fn test(one: &NamedMatch) -> Value {
    compared(Test::of_named(one))
}

/// Not every version of Istio compares parameters by prefix.
fn query(one: &NamedMatch) -> Value {
    match Test::of_named(one) {
        prefix @ Test::Prefix(_) => json!({"regex": prefix.whole()}),
        other => compared(other),
    }
}

/// Istio matches whole values by regular expression.
fn compared(test: Test<'_>) -> Value {
    match test {
        Test::Exact(value) => json!({"exact": value}),
        Test::Prefix(value) => json!({"prefix": value}),
        Test::Regex(regex) => json!({"regex": regex}),
    }
}

/// Sets a field that may have one value only; tells whether it can.
fn same(out: &mut Value, key: &str, value: Value) -> bool {
    match out.get(key) {
        Some(own) if *own != value => false,
        _ => {
            out[key] = value;
            true
        }
    }
}

fn entry(out: &mut Value, map: &str, key: &str, value: Value) -> Result<bool, RenderError> {
    if !out.get(map).is_some_and(Value::is_object) {
        out[map] = json!({});
    }
    let what = if map == "headers" {
        "header"
    } else {
        "query parameter"
    };
    put(&mut out[map], key, value, &format!("{what} {key}"))
}

/// Sets a comparison; tells whether any request can fulfil it and the one that stands there.
fn put(out: &mut Value, key: &str, value: Value, subject: &str) -> Result<bool, RenderError> {
    match out.get(key) {
        None => out[key] = value,
        Some(own) if *own == value => {}
        Some(own) if own.get("exact").is_some() && value.get("exact").is_some() => {
            return Ok(false);
        }
        Some(_) => {
            return Err(RenderError::Collision {
                subject: subject.to_owned(),
            });
        }
    }
    Ok(true)
}

/// Joins paths, whose prefixes are those of texts.
pub(in crate::provider) fn uri(out: &mut Value, value: Value) -> Result<bool, RenderError> {
    let text = |one: &Value, key: &str| one.get(key).and_then(Value::as_str).map(str::to_owned);
    let Some(own) = out.get("uri").cloned() else {
        out["uri"] = value;
        return Ok(true);
    };
    let starts = |long: &Option<String>, short: &Option<String>| match (long, short) {
        (Some(long), Some(short)) => long.starts_with(short),
        _ => false,
    };
    let (own_exact, own_prefix) = (text(&own, "exact"), text(&own, "prefix"));
    let (exact, prefix) = (text(&value, "exact"), text(&value, "prefix"));
    let longer = if exact.is_some() { &exact } else { &prefix };
    let own_longer = if own_exact.is_some() {
        &own_exact
    } else {
        &own_prefix
    };
    let ignores_case = out
        .get("ignoreUriCase")
        .is_some_and(|one| *one == json!(true));
    if own_prefix.as_deref() == Some("/") || own == value {
        out["uri"] = value;
    } else if ignores_case || longer.is_none() || own_longer.is_none() {
        if prefix.as_deref() != Some("/") {
            return Err(RenderError::Collision {
                subject: "the path".to_owned(),
            });
        }
    } else if starts(longer, &own_prefix) {
        out["uri"] = value;
    } else if !starts(own_longer, &prefix) {
        return Ok(false);
    }
    Ok(true)
}
