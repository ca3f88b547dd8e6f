use serde_json::{Map, Value, json};

use super::{Fields, canary::Canary, route, text};

/// Providers that split by an Ingress.
const INGRESSES: [&str; 3] = ["nginx", "alb", "skipper"];
/// What Flagger writes into routes that it makes.
const OF_MADE_ROUTES: [&str; 9] = [
    "gateways",
    "gatewayRefs",
    "hosts",
    "match",
    "timeout",
    "retries",
    "headers",
    "corsPolicy",
    "delegation",
];

/// Reads what splits traffic; absent = the fleet's default does.
pub(super) fn split(canary: &Canary<'_>, spec: &Fields<'_>, service: &Fields<'_>) -> Option<Value> {
    service.without(
        &[
            "rewrite",
            "trafficPolicy",
            "trafficDistribution",
            "mirror",
            "backends",
            "meshName",
        ],
        "a route or policy that says this is written by you, not made for you; write it beside the \
         workload and leave this out",
    );
    spec.without(
        &["upstreamRef"],
        "write the Upstream of the Service and a Rollout that names it under gloo.upstream",
    );
    let provider = provider(canary, spec, service);
    let makes = matches!(provider.as_deref(), Some("istio" | "gatewayapi"));
    if !makes {
        service.without(
            &OF_MADE_ROUTES,
            "Flagger makes no route with this provider: write it into your own route",
        );
    }
    let provider = provider?;
    match provider.as_str() {
        ingress if INGRESSES.contains(&ingress) => {
            let Some(name) = canary.ingress else {
                spec.refuse("ingressRef", "name the Ingress that is split");
                return None;
            };
            Some(json!({ingress: {"ingress": name}}))
        }
        "apisix" => {
            let Some(name) = canary.route else {
                spec.refuse("routeRef", "name the ApisixRoute that is split");
                return None;
            };
            Some(json!({"apisix": {"route": name}}))
        }
        "istio" => Some(route::virtual_service(canary, service)),
        "gatewayapi" => Some(route::http_route(canary, service)),
        "kuma" => Some(json!({"kuma": {"meshService": canary.apex}})),
        "kubernetes" | "none" => Some(json!({"none": {}})),
        other => written(canary, spec, other),
    }
}

/// Providers whose routes are not made here: the route of the Service's name must be written.
fn written(canary: &Canary<'_>, spec: &Fields<'_>, provider: &str) -> Option<Value> {
    let (group, kind, field, key) = match provider {
        "traefik" => ("traefik.io", "TraefikService", "traefik", "service"),
        "contour" => ("projectcontour.io", "HTTPProxy", "contour", "httpProxy"),
        "linkerd" => (
            "split.smi-spec.io",
            "TrafficSplit",
            "linkerd",
            "trafficSplit",
        ),
        "gloo" => ("gateway.solo.io", "RouteTable", "gloo", "routeTable"),
        "appmesh" => (
            "appmesh.k8s.aws",
            "VirtualRouter",
            "appMesh",
            "virtualRouter",
        ),
        _ => {
            spec.refuse(
                "provider",
                format!(
                    "{provider:?} has no counterpart; there are nginx, ingress, alb, skipper, \
                     apisix, istio, gatewayapi, gateway, kuma, traefik, contour, linkerd, gloo, \
                     appmesh, kubernetes"
                ),
            );
            return None;
        }
    };
    let found = canary
        .scene
        .find(group, kind, canary.namespace, canary.apex);
    if found.is_none() {
        spec.refuse(
            "provider",
            format!(
                "Flagger would make {kind} {}, which is written by you here: write it, with the \
                 Service as its backend",
                canary.apex
            ),
        );
        return None;
    }
    Some(json!({field: {key: canary.apex}}))
}

/// The provider by one spelling; absent = neither the Canary nor what it names says.
fn provider(canary: &Canary<'_>, spec: &Fields<'_>, service: &Fields<'_>) -> Option<String> {
    let named = match canary.provider {
        Some("gateway") => Some("gatewayapi"),
        Some("ingress") => return class(canary, spec),
        Some(named) => Some(named),
        None if canary.route.is_some() => Some("apisix"),
        None if service.is_set("gatewayRefs") => Some("gatewayapi"),
        None if service.is_set("gateways") || service.is_set("delegation") => Some("istio"),
        None if canary.ingress.is_some() => return class(canary, spec),
        None => None,
    };
    named.map(str::to_owned)
}

/// The provider that the Ingress's class means.
fn class(canary: &Canary<'_>, spec: &Fields<'_>) -> Option<String> {
    let Some(name) = canary.ingress else {
        spec.refuse("ingressRef", "name the Ingress that is split");
        return None;
    };
    let groups = ["networking.k8s.io", "extensions"];
    let mut found = groups
        .iter()
        .filter_map(|group| canary.scene.find(group, "Ingress", canary.namespace, name));
    let Some(ingress) = found.next() else {
        spec.refuse(
            "ingressRef",
            format!("Ingress {name} is not rendered beside the Canary: say provider"),
        );
        return None;
    };
    let annotation = ingress
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .and_then(|all: &Map<String, Value>| all.get("kubernetes.io/ingress.class"))
        .and_then(Value::as_str);
    let class = match text(ingress, "/spec/ingressClassName") {
        "" => annotation.unwrap_or_default(),
        class => class,
    };
    if INGRESSES.contains(&class) {
        return Some(class.to_owned());
    }
    spec.refuse(
        "provider",
        format!(
            "class {class:?} of Ingress {name} does not say what splits it: write one of {}",
            INGRESSES.join(", ")
        ),
    );
    None
}
