//! One record, each cluster its own way.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "sc_v3_clusters_differ_exactly_where_overrides_say",
    "environments",
    environments,
)];

/// Environment, pods, host and fixed address of each cluster.
const ENVIRONMENTS: [(&str, u64, &str, Option<&str>); 3] = [
    ("sit", 1, "svc-sit.ink", None),
    ("uat", 2, "svc-uat.ink", None),
    ("prod", 5, "svc.ink", Some("10.96.100.7")),
];

fn environments(members: &Members) -> Result<()> {
    let names: Vec<String> = members.names()[..3]
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    label(members, &names)?;
    let refused = members
        .cli
        .apply(&documents(&members.name, "{{ cluster.labels.zone }}"))
        .expect_err("no cluster has a zone");
    let told = format!("{refused:?}");
    ensure!(
        told.contains("spec.overrides[0]") && told.contains("lacks a label"),
        "{told}"
    );
    members.cli.apply(&documents(
        &members.name,
        "svc-{{ cluster.labels.env }}.ink",
    ))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let mut seen = Vec::new();
    for (cluster, expected) in names.iter().zip(ENVIRONMENTS) {
        seen.push(as_written(members, cluster, expected)?);
    }
    ensure!(
        seen.iter().all(|objects| *objects == seen[0]),
        "clusters differ elsewhere too: {seen:#?}"
    );
    drift_is_corrected_to_it(members, &names[0])
}

/// Gives the clusters their environments, beside the labels that they have.
fn label(members: &Members, clusters: &[String]) -> Result<()> {
    for (cluster, (environment, ..)) in clusters.iter().zip(ENVIRONMENTS) {
        let label = format!("env={environment}");
        members.cli.run(&["label", "cluster", cluster, &label])?;
    }
    Ok(())
}

fn documents(name: &str, host: &str) -> String {
    let overrides = json!([
        {"name": "everywhere", "patches": [{"target": {"kind": "Ingress", "name": "svc"},
            "jsonPatch": [{"op": "replace", "path": "/spec/rules/0/host", "value": host}]}]},
        {"name": "uat", "selector": {"matchLabels": {"env": "uat"}},
            "replicas": [{"target": {"kind": "Deployment"}, "count": 2}]},
        {"name": "prod", "selector": {"matchLabels": {"env": "prod"}},
            "replicas": [{"target": {"kind": "Deployment"}, "count": 5}],
            "patches": [
                {"target": {"kind": "Ingress"}, "merge": {"spec": {"rules": [rule("svc.ink")]}}},
                {"target": {"kind": "Service"}, "merge": {"spec": {"clusterIP": "10.96.100.7"}}},
            ]},
    ]);
    // The Service bears an address and a uid that another cluster gave it.
    let manifests = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "svc"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "svc"}},
                "template": {"metadata": {"labels": {"app": "svc"}}, "spec": {"containers":
                    [{"name": "svc", "image": "bellwether.local/demo:v1", "imagePullPolicy": "Never"}]}}}},
        {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "svc", "uid": "5e2d6c1e-0000-4000-8000-000000000000"},
            "spec": {"clusterIP": "10.96.200.200", "selector": {"app": "svc"}, "ports": [{"port": 80}]}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "svc"},
            "spec": {"rules": [rule("svc.example")]}},
    ]);
    format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n  \
         destination: {{fleet: breadth, selector: {{matchExpressions: [{{key: env, operator: Exists}}]}}}}\n  \
         targetNamespace: {name}\n  waves: [{{name: all, maxConcurrent: 100%}}]\n  \
         overrides: {overrides}\n  components: [{{name: svc, manifests: {manifests}}}]\n"
    )
}

fn rule(host: &str) -> Value {
    json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
        "backend": {"service": {"name": "svc", "port": {"number": 80}}}}]}})
}

/// Checks what the cluster has, and gives its specs without what may differ.
fn as_written(
    members: &Members,
    cluster: &str,
    (environment, pods, host, address): (&str, u64, &str, Option<&str>),
) -> Result<BTreeMap<String, Value>> {
    let read = |kind: &str| {
        members
            .read(cluster, kind, "svc")?
            .with_context(|| format!("{cluster} has no {kind}"))
    };
    let (mut deployment, mut service, mut ingress) =
        (read("Deployment")?, read("Service")?, read("Ingress")?);
    ensure!(
        deployment["spec"]["replicas"] == json!(pods),
        "{environment}: {deployment}"
    );
    ensure!(
        ingress["spec"]["rules"][0]["host"] == json!(host),
        "{environment}: {ingress}"
    );
    let given = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    match address {
        Some(address) => ensure!(given == address, "{environment}: {service}"),
        None => ensure!(
            !given.is_empty() && given != "10.96.200.200" && given != "10.96.100.7",
            "{environment}: {service}"
        ),
    }
    deployment["spec"]["replicas"] = Value::Null;
    service["spec"]["clusterIP"] = Value::Null;
    service["spec"]["clusterIPs"] = Value::Null;
    ingress["spec"]["rules"][0]["host"] = Value::Null;
    Ok([deployment, service, ingress]
        .into_iter()
        .map(|object| (object["kind"].to_string(), object["spec"].clone()))
        .collect())
}

/// What comes of the overrides is what drift is corrected to.
fn drift_is_corrected_to_it(members: &Members, cluster: &str) -> Result<()> {
    let by_hand = json!({"spec": {"replicas": 4}});
    members
        .cluster(cluster)?
        .patch("apps/v1", "Deployment", &members.name, "svc", &by_hand)?;
    until(LIMIT, "the number of pods to be as released", || {
        let live = members
            .read(cluster, "Deployment", "svc")?
            .context("the Deployment")?;
        Ok((live["spec"]["replicas"] == json!(1)).then_some(()))
    })
}
