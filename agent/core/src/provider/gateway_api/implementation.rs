//! What implementations of the Gateway API cannot do of what a plan may ask, and what they need.
//!
//! Mirrors and filters of single backends are extended features. An implementation that lacks one is to
//! refuse the route by its status; those that are listed here do not, or only once requests fail: what they
//! do with it is written beside each, and as of which version.

use bellwether_api::traffic::{
    Capability::{self, Affinity, Mirror, MirrorShare},
    Demand,
};
use serde_json::Value;

use super::observe::entries_of_parents;
use crate::provider::tree::text;

/// An implementation, as it names itself in the status of routes, and what it lacks.
type Implementation = (&'static str, &'static [Capability]);

/// The implementations that are known to lack something; any other is taken at the word of its status.
const IMPLEMENTATIONS: &[Implementation] = &[
    // Traefik 3.6.12, pkg/provider/kubernetes/gateway: loadMiddlewares and loadGRPCMiddlewares know no
    // RequestMirror, and the whole rule then answers 500 while the status stays Accepted and ResolvedRefs;
    // filters of backendRefs are read nowhere.
    ("traefik.io/gateway-controller", &[Mirror, Affinity]),
    // Contour 1.33.8, internal/dag/gatewayapi_processor.go: a mirror's weight is 100 whatever its percent.
    ("projectcontour.io/gateway-controller", &[MirrorShare]),
    // NGINX Gateway Fabric 2.3, internal/controller/state/graph/backend_refs.go: a backendRef with filters is
    // not valid, and requests that it would get are answered with 500.
    ("gateway.nginx.org/nginx-gateway-controller", &[Affinity]),
    // Kong Ingress Controller 3, internal/dataplane/translator/subtranslator/httproute.go: RequestMirror
    // fails the translation of the whole route; filters of backendRefs are left out.
    ("konghq.com/kic-gateway-controller", &[Mirror, Affinity]),
    // Kong Operator 2.0.6, its conformance report: neither HTTPRouteRequestMirror nor
    // HTTPRouteBackendRequestHeaderModification.
    ("konghq.com/gateway-operator", &[Mirror, Affinity]),
    // Linkerd 2.18, policy-controller/k8s/index/src/outbound/index/http.rs: a route with RequestMirror is not
    // indexed, so that requests go where they would without it.
    ("linkerd.io/policy-controller", &[Mirror]),
    // GKE 1.34.4, its conformance report: no HTTPRouteBackendRequestHeaderModification.
    ("networking.gke.io/gateway", &[Affinity]),
    // AWS Load Balancer Controller 3.0, its conformance report: neither HTTPRouteRequestMirror nor
    // HTTPRouteBackendRequestHeaderModification.
    ("gateway.k8s.aws/alb", &[Mirror, Affinity]),
];

/// Implementations whose gateways learn of a route and of the Services in it apart and in no order.
const LEARN_APART: &[&str] = &[
    // Contour 1.33.8, internal/xdscache: Envoy asks for routes, clusters and endpoints by streams of their own,
    // for HTTPRoutes as for HTTPProxies (projectcontour/contour#1178).
    "projectcontour.io/gateway-controller",
];

/// Tells whether an implementation that speaks of a route's parents has to know a Service before the route
/// gives it anything. Where nobody has spoken, nobody serves the route, and nothing can be lost by it.
pub(super) fn announces(route: &Value) -> bool {
    entries_of_parents(route).any(|entry| LEARN_APART.contains(&text(entry, "controllerName")))
}

/// Names what implementations that speak of a route's parents lack of what a plan asks, and which; `None` =
/// nothing is known to be lacking, as while nobody has spoken. One that lacks it is enough, whoever else
/// serves the same parent.
pub(super) fn lacking(route: &Value, demand: &Demand) -> Option<String> {
    let mut found: Vec<String> = entries_of_parents(route)
        .flat_map(|entry| {
            let controller = text(entry, "controllerName");
            let lacks = IMPLEMENTATIONS
                .iter()
                .filter(move |(name, _)| *name == controller)
                .flat_map(|(_, lacks)| *lacks);
            lacks
                .filter(|capability| demand.asks(**capability))
                .map(move |capability| {
                    format!(
                        "{controller}, which serves it, cannot {capability} ({})",
                        feature(*capability)
                    )
                })
        })
        .collect();
    found.sort();
    found.dedup();
    (!found.is_empty()).then(|| found.join("; "))
}

/// What a capability takes of the Gateway API, by the names that implementations report.
const fn feature(capability: Capability) -> &'static str {
    match capability {
        Mirror => "HTTPRouteRequestMirror",
        MirrorShare => "HTTPRouteRequestPercentageMirror",
        Affinity => "a ResponseHeaderModifier in the filters of backendRefs",
        _ => "HTTPRoute",
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::number::Weight;
    use serde_json::json;

    use super::*;

    fn route(controllers: &[(&str, &str)]) -> Value {
        let parents: Vec<Value> = controllers
            .iter()
            .map(|(parent, controller)| {
                json!({"parentRef": {"name": parent, "namespace": "shop"}, "controllerName": controller})
            })
            .collect();
        json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "inner"}, {"name": "outer"}]},
            "status": {"parents": parents},
        })
    }

    fn demand(fill: impl Fn(&mut Demand)) -> Demand {
        let mut demand = Demand::default();
        demand.weights();
        fill(&mut demand);
        demand
    }

    fn said(controllers: &[(&str, &str)], demand: &Demand) -> String {
        lacking(&route(controllers), demand).unwrap_or_default()
    }

    const TRAEFIK: &str = "traefik.io/gateway-controller";
    const CONTOUR: &str = "projectcontour.io/gateway-controller";
    const NGINX: &str = "gateway.nginx.org/nginx-gateway-controller";
    const ISTIO: &str = "istio.io/gateway-controller";

    #[test]
    fn what_an_implementation_lacks_is_named_where_it_is_asked() {
        let weights = demand(|_| ());
        let all = demand(|one| one.mirror(Weight::FULL, Weight::ZERO));
        let share = demand(|one| one.mirror(Weight::clamped(10), Weight::ZERO));
        // All that a canary with a weight leaves is a share of all.
        let rest = demand(|one| one.mirror(Weight::FULL, Weight::clamped(30)));
        let sessions = demand(Demand::affinity);
        for (controller, asked, expected) in [
            (TRAEFIK, &weights, ""),
            (TRAEFIK, &all, "HTTPRouteRequestMirror"),
            (TRAEFIK, &share, "HTTPRouteRequestMirror"),
            (TRAEFIK, &sessions, "filters of backendRefs"),
            (CONTOUR, &all, ""),
            (CONTOUR, &share, "HTTPRouteRequestPercentageMirror"),
            (CONTOUR, &rest, "HTTPRouteRequestPercentageMirror"),
            (CONTOUR, &sessions, ""),
            (NGINX, &share, ""),
            (NGINX, &sessions, "filters of backendRefs"),
            (ISTIO, &share, ""),
            (ISTIO, &sessions, ""),
        ] {
            let said = said(&[("inner", controller)], asked);
            assert_eq!(said.is_empty(), expected.is_empty(), "{controller}: {said}");
            let named = said.contains(controller) && said.contains(expected);
            assert!(expected.is_empty() || named, "{controller}: {said}");
        }
        assert_eq!(
            said(&[("inner", TRAEFIK)], &all),
            "traefik.io/gateway-controller, which serves it, cannot mirror requests (HTTPRouteRequestMirror)"
        );
    }

    #[test]
    fn one_parent_whose_implementation_lacks_it_is_enough() {
        let sessions = demand(Demand::affinity);
        let both = [("inner", ISTIO), ("outer", NGINX)];
        assert!(said(&both, &sessions).contains(NGINX));
        let twice = [("inner", NGINX), ("outer", NGINX)];
        assert_eq!(said(&twice, &sessions).matches(NGINX).count(), 1);
        let same_parent = [("inner", ISTIO), ("inner", TRAEFIK), ("outer", CONTOUR)];
        assert!(said(&same_parent, &sessions).contains(TRAEFIK));
    }

    #[test]
    fn a_service_is_named_early_where_one_that_serves_the_route_needs_it() {
        for (controllers, expected) in [
            (vec![("inner", CONTOUR)], true),
            (vec![("outer", ISTIO), ("inner", CONTOUR)], true),
            (vec![("inner", TRAEFIK), ("outer", ISTIO)], false),
            (vec![("former", CONTOUR), ("inner", TRAEFIK)], false),
            (vec![], false),
        ] {
            assert_eq!(announces(&route(&controllers)), expected, "{controllers:?}");
        }
        assert!(!announces(&Value::Null));
    }

    #[test]
    fn only_the_routes_own_parents_count() {
        let all = demand(|one| one.mirror(Weight::FULL, Weight::ZERO));
        assert_eq!(said(&[("former", TRAEFIK), ("inner", ISTIO)], &all), "");
        assert_eq!(said(&[], &all), "", "nobody has spoken");
    }

    #[test]
    fn each_implementation_stands_once_and_lacks_what_has_a_name() {
        for (index, (name, lacks)) in IMPLEMENTATIONS.iter().enumerate() {
            assert!(!lacks.is_empty(), "{name}");
            assert!(
                lacks.iter().all(|one| feature(*one) != "HTTPRoute"),
                "{name}"
            );
            let again = IMPLEMENTATIONS[..index]
                .iter()
                .any(|(other, _)| other == name);
            assert!(!again, "{name}");
        }
    }
}
