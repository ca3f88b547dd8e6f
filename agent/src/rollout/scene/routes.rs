//! The objects that split a run's traffic.

use bellwether_agent_core::{
    effective::GovernedRoute,
    names::canary_name,
    provider::{Names, renderer},
};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    reference::ObjectRef,
    traffic::Traffic,
};
use serde_json::Value;

use super::find;

/// The user's objects that split traffic, in the version in which the application writes them.
pub(super) fn routes_of(
    bundle: &Bundle,
    rollout: &BundleRollout,
    namespace: &str,
    apex: &str,
) -> Vec<GovernedRoute> {
    let mut routes = Vec::new();
    for traffic in &rollout.spec.traffic {
        let objects = traffic.routes().into_iter();
        for route in objects.filter(|route| route.provider.has_object()) {
            let mut governed = GovernedRoute {
                provider: route.provider,
                target: ObjectRef {
                    api_version: route.provider.api_version().to_owned(),
                    kind: route.provider.kind().to_owned(),
                    namespace: Some(traffic.namespace.clone().unwrap_or(namespace.to_owned())),
                    name: route.name.to_owned(),
                },
                names: Names {
                    namespace: namespace.to_owned(),
                    apex: apex.to_owned(),
                    canary: canary_name(apex),
                    rules: traffic.rules.clone(),
                    destination_rule: destination_rule(bundle, traffic, namespace)
                        .and_then(|target| find(bundle, &target).cloned()),
                },
            };
            let written = bundle
                .components
                .iter()
                .flat_map(|component| &component.objects)
                .find(|object| governed.is(object))
                .and_then(|object| object.get("apiVersion"))
                .and_then(Value::as_str);
            if let Some(written) = written {
                written.clone_into(&mut governed.target.api_version);
            }
            routes.push(governed);
        }
    }
    routes
}

/// The DestinationRule that a provider names, in the version in which the application writes it.
pub(super) fn destination_rule(
    bundle: &Bundle,
    traffic: &Traffic,
    namespace: &str,
) -> Option<ObjectRef> {
    let name = traffic.istio.as_ref()?.destination_rule.clone()?;
    let mut target = ObjectRef {
        api_version: "networking.istio.io/v1".to_owned(),
        kind: "DestinationRule".to_owned(),
        namespace: Some(traffic.namespace.clone().unwrap_or(namespace.to_owned())),
        name,
    };
    for api_version in [
        "networking.istio.io/v1beta1",
        "networking.istio.io/v1alpha3",
    ] {
        let older = ObjectRef {
            api_version: api_version.to_owned(),
            ..target.clone()
        };
        if find(bundle, &older).is_some() {
            target = older;
        }
    }
    Some(target)
}

/// The objects that the provider of a route may need beside it.
pub(super) fn own_targets(route: &GovernedRoute) -> Vec<ObjectRef> {
    renderer(route.provider).map_or_else(Vec::new, |renderer| {
        renderer.own_targets(&route.target, &route.names)
    })
}
