use serde_json::{Map, Value, json};

use super::{Fields, put};

/// The header by which a record means a cookie of ingress-nginx: its value is the cookie's name.
const COOKIE_OF_NGINX: &str = "canary-by-cookie";

/// Reads which requests go to the new version, which are written as in the Gateway API; any item
/// suffices.
pub(super) fn translate(step: &Fields<'_>, by_nginx: bool) -> Vec<Value> {
    let items = step.items("matches");
    items.into_iter().map(|item| one(item, by_nginx)).collect()
}

fn one(fields: Fields<'_>, by_nginx: bool) -> Value {
    let mut found = Map::new();
    let (mut headers, mut cookies) = (Vec::new(), Vec::new());
    for header in fields.items("headers") {
        let name = header.text("name").unwrap_or_default();
        if by_nginx && name == COOKIE_OF_NGINX {
            header.get("type");
            let cookie = header.text("value").unwrap_or_default();
            cookies.push(json!({"name": cookie, "exact": "always"}));
            header.done();
        } else {
            headers.push(named(header, by_nginx));
        }
    }
    let params: Vec<Value> = fields
        .items("queryParams")
        .into_iter()
        .map(|param| named(param, false))
        .collect();
    for (key, list) in [
        ("headers", headers),
        ("cookies", cookies),
        ("queryParams", params),
    ] {
        put(&mut found, key, (!list.is_empty()).then_some(list));
    }
    if let Some(path) = fields.object("path") {
        found.insert(
            "path".to_owned(),
            Value::Object(how(&path, "PathPrefix", false)),
        );
        path.done();
    }
    if found.is_empty() {
        fields.refuse_all("it says nothing of a request");
    }
    fields.done();
    Value::Object(found)
}

fn named(fields: Fields<'_>, searches: bool) -> Value {
    let mut found = how(&fields, "Exact", searches);
    match fields.text("name") {
        Some(name) => {
            found.insert("name".to_owned(), json!(name));
        }
        None => fields.refuse("name", "it is empty"),
    }
    fields.done();
    Value::Object(found)
}

/// How a value is compared; `searches` = by an expression that is looked for anywhere in it.
fn how(fields: &Fields<'_>, default: &'static str, searches: bool) -> Map<String, Value> {
    let value = fields.text("value").unwrap_or_default();
    let mut how = Map::new();
    match fields.text("type").unwrap_or(default) {
        "Exact" => put(&mut how, "exact", Some(value)),
        "PathPrefix" => put(&mut how, "prefix", Some(value)),
        "RegularExpression" if searches => put(&mut how, "regex", Some(anywhere(value))),
        "RegularExpression" => put(&mut how, "regex", Some(value)),
        other => fields.refuse(
            "type",
            format!("{other:?} is none of Exact, PathPrefix (of a path) and RegularExpression"),
        ),
    }
    how
}

/// An expression that the whole value matches where `regex` is found in it.
fn anywhere(regex: &str) -> String {
    if regex.starts_with('^') && regex.ends_with('$') && !regex.contains('|') {
        return regex.to_owned();
    }
    format!(".*(?:{regex}).*")
}
