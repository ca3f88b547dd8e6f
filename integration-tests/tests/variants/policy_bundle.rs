//! The bundle of policies that Kyverno publishes, over a fleet.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use bellwether_api::view::{RunPhase, WavePhase};
use bellwether_integration_tests::{
    chart_repository::ChartRepository, cluster::Member, stock_chart::KYVERNO_POLICIES, suite::Case,
    wait::until,
};
use serde_json::{Value, json};

use crate::stage::{Afterwards, LIMIT, Members, grant_everywhere};

/// While an add-on is not healthy, nothing else comes into a cluster anew.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_policies_of_kyverno_are_an_add_on_of_a_fleet_and_change_by_waves",
    "policed",
    policies,
)];

/// The policies of the profile `baseline`, which the chart has unless it is told another.
const BASELINE: [&str; 11] = [
    "disallow-capabilities",
    "disallow-host-namespaces",
    "disallow-host-path",
    "disallow-host-ports",
    "disallow-host-process",
    "disallow-privileged-containers",
    "disallow-proc-mount",
    "disallow-selinux",
    "restrict-apparmor-profiles",
    "restrict-seccomp",
    "restrict-sysctls",
];

fn bundle(members: &Members, url: &str, action: &str) -> String {
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            // The others get it as an add-on.
            "destination": {"clusters": [members.names()[0]]}, "targetNamespace": members.name,
            "waves": [
                {"name": "first", "selector": {"matchLabels": {"tier": "canary"}},
                    "after": [{"approval": {}}]},
                {"name": "rest", "maxConcurrent": "100%"},
            ],
            "components": [{"name": "policies", "helm": {
                "repository": url, "chart": KYVERNO_POLICIES.name,
                "version": KYVERNO_POLICIES.version,
                "values": {"validationFailureAction": action},
            }}],
        },
    })
    .to_string()
}

/// Policies of a cluster with what each of their rules does.
fn enforced(member: &Member) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let listed = member.list_cluster("kyverno.io/v1", "ClusterPolicy")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let policies = listed.iter().map(|policy| {
        let rules = policy["spec"]["rules"].as_array().into_iter().flatten();
        let actions = rules.map(|rule| text(&rule["validate"]["failureAction"]));
        (text(&policy["metadata"]["name"]), actions.collect())
    });
    Ok(policies.collect())
}

/// Fails unless each of `clusters` has the whole bundle, and all of it does this.
fn all_do(members: &Members, clusters: &[&str], action: &str) -> Result<()> {
    let wanted: BTreeMap<String, BTreeSet<String>> = BASELINE
        .into_iter()
        .map(|name| (name.to_owned(), BTreeSet::from([action.to_owned()])))
        .collect();
    for cluster in clusters {
        let found = enforced(members.cluster(cluster)?)?;
        ensure!(found == wanted, "{cluster}: {found:#?}");
    }
    Ok(())
}

fn policies(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let names = members.names();
    for (_, member) in members.each() {
        grant_everywhere(member, name, &[("kyverno.io", "clusterpolicies")])?;
    }
    let mut repository = ChartRepository::start()?;
    repository.publish_stock(&KYVERNO_POLICIES)?;
    let fleet = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"fleet": "breadth"}}},
    });
    let first = bundle(members, &repository.url(), "Audit");
    members.cli.apply(&format!("{first}\n---\n{fleet}"))?;
    let _without = Afterwards::of(|| {
        let delete = ["delete", "fleet", name, "-y"];
        members.cli.run(&delete).map(|_| ())
    });
    members.wait_ended(name, 1, RunPhase::Succeeded, LIMIT)?;
    all_do(members, &names[..1], "Audit")?;
    for (cluster, member) in members.each().skip(1) {
        ensure!(enforced(member)?.is_empty(), "{cluster} has policies");
    }
    members.cli.run(&["addon", "enable", name, name])?;
    until(LIMIT, "every member to have its add-on", || {
        let listed = members.cli.run(&["addon", "list", name])?;
        Ok(listed.contains("8/8").then_some(()))
    })?;
    all_do(members, &names, "Audit")?;

    members
        .cli
        .apply(&bundle(members, &repository.url(), "Enforce"))?;
    by_waves(members)?;
    members.cli.run(&["addon", "disable", name, name])?;
    members.cli.run(&["delete", "application", name, "-y"])?;
    for (cluster, member) in members.each() {
        until(LIMIT, &format!("no policy to be in {cluster}"), || {
            Ok(enforced(member)?.is_empty().then_some(()))
        })?;
    }
    Ok(())
}

/// The first wave enforces the bundle, and the others once a human has approved it.
fn by_waves(members: &Members) -> Result<()> {
    let name = members.name.as_str();
    let names = members.names();
    members.wait_run(name, 2, LIMIT, "the approval to be awaited", |run| {
        let first = run.waves.first();
        first.is_some_and(|wave| wave.state == WavePhase::WaitingApproval)
    })?;
    all_do(members, &names[..1], "Enforce")?;
    all_do(members, &names[1..], "Audit")?;
    members.cli.run(&["rollout", "approve", name])?;
    members.wait_ended(name, 2, RunPhase::Succeeded, LIMIT)?;
    all_do(members, &names, "Enforce")
}
