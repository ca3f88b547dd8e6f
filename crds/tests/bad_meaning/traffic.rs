//! Routes and traffic providers.

use bellwether_api::document::load;

use super::{APPLICATION, check};

#[test]
fn routes() {
    let path = "spec.components[0].rollout.traffic[0].gatewayApi.httpRoutes";
    check(
        &[("httpRoutes: [web]", "httpRoutes: [wbe, web, web]")],
        &[
            &format!(
                "12:44 {path}[0]: HTTPRoute default/wbe is not among the application's manifests; \
                 did you mean \"web\"?"
            ),
            &format!("12:54 {path}[2]: HTTPRoute \"web\" stands here twice"),
        ],
    );
    check(
        &[("backendRefs: [{name: web", "backendRefs: [{name: other")],
        &[&format!(
            "12:44 {path}[0]: HTTPRoute web has no rule whose backend is Service web"
        )],
    );
    check(
        &[("httpRoutes: [web]", "httpRoutes: []")],
        &[&format!("12:31 {path}: name at least one route")],
    );
}

#[test]
fn providers() {
    let path = "spec.components[0].rollout.traffic[0]";
    let old = "{gatewayApi: {httpRoutes: [web]}}";
    for (new, expected) in [
        (
            "{gloo: {upstream: web}}",
            format!(
                "12:17 {path}.gloo.routeTable: name the RouteTable, or the VirtualService, whose \
                 routes lead to the Service: an Upstream is what they lead to, and splits nothing"
            ),
        ),
        (
            "{gloo: {routeTable: a, virtualService: b}}",
            format!("12:17 {path}.gloo: exactly one may be set; write a second item of traffic"),
        ),
        (
            "{knative: {}}",
            format!(
                "12:17 {path}.knative: knative shares requests between revisions of a Service of \
                 serving.knative.dev, and the workload is Deployment web (apps/v1)"
            ),
        ),
        (
            "{traefik: {service: a, ingressRoute: b}}",
            format!("12:17 {path}.traefik: exactly one may be set; write a second item of traffic"),
        ),
        (
            "{istio: {destinationRule: web}}",
            format!("12:17 {path}.istio.virtualServices: name at least one route"),
        ),
        (
            "{nginx: {ingress: web}, namespace: edge}",
            format!(
                "12:17 {path}.nginx.ingress: Ingress names Services of its own namespace only; \
                 leave namespace out"
            ),
        ),
        (
            "{nginx: {ingress: web}, rules: [0, 0]}",
            format!("12:17 {path}.rules[1]: rule 0 stands here twice"),
        ),
        (
            "{ingress: web}",
            format!("12:17 {path}.ingress: unknown field; did you mean \"nginx\"?"),
        ),
        (
            "{kuma: {meshService: other}}",
            format!(
                "12:17 {path}.kuma.meshService: the MeshService of the rollout's Service is \"web\""
            ),
        ),
        (
            "{routeRef: {name: web}}",
            format!("12:17 {path}.routeRef: unknown field; did you mean \"apisix\"?"),
        ),
        (
            "{kubernetes: {}}",
            format!("12:17 {path}.kubernetes: unknown field; did you mean \"none\"?"),
        ),
        (
            "{gateway: {httpRoutes: [web]}}",
            format!("12:17 {path}.gateway: unknown field; did you mean \"gatewayApi\"?"),
        ),
        (
            "{nginx: {ingress: web}, create: {path: /}}",
            format!(
                "12:17 {path}.create: nginx.ingress (Ingress) is not created by this version of \
                 Bellwether; write it yourself, or use gatewayApi.httpRoutes or istio.virtualServices"
            ),
        ),
    ] {
        let text = APPLICATION.replacen(old, new, 1);
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        let message = |text: &str| text.split_once(' ').map(|(_, rest)| rest.to_owned());
        let found: Vec<Option<String>> = errors
            .iter()
            .map(|error| message(&error.to_string()))
            .collect();
        assert_eq!(found, [message(&expected)], "{new}");
    }
}

#[test]
fn routes_of_other_kinds() {
    let old = "{gatewayApi: {httpRoutes: [web]}}";
    let text = APPLICATION.replacen(old, "{nginx: {ingress: web}}", 1);
    let ingress = |service: &str| {
        format!(
            "{text}    - apiVersion: networking.k8s.io/v1
      kind: Ingress
      metadata: {{name: web}}
      spec: {{rules: [{{http: {{paths: [{{backend: {{service: {{name: {service}}}}}}}]}}}}]}}
"
        )
    };
    assert!(load("in.yaml", ingress("web").as_bytes()).is_ok());
    let errors = load("in.yaml", ingress("other").as_bytes()).expect_err("it leads elsewhere");
    assert_eq!(
        errors[0].to_string(),
        "in.yaml:12:26 spec.components[0].rollout.traffic[0].nginx.ingress: Ingress web has no rule \
         whose backend is Service web"
    );
    let text = APPLICATION.replacen(old, "{gloo: {routeTable: web, upstream: shop-http}}", 1);
    let leads = |upstream: &str| {
        let table = format!(
            "{text}    - apiVersion: gateway.solo.io/v1
      kind: RouteTable
      metadata: {{name: web}}
      spec: {{routes: [{{routeAction: {{single: {{upstream: {{name: {upstream}}}}}}}}}]}}
"
        );
        load("in.yaml", table.as_bytes()).is_ok()
    };
    assert!(leads("shop-http") && leads("default-web-80"));
    assert!(!leads("default-other-80"));
}
