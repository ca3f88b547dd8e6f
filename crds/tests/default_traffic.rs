//! Default providers of fleets and clusters.

use bellwether_api::document::{Document, load};

fn record(kind: &str, spec: &str) -> Result<Document, Vec<String>> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: one}}\nspec: {spec}\n"
    );
    match load("in.yaml", text.as_bytes()) {
        Ok(loaded) => Ok(loaded.documents.into_iter().next().expect("a document")),
        Err(errors) => Err(errors
            .iter()
            .map(|error| format!("{}: {}", error.path, error.message))
            .collect()),
    }
}

#[test]
fn a_cluster_takes_what_a_fleet_takes() {
    let given = "[{gatewayApi: {httpRoutes: [web]}, namespace: edge}, {nginx: {ingress: web}}]";
    let Ok(Document::Cluster(object)) = record("Cluster", &format!("{{traffic: {given}}}")) else {
        panic!("not taken");
    };
    assert_eq!(object.spec.traffic.len(), 2);
    for (traffic, field, says) in [
        ("[{ngnix: {ingress: web}}]", "[0].ngnix", "unknown field"),
        ("[{}]", "[0]", "exactly one must be set of"),
        (
            "[{nginx: {ingress: web}}, {nginx: {ingress: web}}]",
            "[1].nginx",
            "stands here twice",
        ),
        (
            "[{gatewayApi: {httpRoutes: [web]}, create: {gateways: [edge]}}]",
            "[0].create",
            "'s default creates no routes; write it in the Rollout",
        ),
        (
            "[{none: {}}, {nginx: {ingress: web}}]",
            "[0].none",
            "leave none out",
        ),
    ] {
        for (kind, at, spec) in [
            ("Cluster", "spec.traffic", format!("{{traffic: {traffic}}}")),
            (
                "Fleet",
                "spec.defaults.traffic",
                format!("{{selector: {{}}, defaults: {{traffic: {traffic}}}}}"),
            ),
        ] {
            let errors = record(kind, &spec).expect_err(traffic);
            let wanted = format!("{at}{field}");
            assert!(
                errors
                    .iter()
                    .any(|error| error.starts_with(&wanted) && error.contains(says)),
                "{kind} {traffic}: {errors:#?}"
            );
        }
    }
}
