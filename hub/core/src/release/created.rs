//! Routes that a rollout asks for, as objects of its release.

use bellwether_api::{
    rollout::{PortRef, RolloutSpec, ServiceRef},
    traffic::{Cors, HeaderEdits, HeaderValue, NamedRoute, Provider, RouteCreation},
};
use serde_json::{Map, Value, json};

use super::ReleaseComponent;

/// Adds the routes that a rollout asks for to its component, but for those that the application writes
/// itself. They are the release's like any other object, so that they go when the rollout goes.
pub(super) fn add(components: &mut [ReleaseComponent], component: &str, spec: &RolloutSpec) {
    let Some(service) = &spec.service else {
        return;
    };
    let asked = spec
        .traffic
        .iter()
        .filter_map(|one| Some((one, one.create.as_ref()?)));
    for (traffic, create) in asked {
        for route in traffic.routes() {
            let written = components.iter().flat_map(|one| &one.objects);
            let Some(object) = object(&route, create, service, spec) else {
                continue;
            };
            if !written.into_iter().any(|one| is_same(one, &object)) {
                let own = components.iter_mut().find(|one| one.name == component);
                if let Some(own) = own {
                    own.objects.push(object);
                }
            }
        }
    }
}

/// Tells whether two objects have one group, kind, namespace and name; one that names no namespace lies
/// where the rollout's workload does.
fn is_same(written: &Value, created: &Value) -> bool {
    let text = |one: &Value, pointer: &str| {
        let text = one.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let group = |one: &Value| {
        let version = text(one, "/apiVersion");
        version.split('/').next().unwrap_or_default().to_owned()
    };
    let (own, other) = (
        text(written, "/metadata/namespace"),
        text(created, "/metadata/namespace"),
    );
    group(written) == group(created)
        && text(written, "/kind") == text(created, "/kind")
        && text(written, "/metadata/name") == text(created, "/metadata/name")
        && (own == other || own.is_empty() || other.is_empty())
}

/// The route; `None` = this version makes none for the provider, which validation refuses.
fn object(
    route: &NamedRoute<'_>,
    create: &RouteCreation,
    service: &ServiceRef,
    rollout: &RolloutSpec,
) -> Option<Value> {
    let port = match &service.port {
        PortRef::Number(number) => *number,
        PortRef::Name(_) => return None,
    };
    let spec = match route.provider {
        Provider::HttpRoute => http_route(create, &service.name, port),
        Provider::VirtualService => virtual_service(create, &service.name, port),
        _ => return None,
    };
    let mut metadata = json!({"name": route.name});
    if let Some(namespace) = &rollout.workload.namespace {
        metadata["namespace"] = json!(namespace);
    }
    Some(json!({
        "apiVersion": route.provider.api_version(),
        "kind": route.provider.kind(),
        "metadata": metadata,
        "spec": spec,
    }))
}

fn http_route(create: &RouteCreation, service: &str, port: u16) -> Value {
    let parents: Vec<Value> = (create.gateways.iter())
        .map(|gateway| match gateway.split_once('/') {
            Some((namespace, name)) => json!({"name": name, "namespace": namespace}),
            None => json!({"name": gateway}),
        })
        .collect();
    let path = create.path.as_deref().unwrap_or("/");
    let mut rule = json!({
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": [{"name": service, "port": port}],
    });
    if let Some(timeout) = create.timeout {
        rule["timeouts"] = json!({"request": timeout.to_string()});
    }
    let mut filters = Vec::new();
    if let Some(headers) = &create.headers {
        for (kind, field, edits) in [
            (
                "RequestHeaderModifier",
                "requestHeaderModifier",
                &headers.request,
            ),
            (
                "ResponseHeaderModifier",
                "responseHeaderModifier",
                &headers.response,
            ),
        ] {
            if let Some(edits) = edits {
                filters.push(json!({"type": kind, field: edits}));
            }
        }
    }
    if !filters.is_empty() {
        rule["filters"] = json!(filters);
    }
    let mut spec = json!({"parentRefs": parents, "rules": [rule]});
    if !create.hosts.is_empty() {
        spec["hostnames"] = json!(create.hosts);
    }
    spec
}

fn virtual_service(create: &RouteCreation, service: &str, port: u16) -> Value {
    let mut http = json!({
        "route": [{"destination": {"host": service, "port": {"number": port}}}],
    });
    if let Some(path) = &create.path {
        http["match"] = json!([{"uri": {"prefix": path}}]);
    }
    if let Some(timeout) = create.timeout {
        http["timeout"] = json!(timeout.to_string());
    }
    if let Some(retries) = &create.retries {
        http["retries"] = json!({"attempts": retries.attempts});
        if let Some(timeout) = retries.per_try_timeout {
            http["retries"]["perTryTimeout"] = json!(timeout.to_string());
        }
        if let Some(after) = &retries.retry_on {
            http["retries"]["retryOn"] = json!(after);
        }
    }
    if let Some(headers) = &create.headers {
        for (side, edits) in [
            ("request", &headers.request),
            ("response", &headers.response),
        ] {
            if let Some(edits) = edits {
                http["headers"][side] = istio_headers(edits);
            }
        }
    }
    if let Some(cors) = &create.cors {
        http["corsPolicy"] = cors_policy(cors);
    }
    let mut spec = json!({"http": [http]});
    if !create.hosts.is_empty() {
        spec["hosts"] = json!(create.hosts);
    }
    if !create.gateways.is_empty() {
        spec["gateways"] = json!(create.gateways);
    }
    spec
}

/// Istio has headers as maps.
fn istio_headers(edits: &HeaderEdits) -> Value {
    let map = |list: &[HeaderValue]| -> Map<String, Value> {
        let pairs = list.iter();
        pairs
            .map(|one| (one.name.clone(), json!(one.value)))
            .collect()
    };
    let mut out = Map::new();
    for (key, list) in [("set", &edits.set), ("add", &edits.add)] {
        if !list.is_empty() {
            out.insert(key.to_owned(), map(list).into());
        }
    }
    if !edits.remove.is_empty() {
        out.insert("remove".to_owned(), json!(edits.remove));
    }
    out.into()
}

fn cors_policy(cors: &Cors) -> Value {
    let origins: Vec<Value> = (cors.allow_origins.iter())
        .map(|origin| match origin.as_str() {
            "*" => json!({"regex": ".*"}),
            origin => json!({"exact": origin}),
        })
        .collect();
    let mut policy = json!({"allowOrigins": origins});
    for (key, list) in [
        ("allowMethods", &cors.allow_methods),
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ] {
        if !list.is_empty() {
            policy[key] = json!(list);
        }
    }
    if cors.allow_credentials {
        policy["allowCredentials"] = json!(true);
    }
    if let Some(age) = cors.max_age {
        policy["maxAge"] = json!(age.to_string());
    }
    policy
}

#[cfg(test)]
mod tests;
