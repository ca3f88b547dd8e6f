//! The snippets of docs/providers.md are accepted, and show every provider.

use std::{collections::BTreeSet, fs, path::Path};

use bellwether_api::{
    document::{Document, load},
    traffic::Provider,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/providers.md");

#[test]
fn every_snippet_is_accepted_and_every_provider_has_one() {
    let page = fs::read_to_string(Path::new(PAGE)).expect("the page exists");
    let mut shown = BTreeSet::new();
    for block in page.split("```yaml\n").skip(1) {
        let snippet = block.split("```").next().unwrap_or_default();
        if snippet.starts_with("apiVersion:") {
            // What clusters and fleets give stands in records of their own.
            let loaded = load("providers.md", snippet.as_bytes());
            loaded.unwrap_or_else(|errors| panic!("{snippet}: {}", errors[0]));
            continue;
        }
        let governed = if snippet.starts_with("service:") {
            "workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  traffic: [{gatewayApi: {httpRoutes: [web]}}]"
        } else if snippet.contains("knative") {
            "workload: {apiVersion: serving.knative.dev/v1, kind: Service, name: web}"
        } else {
            "workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {name: web, port: 80}"
        };
        let text = format!(
            "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  application: shop
  {governed}
  strategy: {{canary: {{stepWeight: 10}}}}
{}",
            snippet
                .replace('\n', "\n  ")
                .replacen("traffic", "  traffic", 1)
                .replacen(
                    "service:",
                    "  service:",
                    usize::from(snippet.starts_with("service:"))
                )
        );
        let loaded = load("providers.md", text.as_bytes())
            .unwrap_or_else(|errors| panic!("{snippet}: {}", errors[0]));
        for document in loaded.documents {
            let Document::Rollout(rollout) = document else {
                panic!("{snippet} is a rollout");
            };
            let traffic = rollout.spec.traffic.iter();
            shown.extend(traffic.flat_map(|one| one.routes()).map(|one| one.provider));
        }
    }
    let supported = Provider::ALL.into_iter().filter(|one| one.is_supported());
    assert_eq!(shown, supported.collect());
}
