//! What a rollout may say of the routes that it asks for.

use bellwether_api::document::load;

fn errors(provider: &str, more: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: web, namespace: default}}
spec:
  application: shop
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  service: {{name: web, port: 80}}
  strategy: {{canary: {{weights: [20, 100]}}}}
  traffic:
  - {{{provider}, {more}}}
"
    );
    errors_of(&text)
}

fn errors_of(text: &str) -> Vec<String> {
    let found = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

const HTTP: &str = "gatewayApi: {httpRoutes: [web]}";
const ISTIO: &str = "istio: {virtualServices: [web]}";

#[test]
fn what_a_route_can_say_is_taken() {
    for (provider, create) in [
        (
            HTTP,
            "{gateways: [edge/public], hosts: ['*.shop.example'], path: /, timeout: 5s, headers: {request: {set: [{name: x-a, value: b}]}}}",
        ),
        (
            ISTIO,
            "{hosts: [shop.example], retries: {attempts: 3, perTryTimeout: 1s, retryOn: 5xx}, cors: {allowOrigins: ['*'], maxAge: 1h}}",
        ),
        (ISTIO, "{delegated: true, path: /shop}"),
    ] {
        assert_eq!(
            errors(provider, &format!("create: {create}")),
            [""; 0],
            "{create}"
        );
    }
}

#[test]
fn what_a_route_cannot_say_is_refused_by_name() {
    for (provider, more, says) in [
        (
            HTTP,
            "create: {hosts: [a.example]}",
            "create.gateways: name at least one Gateway",
        ),
        (
            HTTP,
            "create: {gateways: [a], retries: {attempts: 3}}",
            "create.retries: an HTTPRoute of the standard channel has no retries",
        ),
        (
            HTTP,
            "create: {gateways: [a], cors: {allowOrigins: ['*']}}",
            "has no cors; leave it out, or use istio",
        ),
        (
            HTTP,
            "create: {gateways: [a], delegated: true}",
            "has no delegated",
        ),
        (
            HTTP,
            "namespace: edge, create: {gateways: [a]}",
            "leave namespace out",
        ),
        (
            HTTP,
            "rules: [0], create: {gateways: [a]}",
            "leave rules out",
        ),
        (
            HTTP,
            "create: {gateways: [a], path: shop}",
            "create.path: a path begins with /",
        ),
        (
            HTTP,
            "create: {gateways: [a], headers: {response: {remove: ['a b']}}}",
            "create.headers.response.remove[0]: \"a b\" is no name of a header",
        ),
        (ISTIO, "create: {}", "create.hosts: name at least one host"),
        (
            ISTIO,
            "create: {delegated: true, hosts: [a]}",
            "create.hosts: the VirtualService that delegates has them",
        ),
        (
            ISTIO,
            "create: {hosts: [a], cors: {allowOrigins: []}}",
            "create.cors.allowOrigins: name at least one origin",
        ),
        (
            "contour: {httpProxy: web}",
            "create: {hosts: [a]}",
            "contour.httpProxy (HTTPProxy) is not created by this version",
        ),
        (
            "gatewayApi: {httpRoutes: [web], grpcRoutes: [api]}",
            "create: {gateways: [a]}",
            "gatewayApi.grpcRoutes (GRPCRoute) is not created",
        ),
    ] {
        let found = errors(provider, more);
        assert!(
            found.iter().any(|one| one.contains(says)),
            "{more}: {found:?}"
        );
    }
}

#[test]
fn a_fleet_and_a_rollout_without_an_application_create_nothing() {
    let fleet = errors_of(
        "apiVersion: bellwether.dev/v1alpha1
kind: Fleet
metadata: {name: all}
spec:
  clusters: [c1]
  defaults: {traffic: [{gatewayApi: {httpRoutes: [web]}, create: {gateways: [a]}}]}
",
    );
    assert!(
        fleet
            .iter()
            .any(|one| one.contains("a fleet's default creates no routes")),
        "{fleet:?}"
    );
    let alone = errors_of(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web, namespace: default}
spec:
  destination: {clusters: [c1]}
  workload: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}
  service: {name: web, port: http}
  strategy: {canary: {weights: [20, 100]}}
  traffic: [{gatewayApi: {httpRoutes: [web]}, create: {gateways: [a]}}]
",
    );
    for says in ["a route is part of a release", "write service.port as one"] {
        assert!(
            alone.iter().any(|one| one.contains(says)),
            "{says}: {alone:?}"
        );
    }
}
