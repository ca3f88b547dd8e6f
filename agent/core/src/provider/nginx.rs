//! ingress-nginx: a second Ingress with canary annotations, which is the run's own.
//!
//! The user's Ingress is never changed. The admission webhook refuses a second Ingress of the same
//! host and path unless it says that it is a canary, so the canary Ingress says so from its first
//! write on and never stops saying so: it is taken away whole. Weight 0 is no canary Ingress.

use bellwether_api::{matching::Match, number::Weight, reference::ObjectRef};
use serde_json::{Map, Value, json};

use super::{
    Names, RenderError, Renderer, Split,
    pattern::{Test, cookies},
    tree::{items, namespace_of, text},
};
use crate::names::canary_name;

const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
const HEADER: &str = "nginx.ingress.kubernetes.io/canary-by-header";
const HEADER_VALUE: &str = "nginx.ingress.kubernetes.io/canary-by-header-value";
const HEADER_PATTERN: &str = "nginx.ingress.kubernetes.io/canary-by-header-pattern";

/// Annotations of the user's Ingress that stay with it: what says who owns it, and what is said of
/// a host as a whole and must stand once.
const NOT_COPIED: [&str; 8] = [
    "kubectl.kubernetes.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "cert-manager.io/",
    "external-dns.alpha.kubernetes.io/",
    "nginx.ingress.kubernetes.io/canary",
];

/// Ingress of ingress-nginx.
#[derive(Clone, Copy, Debug)]
pub struct Nginx;

impl Renderer for Nginx {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        canary(object, names, split).map(|_| object.clone())
    }

    fn own_targets(&self, target: &ObjectRef, _names: &Names) -> Vec<ObjectRef> {
        vec![ObjectRef {
            name: canary_name(&target.name),
            ..target.clone()
        }]
    }

    fn own(&self, object: &Value, names: &Names, split: &Split) -> Result<Vec<Value>, RenderError> {
        canary(object, names, split).map(|canary| vec![canary])
    }

    fn observed_weight(&self, object: &Value, own: &[&Value], names: &Names) -> Option<Weight> {
        paths(object, names).next()?;
        let Some(canary) = own.first() else {
            return Some(Weight::ZERO);
        };
        let weight = annotations(canary).and_then(|all| all.get(WEIGHT)?.as_str()?.parse().ok());
        weight.and_then(Weight::new)
    }
}

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/annotations")?.as_object()
}

/// Every path of an Ingress that may be split, as (rule, path).
fn paths<'a>(
    object: &'a Value,
    names: &'a Names,
) -> impl Iterator<Item = (usize, usize, &'a Value)> {
    let rules = items(object, "/spec/rules").iter().enumerate();
    rules
        .filter(|(index, _)| names.selects(*index, None))
        .flat_map(|(index, rule)| {
            let paths = items(rule, "/http/paths").iter().enumerate();
            paths.map(move |(place, path)| (index, place, path))
        })
        .filter(|(_, _, path)| {
            let service = path.pointer("/backend/service");
            service.is_some_and(|service| text(service, "name") == names.apex)
        })
}

fn canary(object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
    if namespace_of(object) != names.namespace {
        return Err(RenderError::NoBackend {
            service: names.apex.clone(),
        });
    }
    if annotations(object).is_some_and(|all| all.contains_key(CANARY)) {
        return Err(RenderError::Unsplittable {
            what: format!("Ingress {}", text(&object["metadata"], "name")),
            why: "it is a canary itself; name the Ingress that it belongs to",
        });
    }
    let found: Vec<(usize, usize, &Value)> = paths(object, names).collect();
    let rules: Vec<(usize, Option<String>)> =
        found.iter().map(|(index, ..)| (*index, None)).collect();
    names.all_found(&rules)?;
    let mut copied = Vec::new();
    for (index, rule) in items(object, "/spec/rules").iter().enumerate() {
        let mut of_rule = found.iter().filter(|(at, ..)| *at == index).peekable();
        if of_rule.peek().is_none() {
            continue;
        }
        let paths: Vec<Value> = of_rule
            .map(|(_, _, path)| {
                let mut path = (*path).clone();
                path["backend"]["service"]["name"] = json!(names.canary);
                path
            })
            .collect();
        let mut rule = rule.clone();
        rule["http"]["paths"] = json!(paths);
        copied.push(rule);
    }
    let mut spec = object.get("spec").cloned().unwrap_or_default();
    spec["rules"] = json!(copied);
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("defaultBackend");
    }
    Ok(json!({
        "apiVersion": object.get("apiVersion").cloned().unwrap_or_default(),
        "kind": "Ingress",
        "metadata": {
            "name": canary_name(text(&object["metadata"], "name")),
            "namespace": names.namespace,
            "annotations": canary_annotations(object, split)?,
        },
        "spec": spec,
    }))
}

fn canary_annotations(object: &Value, split: &Split) -> Result<Map<String, Value>, RenderError> {
    let own = annotations(object).into_iter().flatten();
    let mut all: Map<String, Value> = own
        .filter(|(key, _)| !NOT_COPIED.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    all.insert(CANARY.to_owned(), json!("true"));
    all.insert(WEIGHT.to_owned(), json!(split.weight.percent().to_string()));
    if let Some(header) = header(&split.matches)? {
        all.insert(HEADER.to_owned(), json!(header.name));
        all.insert(header.annotation.to_owned(), json!(header.value));
    }
    Ok(all)
}

/// The one header that a canary Ingress can look at.
struct Header {
    name: String,
    /// The annotation that says what it is compared with.
    annotation: &'static str,
    value: String,
}

/// Puts every item of the matches into one header's value or an expression for it.
fn header(matches: &[Match]) -> Result<Option<Header>, RenderError> {
    let one_header = || RenderError::Unsplittable {
        what: "matches".to_owned(),
        why: "a canary Ingress looks at one header only, of which cookies are one",
    };
    let mut name: Option<String> = None;
    let mut patterns = Vec::new();
    let mut exact = None;
    for item in matches {
        let (own, pattern) = match (item.headers.as_slice(), item.cookies.as_slice()) {
            ([one], []) => {
                let test = Test::of_named(one);
                if let Test::Exact(value) = test {
                    exact = Some(value.to_owned());
                }
                (one.name.clone(), test.whole())
            }
            ([], [_]) => ("Cookie".to_owned(), cookies(&item.cookies)?),
            _ => return Err(one_header()),
        };
        let differs = |name: &String| !name.eq_ignore_ascii_case(&own);
        if name.as_ref().is_some_and(differs) {
            return Err(one_header());
        }
        name.get_or_insert(own);
        patterns.push(pattern);
    }
    let header = |name, annotation, value| Header {
        name,
        annotation,
        value,
    };
    Ok(name.map(|name| match (patterns.as_slice(), exact) {
        ([_], Some(exact)) => header(name, HEADER_VALUE, exact),
        (several, _) => header(name, HEADER_PATTERN, several.join("|")),
    }))
}

#[cfg(test)]
mod tests;
