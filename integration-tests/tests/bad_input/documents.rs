//! Documents that are refused, and one that looks wrong and is not.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bellwether_integration_tests::{suite::Case, wait::until};

use crate::Scene;

pub const CASES: &[Case<Scene>] = &[
    (
        "unknown_field_is_named_with_its_place_and_suggestion",
        "unknown",
        unknown_field,
    ),
    ("duplicate_keys_are_refused", "duplicate", duplicate_keys),
    ("malformed_yaml_is_refused", "malformed", malformed),
    ("alias_bomb_is_refused", "bomb", alias_bomb),
    (
        "document_of_ten_megabytes_is_refused_with_the_limit",
        "large",
        large_document,
    ),
    ("missing_fleet_is_named", "fleetless", missing_fleet),
    (
        "overlapping_waves_are_refused",
        "overlap",
        overlapping_waves,
    ),
    ("two_strategies_are_refused", "strategies", two_strategies),
    (
        "service_that_cannot_be_pinned_is_refused_with_the_reason",
        "pinless",
        unpinnable_service,
    ),
    (
        "destination_without_clusters_is_accepted_and_says_so",
        "empty",
        empty_match,
    ),
];

/// An application of a Deployment, its Service and its route, with a Rollout.
fn good(name: &str) -> String {
    let labels = "{app: web}";
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: {name}, namespace: default}}
spec:
  destination: {{selector: {{matchLabels: {{nobody: has-this}}}}}}
  targetNamespace: {name}
  components:
  - name: web
    manifests:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: web}}
      spec:
        replicas: 2
        selector: {{matchLabels: {labels}}}
        template:
          metadata: {{labels: {labels}}}
          spec: {{containers: [{{name: web, image: \"web:1\"}}]}}
    - apiVersion: v1
      kind: Service
      metadata: {{name: web}}
      spec: {{selector: {labels}, ports: [{{port: 80}}]}}
---
apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: {name}-web, namespace: default}}
spec:
  application: {name}
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  service: {{name: web, port: 80}}
  traffic: [{{gatewayApi: {{httpRoutes: [web]}}}}]
  strategy: {{canary: {{weights: [50]}}}}
"
    )
}

/// Applies `text`, and fails unless it is refused with exactly one sentence that has all of
/// `needed`, and nothing was applied.
fn refused(scene: &Scene, text: &str, needed: &[&str]) -> Result<()> {
    let answer = scene.cli.call(&["apply", "-f", "-"], Some(text))?;
    ensure!(answer.code == 1, "exit code {}: {answer:?}", answer.code);
    let errors: Vec<&str> = answer
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    ensure!(errors.len() == 1, "not one sentence: {}", answer.stderr);
    println!("{}", errors[0]);
    for part in needed {
        ensure!(
            errors[0].to_lowercase().contains(&part.to_lowercase()),
            "{part:?} is not in: {}",
            errors[0]
        );
    }
    // What the command line itself refuses has no place in a document, and was never sent.
    ensure!(
        !errors[0].contains("stdin:") || answer.stderr.contains("nothing applied."),
        "{}",
        answer.stderr
    );
    let stored = scene.cli.json(&["get", "applications"])?.to_string();
    let name = scene
        .directory
        .file_name()
        .context("a test has a folder")?
        .to_string_lossy();
    ensure!(
        !stored.contains(&format!("\"{name}\"")),
        "half applied: {stored}"
    );
    Ok(())
}

fn unknown_field(scene: &Scene) -> Result<()> {
    let text = good("unknown").replace("weights: [50]", "wieghts: [50]");
    refused(
        scene,
        &text,
        &[
            "32:23",
            "spec.strategy.canary.wieghts",
            "did you mean",
            "weights",
        ],
    )
}

fn duplicate_keys(scene: &Scene) -> Result<()> {
    let text = good("duplicate").replace(
        "  targetNamespace: duplicate\n",
        "  targetNamespace: duplicate\n  targetNamespace: other\n",
    );
    refused(scene, &text, &["7:3", "targetNamespace", "twice", "6:3"])
}

fn malformed(scene: &Scene) -> Result<()> {
    let text =
        good("malformed").replace("{name: malformed, namespace: default}", "{name: malformed");
    refused(scene, &text, &["4:", "flow mapping"])
}

fn alias_bomb(scene: &Scene) -> Result<()> {
    let mut text = good("bomb");
    text.push_str("---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let below = level - 1;
        let aliases = vec![format!("*a{below}"); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    refused(scene, &text, &["alias"])
}

fn large_document(scene: &Scene) -> Result<()> {
    let mut text = good("large");
    text.push_str("# ");
    text.push_str(&"x".repeat(10 << 20));
    refused(scene, &text, &["larger than 4194304 bytes"])
}

fn missing_fleet(scene: &Scene) -> Result<()> {
    let text = good("fleetless").replace(
        "{selector: {matchLabels: {nobody: has-this}}}",
        "{fleet: everywhere}",
    );
    refused(scene, &text, &["spec.destination.fleet", "everywhere"])
}

fn overlapping_waves(scene: &Scene) -> Result<()> {
    let text = good("overlap").replace(
        "  targetNamespace: overlap\n",
        "  targetNamespace: overlap\n  waves: [{name: first, clusters: [a, b]}, {name: second, \
         clusters: [b, c]}]\n",
    );
    refused(scene, &text, &["spec.waves[1]", "first", "b"])
}

fn two_strategies(scene: &Scene) -> Result<()> {
    let text = good("strategies").replace(
        "strategy: {canary: {weights: [50]}}",
        "strategy: {canary: {weights: [50], stepWeight: 10}}",
    );
    refused(
        scene,
        &text,
        &["spec.strategy.canary", "weights", "stepWeight"],
    )
}

fn unpinnable_service(scene: &Scene) -> Result<()> {
    let text = good("pinless").replace(
        "spec: {selector: {app: web}, ports: [{port: 80}]}",
        "spec: {type: ExternalName, externalName: elsewhere.example}",
    );
    refused(scene, &text, &["web", "ExternalName", "pinned"])
}

fn empty_match(scene: &Scene) -> Result<()> {
    scene.cli.apply(&good("empty"))?;
    until(Duration::from_secs(20), "the condition NoClusters", || {
        let shown = scene.cli.json(&["get", "application", "empty"])?;
        let conditions = shown["status"]["conditions"].as_array().cloned();
        let found = conditions
            .unwrap_or_default()
            .into_iter()
            .any(|condition| condition["type"] == "NoClusters");
        Ok(found.then_some(()))
    })?;
    let told = scene.cli.run(&["describe", "application", "empty"])?;
    ensure!(told.contains("no registered cluster matches"), "{told}");
    Ok(())
}
