//! How a release moves from wave to wave, and what one cluster's failure means for the others.

use anyhow::{Result, ensure};
use bellwether_api::view::{ClusterPhase, ClusterView, RunPhase, RunView, WavePhase};
use bellwether_integration_tests::{chart_repository::ChartRepository, suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[
    (
        "sc_x3_one_cluster_fails_and_halt_stops_the_rest_until_it_is_retried",
        "halted",
        halt,
    ),
    (
        "sc_x3_plain_update_fails_in_one_cluster_and_halt_stops_the_rest_until_it_is_retried",
        "haltedplain",
        halt_plainly,
    ),
    (
        "sc_x3_one_cluster_fails_and_continue_goes_on",
        "continued",
        continue_,
    ),
    (
        "sc_x3_one_cluster_fails_and_all_roll_back",
        "returned",
        roll_back_all,
    ),
    (
        "sc_x3_plain_update_fails_in_one_cluster_and_all_roll_back",
        "returnedplain",
        roll_back_all_plainly,
    ),
    (
        "sc_x4_prod_starts_only_after_uat_and_its_gates",
        "promoted",
        environments,
    ),
];

/// A Deployment as it is written; what a component has beside its name.
fn written(version: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({"manifests": [{
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": format!("bellwether.local/demo:{version}")}]}}},
    }]})
}

/// The same of a chart as `helm create` makes them, which a repository serves; the image comes by its values.
fn of_chart(repository: &ChartRepository, version: &str) -> Value {
    json!({"helm": {
        "repository": repository.url(), "chart": "web", "version": CHART_VERSION, "includeCRDs": false,
        "values": {
            "fullnameOverride": "web", "replicaCount": 1, "serviceAccount": {"create": false},
            "image": {"repository": "bellwether.local/demo", "tag": version},
        },
    }})
}

const CHART_VERSION: &str = "1.0.0";

fn repository() -> Result<ChartRepository> {
    let mut repository = ChartRepository::start()?;
    repository.publish("web", CHART_VERSION, &[])?;
    Ok(repository)
}

/// The same with a Rollout for the Deployment; without one Kubernetes updates it.
fn governed(mut component: Value) -> Value {
    component["rollout"] = json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "strategy": {"canary": {"weights": [50]}}, "analysis": {"interval": "1s"},
        "progressDeadline": "25s",
    });
    component
}

/// A written Deployment with a Rollout.
fn governed_as_written(version: &str) -> Value {
    governed(written(version))
}

/// An application of one component, which has the Deployment `web`.
fn documents(name: &str, component: &Value, waves: &Value, on_failure: &str) -> String {
    let mut component = component.clone();
    component["name"] = "web".into();
    let mut spec = json!({
        "destination": {"fleet": "breadth"}, "targetNamespace": name, "onFailure": on_failure, "waves": waves,
    });
    if component["rollout"].is_null() {
        spec["sync"] = json!({"timeout": "25s"});
    }
    spec["components"] = json!([component]);
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
    .to_string()
}

/// Installs v1 on three clusters, then releases v2, which one of them, from 0, has no room for.
/// Whatever ran in that one runs on.
fn with_a_failure(
    members: &Members,
    on_failure: &str,
    full: usize,
    component: impl Fn(&str) -> Value,
) -> Result<RunView> {
    let clusters = first_three(members);
    let waves: Vec<Value> = ["one", "two", "three"]
        .iter()
        .zip(&clusters)
        .map(|(name, cluster)| json!({"name": name, "clusters": [cluster]}))
        .collect();
    let waves = json!(waves);
    let at = |version: &str| documents(&members.name, &component(version), &waves, on_failure);
    members.cli.apply(&at("v1"))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let member = members.cluster(&clusters[full])?;
    // There is room for one pod in all: the one that runs.
    let pods = || -> Result<Vec<Option<String>>> {
        let pods = member.pods(&members.name, "")?;
        Ok(pods.into_iter().map(|pod| pod.metadata.uid).collect())
    };
    let before = pods()?;
    member.create(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "full", "namespace": members.name},
        "spec": {"hard": {"pods": "1"}},
    }))?;
    members.cli.apply(&at("v2"))?;
    let run = until(LIMIT, "the wave without room to fail", || {
        let run = members.run(&members.name)?;
        let failed = run.waves.iter().any(|wave| wave.state == WavePhase::Failed)
            || matches!(run.state, RunPhase::RollingBack | RunPhase::Failed);
        Ok((run.revision == 2 && failed).then_some(run))
    })?;
    ensure!(before.len() == 1 && pods()? == before, "{before:?}");
    let cluster = &run.waves[full].clusters[0];
    let is_plain = cluster.tracks.is_empty();
    ensure!(
        is_plain == component("v2")["rollout"].is_null(),
        "{cluster:#?}"
    );
    Ok(run)
}

fn first_three(members: &Members) -> Vec<String> {
    let names = members.names();
    names[..3].iter().map(|name| (*name).to_owned()).collect()
}

/// Waits until the Deployments of the first three clusters run these versions.
fn wait_versions(members: &Members, versions: [&str; 3]) -> Result<()> {
    for (cluster, version) in first_three(members).iter().zip(versions) {
        until(LIMIT, &format!("{cluster} to run {version}"), || {
            Ok(
                (members.image(cluster, "web")? == format!("bellwether.local/demo:{version}"))
                    .then_some(()),
            )
        })?;
    }
    Ok(())
}

fn halt(members: &Members) -> Result<()> {
    let repository = repository()?;
    halted(members, |version| governed(of_chart(&repository, version))).map(drop)
}

/// Its cluster says what there was no time for.
fn halt_plainly(members: &Members) -> Result<()> {
    let failed = halted(members, written)?;
    let said = format!("{} {}", failed.reason, failed.message);
    ensure!(
        said.contains("DeadlineExceeded") && said.contains("not healthy within 25s"),
        "{said}"
    );
    Ok(())
}

/// Gives the cluster that failed, as it was before it was tried again.
fn halted(members: &Members, component: impl Fn(&str) -> Value) -> Result<ClusterView> {
    with_a_failure(members, "Halt", 1, component)?;
    wait_versions(members, ["v2", "v1", "v1"])?;
    let run = members.run(&members.name)?;
    ensure!(run.state == RunPhase::Halted, "{run:#?}");
    let third = &run.waves[2];
    ensure!(third.state == WavePhase::Waiting, "{third:#?}");
    ensure!(
        third.clusters[0].state == ClusterPhase::Queued && third.clusters[0].attempt == 0,
        "{third:#?}"
    );
    retry(members)?;
    Ok(run.waves[1].clusters[0].clone())
}

/// With room for it the second cluster is tried again, and it alone.
fn retry(members: &Members) -> Result<()> {
    let clusters = first_three(members);
    let second = members.cluster(&clusters[1])?;
    second.delete("v1", "ResourceQuota", &members.name, "full")?;
    members.cli.run(&["rollout", "retry", &members.name])?;
    let run = members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let attempts: Vec<u32> = run
        .waves
        .iter()
        .map(|wave| wave.clusters[0].attempt)
        .collect();
    ensure!(attempts == [1, 2, 1], "{run:#?}");
    wait_versions(members, ["v2", "v2", "v2"])
}

fn continue_(members: &Members) -> Result<()> {
    with_a_failure(members, "Continue", 1, governed_as_written)?;
    members.wait_ended(&members.name, 2, RunPhase::Failed, LIMIT)?;
    wait_versions(members, ["v2", "v1", "v2"])
}

fn roll_back_all(members: &Members) -> Result<()> {
    rolled_back(members, governed_as_written)
}

fn roll_back_all_plainly(members: &Members) -> Result<()> {
    rolled_back(members, written)
}

/// The last wave fails: each wave goes back only once the one after it is back.
fn rolled_back(members: &Members, component: impl Fn(&str) -> Value) -> Result<()> {
    with_a_failure(members, "RollbackAll", 2, component)?;
    let run = until(LIMIT, "every cluster to be back", || {
        let run = members.run(&members.name)?;
        for pair in run.waves.windows(2) {
            let [earlier, later] = [&pair[0].clusters[0], &pair[1].clusters[0]];
            ensure!(
                earlier.state == ClusterPhase::Succeeded || later.state == ClusterPhase::Failed,
                "{} goes back before {}: {run:#?}",
                earlier.name,
                later.name
            );
        }
        Ok((run.state == RunPhase::Failed).then_some(run))
    })?;
    wait_versions(members, ["v1", "v1", "v1"])?;
    ensure!(run.revision == 2, "{run:#?}");
    let since = |wave: usize| run.waves[wave].clusters[0].since.clone();
    ensure!(
        since(2).is_some() && since(2) <= since(1) && since(1) <= since(0),
        "newest wave first: {run:#?}"
    );
    Ok(())
}

fn environments(members: &Members) -> Result<()> {
    let waves = json!([
        {"name": "sit", "selector": {"matchLabels": {"tier": "canary"}}, "after": [{"soak": "2s"}]},
        {"name": "uat", "percent": 40, "maxConcurrent": "100%", "after": [{"approval": {}}]},
        {"name": "prod", "maxConcurrent": "100%",
            "before": [{"window": {"schedule": "* * * * *", "duration": "2m"}}]},
    ]);
    let repository = repository()?;
    let component = |version: &str| governed(of_chart(&repository, version));
    let at = |version: &str| documents(&members.name, &component(version), &waves, "Halt");
    members.cli.apply(&at("v1"))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    members.cli.apply(&at("v2"))?;
    let run = until(LIMIT, "uat to wait for its approval", || {
        let run = members.run(&members.name)?;
        let uat = run.waves.get(1).map(|wave| wave.state);
        Ok((run.revision == 2 && uat == Some(WavePhase::WaitingApproval)).then_some(run))
    })?;
    let names = |wave: usize| -> Vec<String> {
        let clusters = run.waves[wave].clusters.iter();
        clusters.map(|cluster| cluster.name.clone()).collect()
    };
    ensure!(
        (names(0).len(), names(1).len(), names(2).len()) == (1, 4, 3),
        "{run:#?}"
    );
    ensure!(
        run.waves[1].started_at >= run.waves[0].finished_at && run.waves[0].finished_at.is_some(),
        "uat began before sit had soaked: {run:#?}"
    );
    for cluster in names(2) {
        ensure!(
            members.image(&cluster, "web")?.ends_with(":v1"),
            "{cluster} of prod runs v2 already"
        );
    }
    members.cli.run(&["rollout", "approve", &members.name])?;
    let run = members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    ensure!(
        run.waves[2].started_at >= run.waves[1].finished_at,
        "{run:#?}"
    );
    let gates: Vec<&str> = run.waves[2]
        .gates
        .iter()
        .map(|gate| gate.kind.as_str())
        .collect();
    ensure!(
        gates == ["window"] && run.waves[2].gates[0].passed,
        "{run:#?}"
    );
    for cluster in members.names() {
        ensure!(members.image(cluster, "web")?.ends_with(":v2"), "{cluster}");
    }
    Ok(())
}
