//! A matcher of Gloo and an item of a match, joined so that both must hold.

use bellwether_api::matching::{Match, NamedMatch};
use serde_json::{Value, json};

use crate::provider::{
    RenderError,
    istio::join_path,
    pattern::{Test, cookies},
    tree::{items, push, remove},
};

const PATHS: [&str; 3] = ["exact", "prefix", "regex"];

/// Joins a route's own matcher with an item; `None` = no request can fulfil both. Every header and
/// parameter of a matcher must hold, also where two look at the same.
///
/// # Errors
/// Both look at the path in ways that one matcher cannot hold.
pub(super) fn joined(base: &Value, item: &Match) -> Result<Option<Value>, RenderError> {
    let mut out = base.clone();
    if let Some(path) = &item.path
        && !path_joined(&mut out, Test::of_value(path))?
    {
        return Ok(None);
    }
    if let Some(method) = &item.method {
        let own = items(&out, "/methods");
        if !own.is_empty() && !own.contains(&json!(method)) {
            return Ok(None);
        }
        out["methods"] = json!([method]);
    }
    for one in &item.headers {
        push(&mut out, "headers", compared(one));
    }
    if !item.cookies.is_empty() {
        let cookie = json!({"name": "Cookie", "value": cookies(&item.cookies)?, "regex": true});
        push(&mut out, "headers", cookie);
    }
    for one in &item.query_params {
        push(&mut out, "queryParameters", compared(one));
    }
    Ok(Some(out))
}

/// An empty value would stand for any that there is.
fn compared(one: &NamedMatch) -> Value {
    match Test::of_named(one) {
        Test::Exact(value) if !value.is_empty() => json!({"name": one.name, "value": value}),
        other => json!({"name": one.name, "value": other.whole(), "regex": true}),
    }
}

/// Puts a path among the conditions, of which one may be a path; prefixes are those of texts.
fn path_joined(out: &mut Value, test: Test<'_>) -> Result<bool, RenderError> {
    let mut both = json!({"ignoreUriCase": out.get("caseSensitive") == Some(&json!(false))});
    let own = PATHS.iter().find_map(|kind| Some((kind, out.get(kind)?)));
    if let Some((kind, value)) = own {
        both["uri"] = json!({*kind: value});
    }
    let wanted = match test {
        Test::Exact(value) => json!({"exact": value}),
        Test::Prefix(value) => json!({"prefix": value}),
        Test::Regex(value) => json!({"regex": value}),
    };
    if !join_path(&mut both, wanted)? {
        return Ok(false);
    }
    PATHS.iter().for_each(|kind| remove(out, kind));
    for kind in PATHS {
        if let Some(value) = both["uri"].get(kind) {
            out[kind] = value.clone();
        }
    }
    Ok(true)
}
