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
                    copied: copied(bundle, traffic, namespace, apex)
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

/// The object of the user that is copied for the canary, in the version in which the application
/// writes it.
pub(super) fn copied(
    bundle: &Bundle,
    traffic: &Traffic,
    namespace: &str,
    apex: &str,
) -> Option<ObjectRef> {
    let copied = traffic.copied(apex)?;
    let mut targets = copied.api_versions.iter().map(|api_version| ObjectRef {
        api_version: (*api_version).to_owned(),
        kind: copied.kind.to_owned(),
        namespace: Some(traffic.namespace.clone().unwrap_or(namespace.to_owned())),
        name: copied.name.clone(),
    });
    let usual = targets.next()?;
    if find(bundle, &usual).is_some() {
        return Some(usual);
    }
    Some(
        targets
            .find(|older| find(bundle, older).is_some())
            .unwrap_or(usual),
    )
}

/// The objects that the provider of a route may need beside it.
pub(super) fn own_targets(route: &GovernedRoute) -> Vec<ObjectRef> {
    renderer(route.provider).map_or_else(Vec::new, |renderer| {
        renderer.own_targets(&route.target, &route.names)
    })
}
