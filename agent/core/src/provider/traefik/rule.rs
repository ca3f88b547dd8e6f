//! Rules of Traefik's routers: expressions in the syntax of version 3.

use bellwether_api::matching::{Match, NamedMatch};
use serde_json::{Value, json};

use crate::provider::{
    RenderError,
    arms::Arm,
    pattern::{Test, cookies},
    tree::text,
};

/// The user's route with an arm's condition joined to its rule. Traefik tries routers by priority,
/// which is the length of the rule unless it is set: the arm gets the route's own plus `above`, so
/// that it comes before the route and not before more than that.
///
/// # Errors
/// A condition that no rule can say.
pub(super) fn joined(route: &Value, arm: &Arm, above: usize) -> Result<Value, RenderError> {
    if text(route, "syntax") == "v2" {
        return Err(RenderError::Unsplittable {
            what: format!("route {}", text(route, "match")),
            why: "its rule is in the syntax of Traefik 2; write it in that of version 3",
        });
    }
    let own = text(route, "match");
    let any: Vec<String> = arm.when.iter().map(all_of).collect::<Result<_, _>>()?;
    let own_priority = route
        .get("priority")
        .and_then(Value::as_u64)
        .filter(|priority| *priority > 0)
        .unwrap_or(own.len() as u64);
    let mut joined = route.clone();
    joined["match"] = json!(format!("({own}) && ({})", any.join(" || ")));
    joined["priority"] = json!(own_priority + above as u64);
    Ok(joined)
}

fn all_of(item: &Match) -> Result<String, RenderError> {
    let mut all = Vec::new();
    for one in &item.headers {
        all.push(named("Header", one));
    }
    if !item.cookies.is_empty() {
        let value = cookies(&item.cookies)?;
        all.push(format!(
            "HeaderRegexp({}, {})",
            quoted("Cookie"),
            quoted(&value)
        ));
    }
    for one in &item.query_params {
        all.push(named("Query", one));
    }
    if let Some(path) = &item.path {
        let test = Test::of_value(path);
        all.push(match test {
            Test::Exact(value) => format!("Path({})", quoted(value)),
            _ => format!("PathRegexp({})", quoted(&test.path())),
        });
    }
    if let Some(method) = &item.method {
        all.push(format!("Method({})", quoted(method)));
    }
    Ok(format!("({})", all.join(" && ")))
}

fn named(function: &str, one: &NamedMatch) -> String {
    let test = Test::of_named(one);
    match test {
        Test::Exact(value) => format!("{function}({}, {})", quoted(&one.name), quoted(value)),
        _ => format!(
            "{function}Regexp({}, {})",
            quoted(&one.name),
            quoted(&test.whole())
        ),
    }
}

/// A string of the rule's language, which is that of Go: raw where it can be.
fn quoted(text: &str) -> String {
    if !text.contains('`') {
        return format!("`{text}`");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
