//! A chart of another project, as it was released.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::{status::Phase, view::RunPhase};
use bellwether_integration_tests::{
    chart_repository::ChartRepository, stock_chart::KWOK, suite::Case, wait::until,
};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members, grant_everywhere};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_chart_of_kwok_is_rolled_step_by_step_as_its_project_released_it",
    "kwokchart",
    kwok,
)];

/// What the chart calls everything that it makes.
const CONTROLLER: &str = "kwok-controller";
const RBAC: &str = "rbac.authorization.k8s.io";
/// What of it belongs to no namespace: group, kind and resource, each of version v1.
const CLUSTER_SCOPED: [(&str, &str, &str); 3] = [
    (RBAC, "ClusterRole", "clusterroles"),
    (RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas"),
];
/// The version that the chart has unless it is told another.
const OLD: &str = "registry.k8s.io/kwok/kwok:v0.7.0";
const NEW: &str = "registry.k8s.io/kwok/kwok:v0.8.0";

fn kwok_application(members: &Members, cluster: &str, url: &str, values: &Value) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": [cluster]}, "targetNamespace": members.name,
            "components": [{
                "name": "kwok",
                "helm": {"repository": url, "chart": KWOK.name, "version": KWOK.version,
                    "values": values},
                "rollout": {
                    "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": CONTROLLER},
                    "strategy": {"canary": {"steps": [{"weight": 50}]}},
                    "analysis": {"interval": "1s"},
                },
            }],
        },
    })
    .to_string()
}

fn kwok(members: &Members) -> Result<()> {
    let cluster = members.names()[7];
    let member = members.cluster(cluster)?;
    let resources = CLUSTER_SCOPED.map(|(group, _, plural)| (group, plural));
    grant_everywhere(member, &members.name, &resources)?;
    let mut repository = ChartRepository::start()?;
    repository.publish_stock(&KWOK)?;
    let apply = |values: &Value| {
        let document = kwok_application(members, cluster, &repository.url(), values);
        members.cli.apply(&document)
    };
    apply(&json!({"replicas": 2}))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    is_whole(members, cluster)?;
    let first = member.pods_running(&members.name, "", OLD)?;
    ensure!(first.len() == 2, "plainly installed: {first:?}");

    apply(&json!({"replicas": 2, "image": {"tag": "v0.8.0"}}))?;
    waits_for_a_human(members, cluster, &first)?;
    members.cli.run(&["rollout", "approve", &members.name])?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let now = members.image(cluster, CONTROLLER)?;
    ensure!(now == NEW, "{now}");
    members.wait_gone(cluster, "Deployment", &format!("{CONTROLLER}-canary"))?;
    taken_away(members, cluster)
}

/// One pod has the new version, and those of the old one are `first` still.
fn waits_for_a_human(members: &Members, cluster: &str, first: &BTreeSet<String>) -> Result<()> {
    members.wait_run(&members.name, 2, LIMIT, "a human to be asked", |run| {
        let clusters = run.waves.iter().flat_map(|wave| &wave.clusters);
        let mut tracks = clusters.flat_map(|one| &one.tracks);
        tracks.any(|track| track.phase == Phase::WaitingPromotion)
    })?;
    let member = members.cluster(cluster)?;
    let old = member.pods_running(&members.name, "", OLD)?;
    let canary = member.pods_running(&members.name, "", NEW)?;
    ensure!(old == *first && canary.len() == 1, "{old:?}, {canary:?}");
    let held = members.image(cluster, CONTROLLER)?;
    ensure!(held == OLD, "the workload waits: {held}");
    Ok(())
}

fn taken_away(members: &Members, cluster: &str) -> Result<()> {
    let delete = ["delete", "application", &members.name, "-y"];
    members.cli.run(&delete)?;
    members.wait_gone(cluster, "ServiceAccount", CONTROLLER)?;
    let member = members.cluster(cluster)?;
    for (group, kind, _) in CLUSTER_SCOPED {
        until(LIMIT, &format!("its {kind} to be gone"), || {
            let found = member.get_cluster(&format!("{group}/v1"), kind, CONTROLLER)?;
            Ok(found.is_none().then_some(()))
        })?;
    }
    Ok(())
}

/// Fails unless the cluster has every object of the chart.
fn is_whole(members: &Members, cluster: &str) -> Result<()> {
    for kind in ["ConfigMap", "Deployment", "Service", "ServiceAccount"] {
        let found = members.read(cluster, kind, CONTROLLER)?;
        found.with_context(|| format!("no {kind} {CONTROLLER}"))?;
    }
    for (group, kind, _) in CLUSTER_SCOPED {
        let member = members.cluster(cluster)?;
        let found = member.get_cluster(&format!("{group}/v1"), kind, CONTROLLER)?;
        found.with_context(|| format!("no {kind} {CONTROLLER}"))?;
    }
    Ok(())
}
