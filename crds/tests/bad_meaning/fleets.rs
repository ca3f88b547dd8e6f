//! Fleets and clusters.

use bellwether_api::document::load;

#[test]
fn fleets_and_clusters() {
    let text = "apiVersion: bellwether.dev/v1alpha1
kind: Fleet
metadata: {name: eu, namespace: x}
spec: {defaults: {maxConcurrent: 0%, metrics: {address: 'http://'}, traffic: [{gatewayApi: {httpRoutes: [A]}}]}}
---
apiVersion: bellwether.dev/v1alpha1
kind: Cluster
metadata: {name: a}
spec: {metrics: {address: 'https://user:word@host'}, taints: [{key: 'a b', effect: NoExecute}]}
";
    let errors = load("in.yaml", text.as_bytes()).expect_err("wrong");
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "in.yaml:3:22 metadata.namespace: a Fleet lives in no namespace; leave the field out",
            "in.yaml:4:19 spec.defaults.maxConcurrent: 0 would never start a cluster; use at least 1",
            "in.yaml:4:48 spec.defaults.metrics.address: the address names no host",
            "in.yaml:4:106 spec.defaults.traffic[0].gatewayApi.httpRoutes[0]: \"A\" is no name; use \
             a-z, 0-9 and -, with a letter or digit at both ends; did you mean \"a\"?",
            "in.yaml:9:18 spec.metrics.address: an address carries no user or password",
            "in.yaml:9:64 spec.taints[0].key: no valid key of a label or an annotation",
        ]
    );
    let empty = "{apiVersion: bellwether.dev/v1alpha1, kind: Fleet, metadata: {name: eu}}";
    let loaded = load("in.yaml", empty.as_bytes()).expect("an empty fleet is accepted");
    assert_eq!(
        loaded.warnings[0].message,
        "neither clusters nor selector is set: the fleet has no members"
    );
}
