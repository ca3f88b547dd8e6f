//! Objects that provision clusters and cloud resources (stand-ins for kinds of Cluster API and Crossplane):
//! ordinary manifests, healthy by CEL, taken over where they exist, and never made anew.

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{cluster::Member, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_objects_of_provisioners_are_taken_over_and_never_made_anew",
    "provisioned",
    provisioned,
)];

const CLUSTER: (&str, &str) = ("cluster.x-k8s.io/v1beta1", "Cluster");
const BUCKET: (&str, &str) = ("s3.aws.upbound.io/v1beta1", "Bucket");

fn provisioned(members: &Members) -> Result<()> {
    let cluster = members.names()[2];
    let member = members.cluster(cluster)?;
    define(member, CLUSTER, "clusters")?;
    define(member, BUCKET, "buckets")?;
    grant(members, member)?;
    // Somebody made the cluster long ago, and its provider has written to it since.
    let there = manifest(
        CLUSTER,
        &members.name,
        "prod",
        &json!({"version": "v1.32.0"}),
    );
    until(LIMIT, "the kind to be served", || {
        Ok(member.create(&there).ok())
    })?;
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let before = uid(&live(members, member, CLUSTER, "prod")?);

    members
        .cli
        .apply(&application(members, cluster, "v1.32.0"))?;
    until(LIMIT, "the new bucket", || {
        member.get(BUCKET.0, BUCKET.1, &members.name, "assets")
    })?;
    let waits = members.run(&members.name)?;
    ensure!(
        !waits.state.is_terminal(),
        "nothing is provisioned yet: {waits:?}"
    );
    let phase = json!({"status": {"phase": "Provisioned"}});
    member.patch_status(CLUSTER.0, CLUSTER.1, &members.name, "prod", &phase)?;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    member.patch_status(BUCKET.0, BUCKET.1, &members.name, "assets", &ready)?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    ensure!(
        uid(&live(members, member, CLUSTER, "prod")?) == before,
        "it was made anew"
    );

    // An upgrade is a change of the object that is there.
    members
        .cli
        .apply(&application(members, cluster, "v1.33.0"))?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let upgraded = live(members, member, CLUSTER, "prod")?;
    ensure!(upgraded["spec"]["version"] == "v1.33.0", "{upgraded}");
    ensure!(uid(&upgraded) == before, "it was made anew: {upgraded}");

    // Without the application they go on, and belong to whoever had them before.
    members
        .cli
        .run(&["delete", "application", &members.name, "-y"])?;
    for (kind, name) in [(CLUSTER, "prod"), (BUCKET, "assets")] {
        until(LIMIT, "the agent to let go", || {
            let left = live(members, member, kind, name)?;
            let managers = left["metadata"]["managedFields"].to_string();
            Ok((!managers.contains("bellwether-sync")).then_some(()))
        })?;
    }
    ensure!(
        uid(&live(members, member, CLUSTER, "prod")?) == before,
        "it was made anew"
    );
    Ok(())
}

fn live(members: &Members, member: &Member, kind: (&str, &str), name: &str) -> Result<Value> {
    let found = member.get(kind.0, kind.1, &members.name, name)?;
    found.with_context(|| format!("{} {name} is gone", kind.1))
}

fn manifest((version, kind): (&str, &str), namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn application(members: &Members, cluster: &str, version: &str) -> String {
    let namespace = &members.name;
    let rule = |(version, kind): (&str, &str), cel: &str| {
        let group = version.split('/').next().unwrap_or_default();
        json!({"group": group, "kind": kind, "cel": cel})
    };
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [cluster]},
            "targetNamespace": namespace,
            "sync": {"adopt": "Always", "deletion": "Orphan"},
            "components": [{
                "name": "infrastructure",
                "health": [
                    rule(CLUSTER, "has(object.status) && has(object.status.phase) && \
                        object.status.phase == 'Provisioned'"),
                    rule(BUCKET, "has(object.status) && has(object.status.conditions) && \
                        object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"),
                ],
                "manifests": [
                    manifest(CLUSTER, namespace, "prod", &json!({"version": version})),
                    manifest(BUCKET, namespace, "assets", &json!({"region": "eu-west-1"})),
                ],
            }],
        },
    })
    .to_string()
}

fn define(member: &Member, (version, kind): (&str, &str), plural: &str) -> Result<()> {
    let (group, version) = version.split_once('/').context("a group")?;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    member.create_cluster_scoped(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"),
            // Groups of Kubernetes' own are for approved kinds.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in of a test"}},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object",
                    "properties": {"spec": open, "status": open}}}}],
        },
    }))
}

/// Lets the agent deliver these kinds.
fn grant(members: &Members, member: &Member) -> Result<()> {
    let name = format!("{}-provisioners", members.name);
    let verbs = json!([
        "get", "list", "watch", "create", "update", "patch", "delete"
    ]);
    member.create_cluster_scoped(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": ["cluster.x-k8s.io"], "resources": ["clusters"], "verbs": verbs},
            {"apiGroups": ["s3.aws.upbound.io"], "resources": ["buckets"], "verbs": verbs},
        ],
    }))?;
    member.create_cluster_scoped(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "bellwether-agent",
            "namespace": "bellwether-system"}],
    }))
}
