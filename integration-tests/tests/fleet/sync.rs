//! Objects as they are kept in the clusters.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::wait::until;
use serde_json::json;

use crate::{Case, scene::Scene};

pub const CASES: &[Case] = &[
    ("drift_is_corrected_outside_a_run", "drift", drift),
    (
        "deleting_the_application_deletes_its_objects",
        "gone",
        deletion,
    ),
    (
        "manifest_beyond_the_granted_rights_is_refused_before_anything",
        "rights",
        beyond_rights,
    ),
    (
        "agent_rights_are_never_cluster_admin",
        "identity",
        never_cluster_admin,
    ),
];

fn drift(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    scene.install(&shop)?;
    let member = scene.member(0)?;
    member.patch(
        "v1",
        "Service",
        &scene.name,
        "web",
        &json!({"spec": {"selector": {"app": "somebody-else"}}}),
    )?;
    until(
        Duration::from_secs(60),
        "the Service to be corrected",
        || {
            let live = scene
                .object(&member, "Service", "web")?
                .context("the Service")?;
            Ok((live["spec"]["selector"]["app"] == "web").then_some(()))
        },
    )?;
    member.delete(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        &scene.name,
        "web",
    )?;
    until(
        Duration::from_secs(60),
        "the route to be made again",
        || scene.object(&member, "HTTPRoute", "web"),
    )?;
    Ok(())
}

fn deletion(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    scene.install(&shop)?;
    let member = scene.member(0)?;
    // An object of somebody else in the same namespace must stay.
    member.create(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "bystander", "namespace": scene.name},
    }))?;
    scene
        .cli
        .run(&["delete", "application", &scene.name, "-y"])?;
    until(Duration::from_secs(60), "the objects to be deleted", || {
        let left = ["Deployment", "Service", "HTTPRoute"]
            .into_iter()
            .map(|kind| scene.object(&member, kind, "web"))
            .collect::<Result<Vec<_>>>()?;
        Ok(left.iter().all(Option::is_none).then_some(()))
    })?;
    ensure!(
        scene.object(&member, "ConfigMap", "bystander")?.is_some(),
        "a bystander was deleted"
    );
    Ok(())
}

fn beyond_rights(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    let documents = shop.documents().replacen(
        "    manifests:\n",
        "    manifests:\n    - {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, \
         metadata: {name: too-much}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, \
         name: cluster-admin}, subjects: []}\n",
        1,
    );
    scene.cli.apply(&documents)?;
    let view = scene.wait_run(
        &scene.name,
        1,
        Duration::from_secs(60),
        "a refusal",
        |view| matches!(view.state, RunPhase::Failed | RunPhase::Halted),
    )?;
    let text = serde_json::to_string(&view)?;
    ensure!(
        text.to_lowercase().contains("clusterrolebinding"),
        "the refusal names it: {text}"
    );
    let live = scene.object(&scene.member(0)?, "Deployment", "web")?;
    ensure!(live.is_none(), "nothing may be half applied");
    Ok(())
}

fn never_cluster_admin(scene: &Scene) -> Result<()> {
    let member = scene.member(0)?;
    let bindings = member.list_cluster("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")?;
    for binding in bindings {
        let ours = binding["subjects"].as_array().is_some_and(|subjects| {
            subjects
                .iter()
                .any(|subject| subject["name"] == "bellwether-agent")
        });
        ensure!(
            !ours || binding["roleRef"]["name"] != "cluster-admin",
            "the agent must not be cluster-admin"
        );
    }
    let requests = scene.lab.audit("c1")?;
    let agent: Vec<_> = requests
        .iter()
        .filter(|request| request.user_agent.starts_with("bellwether-agent"))
        .collect();
    ensure!(
        !agent.is_empty(),
        "the agent's requests must be in the audit log"
    );
    for request in agent {
        ensure!(
            request.user == "system:serviceaccount:bellwether-system:bellwether-agent"
                && !request.groups.iter().any(|group| group == "system:masters"),
            "a request of the agent came as {} {:?}",
            request.user,
            request.groups
        );
    }
    Ok(())
}
