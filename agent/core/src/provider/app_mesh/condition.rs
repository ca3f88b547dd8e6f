//! The match of an http route of App Mesh and an item, joined so that both must hold.

use bellwether_api::matching::{Match, NamedMatch};
use serde_json::{Value, json};

use crate::provider::{
    RenderError,
    istio::join_path,
    pattern::{Test, cookies},
    tree::{items, push, remove, text},
};

/// The most headers and parameters that a match takes.
const MAX_CONDITIONS: usize = 10;

/// Joins a route's own match with an item; `None` = no request can fulfil both.
///
/// # Errors
/// Both look at the same thing in ways that one match cannot hold, or there are too many.
pub(super) fn joined(base: &Value, item: &Match) -> Result<Option<Value>, RenderError> {
    let mut out = base.clone();
    let mut possible = true;
    if let Some(path) = &item.path {
        possible &= path_joined(&mut out, Test::of_value(path))?;
    }
    if let Some(method) = &item.method {
        possible &= matches!(text(&out, "method"), "" | "*") || text(&out, "method") == method;
        out["method"] = json!(method);
    }
    for one in &item.headers {
        possible &= named(&mut out, "headers", &one.name, compared(one))?;
    }
    if !item.cookies.is_empty() {
        let value = json!({"regex": cookies(&item.cookies)?});
        possible &= named(&mut out, "headers", "Cookie", value)?;
    }
    for one in &item.query_params {
        possible &= named(&mut out, "queryParameters", &one.name, compared(one))?;
    }
    for (list, what) in [
        ("headers", "headers"),
        ("queryParameters", "query parameters"),
    ] {
        let count = items(&out, &format!("/{list}")).len();
        if count > MAX_CONDITIONS {
            return Err(RenderError::TooMany {
                what,
                count,
                limit: MAX_CONDITIONS,
            });
        }
    }
    Ok(possible.then_some(out))
}

fn compared(one: &NamedMatch) -> Value {
    match Test::of_named(one) {
        // The API refuses an empty text.
        Test::Exact(value) if !value.is_empty() => json!({"exact": value}),
        Test::Prefix(value) => json!({"prefix": value}),
        test => json!({"regex": test.whole()}),
    }
}

/// Adds a condition on a header or parameter; tells whether any request can fulfil it and the
/// route's own.
fn named(out: &mut Value, list: &str, name: &str, value: Value) -> Result<bool, RenderError> {
    let is_header = list == "headers";
    let same = items(out, &format!("/{list}")).iter().find(|own| {
        let own = text(own, "name");
        own == name || (is_header && own.eq_ignore_ascii_case(name))
    });
    let Some(own) = same else {
        push(out, list, json!({"name": name, "match": value}));
        return Ok(true);
    };
    let inverted = own.get("invert") == Some(&json!(true));
    match (own.pointer("/match/exact"), value.get("exact")) {
        (Some(own), Some(wanted)) if !inverted => Ok(own == wanted),
        _ => Err(RenderError::Collision {
            subject: format!(
                "{} {name}",
                if is_header {
                    "header"
                } else {
                    "query parameter"
                }
            ),
        }),
    }
}

/// A match has a prefix, or a path that is exact or a regular expression; prefixes are those of
/// texts.
fn path_joined(out: &mut Value, test: Test<'_>) -> Result<bool, RenderError> {
    let mut both = match (out.get("prefix"), out.get("path")) {
        (_, Some(path)) => json!({"uri": path}),
        (Some(prefix), None) => json!({"uri": {"prefix": prefix}}),
        (None, None) => json!({}),
    };
    let wanted = match test {
        Test::Exact(value) => json!({"exact": value}),
        Test::Prefix(value) => json!({"prefix": value}),
        test @ Test::Regex(_) => json!({"regex": test.whole()}),
    };
    if !join_path(&mut both, wanted)? {
        return Ok(false);
    }
    remove(out, "prefix");
    remove(out, "path");
    match both["uri"].get("prefix") {
        Some(prefix) => out["prefix"] = prefix.clone(),
        None => out["path"] = both["uri"].clone(),
    }
    Ok(true)
}
