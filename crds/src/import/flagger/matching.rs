use serde_json::{Map, Value, json};

use super::{Fields, canary::Canary, put};

/// Reads which requests go to the new version, which Flagger writes as Istio does.
pub(super) fn translate(canary: &Canary<'_>, analysis: &Fields<'_>) -> Vec<Value> {
    let items = analysis.items("match");
    items.into_iter().map(|item| one(canary, item)).collect()
}

fn one(canary: &Canary<'_>, fields: Fields<'_>) -> Value {
    let mut found = Map::new();
    let (mut headers, mut cookies) = (Vec::new(), Vec::new());
    for (name, value) in named(&fields, "headers") {
        match name
            .eq_ignore_ascii_case("cookie")
            .then(|| cookie(canary, &value))
        {
            Some(Some(cookie)) => cookies.push(cookie),
            _ => headers.push(with_name(&name, value)),
        }
    }
    let params: Vec<Value> = named(&fields, "queryParams")
        .into_iter()
        .map(|(name, value)| with_name(&name, value))
        .collect();
    for (key, list) in [
        ("headers", headers),
        ("cookies", cookies),
        ("queryParams", params),
    ] {
        put(&mut found, key, (!list.is_empty()).then_some(list));
    }
    if let Some(path) = fields.object("uri") {
        found.insert("path".to_owned(), Value::Object(how(path)));
    }
    if let Some(method) = fields.object("method") {
        match method.text("exact") {
            Some(exact) => {
                found.insert("method".to_owned(), json!(exact));
            }
            None => method.refuse("exact", "a method is named whole"),
        }
        method.done();
    }
    put(&mut found, "port", fields.count("port"));
    let labels = fields.text_map("sourceLabels");
    put(
        &mut found,
        "sourceLabels",
        (!labels.is_empty()).then_some(labels),
    );
    fields.done();
    Value::Object(found)
}

/// What a map of names says of each.
fn named(fields: &Fields<'_>, key: &'static str) -> Vec<(String, Map<String, Value>)> {
    let Some(map) = fields.get(key).and_then(Value::as_object) else {
        return Vec::new();
    };
    map.iter()
        .map(|(name, value)| {
            let inner = fields.below(key, name, value);
            (name.clone(), how(inner))
        })
        .collect()
}

fn how(fields: Fields<'_>) -> Map<String, Value> {
    let mut how = Map::new();
    for key in ["exact", "prefix", "regex"] {
        put(&mut how, key, fields.text(key));
    }
    if how.len() != 1 {
        fields.refuse_all("say one of exact, prefix and regex");
    }
    fields.done();
    how
}

fn with_name(name: &str, mut how: Map<String, Value>) -> Value {
    how.insert("name".to_owned(), json!(name));
    Value::Object(how)
}

/// A header Cookie that means one cookie, as that cookie: the usual expression for it, taken by its
/// letters, misses `a=1; type=insider` for the space. With nginx the header names the cookie itself.
fn cookie(canary: &Canary<'_>, how: &Map<String, Value>) -> Option<Value> {
    let text = |key: &str| how.get(key).and_then(Value::as_str);
    if canary.provider == Some("nginx") {
        return text("exact").map(|name| json!({"name": name, "exact": "always"}));
    }
    let inner = text("regex")?
        .strip_prefix("^(.*?;)?(")?
        .strip_suffix(")(;.*)?$")?;
    let (name, value) = inner.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_plain = !name.is_empty() && name.chars().all(plain) && value.chars().all(plain);
    is_plain.then(|| json!({"name": name, "exact": value}))
}
