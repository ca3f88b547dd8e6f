//! Objects of the apex of which a run makes the like for the canary.

use bellwether_api::document::load;

fn errors(governed: &str, traffic: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: web, namespace: default}}
spec:
  {governed}
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}}
  service: {{name: web, port: 80}}
  strategy: {{canary: {{weights: [20, 100]}}}}
  traffic: [{traffic}]
"
    );
    let found = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

const COPIED: [(&str, &str); 3] = [
    (
        "{istio: {virtualServices: [web], destinationRule: web}}",
        "istio.destinationRule: no DestinationRule is copied for workloads that the hub does not \
         deliver; leave it out",
    ),
    (
        "{gloo: {routeTable: web, upstream: web}}",
        "gloo.upstream: no Upstream is copied for workloads that the hub does not deliver; leave \
         it out",
    ),
    (
        "{appMesh: {virtualRouter: web}}",
        "appMesh.virtualNode: no VirtualNode is copied for workloads that the hub does not \
         deliver; use another provider",
    ),
];

#[test]
fn what_is_copied_must_be_delivered() {
    for (traffic, says) in COPIED {
        assert_eq!(errors("application: shop", traffic), [""; 0], "{traffic}");
        let found = errors("destination: {clusters: [c1]}", traffic);
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{traffic}: {found:?}"
        );
    }
    let found = errors(
        "application: shop",
        "{gloo: {routeTable: web, upstream: Not_A_Name}}",
    );
    assert!(
        found.len() == 1 && found[0].contains("gloo.upstream: \"Not_A_Name\" is no name"),
        "{found:?}"
    );
}
