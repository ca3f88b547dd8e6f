//! Fields that do not agree with each other, or with the objects beside them.

mod applications;
mod fleets;
mod hooks;
mod rollouts;
mod sync;
mod traffic;
mod workloads;

use bellwether_api::document::load;

/// The parts of an application that the tables change.
const APPLICATION: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: default}
spec:
  destination: {fleet: eu}
  waves: []
  components:
  - name: web
    rollout:
      workload: {apiVersion: apps/v1, kind: Deployment, name: web}
      service: {name: web, port: 80}
      traffic: [{gatewayApi: {httpRoutes: [web]}}]
      strategy: {canary: {stepWeight: 10}}
      analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}
    manifests:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec: {template: {metadata: {labels: {app: web, tier: front}}}}
    - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
    - apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: web}
      spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}
";

/// Replaces texts of the application and compares the errors, paths without `in.yaml:`.
#[track_caller]
fn check(changes: &[(&str, &str)], expected: &[&str]) {
    let mut text = APPLICATION.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    let errors: Vec<String> = errors
        .iter()
        .map(|error| error.to_string().trim_start_matches("in.yaml:").to_owned())
        .collect();
    assert_eq!(errors, expected);
}

#[test]
fn the_application_itself_is_right() {
    check(&[], &[]);
}
