//! Checks of the routes that a rollout names against what its application renders.

use serde_json::Value;

use super::{finding::Findings, manifests::Manifest, traffic};
use crate::{
    document::{FieldPath, closest},
    rollout::{RolloutSpec, ServiceRef},
    traffic::{Provider, Traffic},
};

/// Checks every route of a kind that the application renders at all; others are looked for in the
/// cluster, by the agent.
pub(super) fn check(
    findings: &mut Findings,
    path: &FieldPath,
    rollout: &RolloutSpec,
    service: &ServiceRef,
    namespace: &str,
    manifests: &[Manifest<'_>],
) {
    for (index, item) in rollout.traffic.iter().enumerate() {
        let namespace = item.namespace.as_deref().unwrap_or(namespace);
        for route in item.routes() {
            let (group, kind) = (route.provider.group(), route.provider.kind());
            let rendered: Vec<&Manifest<'_>> = manifests
                .iter()
                .filter(|manifest| (manifest.group(), manifest.kind) == (group, kind))
                .collect();
            let provider = route.provider;
            // The rollout's own Service is looked for by itself.
            let is_service = matches!(provider, Provider::None | Provider::Kuma);
            if rendered.is_empty() || !provider.is_supported() || is_service {
                continue;
            }
            let at = traffic::place(&path.index(index), route);
            let found = rendered
                .iter()
                .find(|manifest| manifest.name == route.name && manifest.namespace == namespace);
            if found.is_none() && item.create.is_some() {
                continue;
            }
            let Some(found) = found else {
                let names: Vec<&str> = rendered.iter().map(|route| route.name).collect();
                let meant = closest(route.name, names).filter(|meant| *meant != route.name);
                let message = format!(
                    "{kind} {namespace}/{} is not among the application's manifests",
                    route.name
                );
                findings.error_with(&at, message, meant.map(str::to_owned));
                continue;
            };
            if !leads_to(item, route.provider, found, &service.name) {
                findings.error(
                    &at,
                    format!(
                        "{kind} {} has no rule whose backend is Service {}",
                        route.name, service.name
                    ),
                );
            }
        }
    }
}

/// Tells whether a route has the Service as a backend.
fn leads_to(item: &Traffic, provider: Provider, route: &Manifest<'_>, service: &str) -> bool {
    let copied = item.copied(service).map(|copied| copied.name);
    if provider != Provider::HttpRoute {
        let names = |text: &str| {
            text == service
                || text.starts_with(&format!("{service}."))
                || copied.as_deref() == Some(text)
                || (item.gloo.is_some() && text.contains(&format!("-{service}-")))
        };
        return route.at("/spec").is_some_and(|spec| mentions(spec, &names));
    }
    let rules = route.at("/spec/rules").and_then(Value::as_array);
    rules.into_iter().flatten().any(|rule| {
        let backends = rule.get("backendRefs").and_then(Value::as_array);
        backends.into_iter().flatten().any(|backend| {
            let text = |field: &str| backend.get(field).and_then(Value::as_str);
            let is_service = text("kind").is_none_or(|kind| kind == "Service")
                && text("group").is_none_or(str::is_empty);
            is_service && text("name") == Some(service)
        })
    })
}

/// Tells whether any field that names a backend names the Service. Coarse: the agent's renderers
/// know the kinds and say exactly what they miss.
fn mentions(value: &Value, names: &dyn Fn(&str) -> bool) -> bool {
    let is_named = |key: &str, value: &Value| {
        matches!(key, "name" | "serviceName" | "host" | "service")
            && value.as_str().is_some_and(names)
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| is_named(key, value) || mentions(value, names)),
        Value::Array(items) => items.iter().any(|item| mentions(item, names)),
        _ => false,
    }
}
