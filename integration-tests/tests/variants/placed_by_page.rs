//! The examples of docs/placement.md, on clusters with the labels that they name.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::json;

use crate::{
    page::{example, fitted},
    stage::{Afterwards, LIMIT, Members, REGIONS},
};

/// Others would be kept from a cluster with a taint.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_examples_of_placement_choose_and_divide_as_the_page_says",
    "pageplaced",
    placed,
)];

/// Clusters of production, by their index: two of the first region, one of the second, and the tainted one
/// of the third. Another one of the second is at the edge.
const PRODUCTION: [usize; 5] = [0, 1, 3, 4, 6];
const AT_THE_EDGE: usize = 4;
const TAINTED: usize = 6;
const LARGE: usize = 0;

fn label(members: &Members, index: usize, change: &str) -> Result<()> {
    let cluster = members.names()[index];
    let arguments = ["label", "cluster", cluster, change];
    members.cli.run(&arguments).map(|_| ())
}

/// The record of the tainted cluster, with and without its taint, and with the labels that it has.
fn tainted(members: &Members, is_tainted: bool) -> Result<String> {
    let name = members.names()[TAINTED];
    let shown = members.cli.json(&["get", "cluster", name])?;
    let taints = match is_tainted {
        true => json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
        false => json!([]),
    };
    Ok(json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": name, "labels": shown["metadata"]["labels"]},
        "spec": {"taints": taints},
    })
    .to_string())
}

fn clean_up(members: &Members) -> Result<()> {
    members.cli.apply(&tainted(members, false)?)?;
    for index in PRODUCTION {
        label(members, index, "placedenv-")?;
    }
    label(members, AT_THE_EDGE, "grade-")?;
    label(members, LARGE, "size-")
}

/// An example under a name of the test's.
fn fit(
    members: &Members,
    application: &str,
    marker: &str,
    more: &[(&str, &str)],
) -> Result<String> {
    let name = format!("{{name: {application}, namespace: default}}");
    let placed = format!("  targetNamespace: {}\n  placement:\n", members.name);
    let mut changes = vec![
        ("{name: shop, namespace: default}", name.as_str()),
        (
            "{matchLabels: {env: prod}}",
            "{matchLabels: {placedenv: prod}}",
        ),
        ("  placement:\n", &placed),
    ];
    changes.extend(more);
    fitted(&example("placement.md", marker)?, &changes)
}

fn placed(members: &Members) -> Result<()> {
    let _cleaned = Afterwards::of(|| clean_up(members));
    for index in PRODUCTION {
        label(members, index, "placedenv=prod")?;
    }
    label(members, AT_THE_EDGE, "grade=edge")?;
    label(members, LARGE, "size=large")?;
    chosen(members)?;
    divided(members)
}

/// Waits until exactly these clusters have the ConfigMap.
fn wait_holders(members: &Members, wanted: &BTreeSet<usize>) -> Result<()> {
    let mut found = BTreeSet::new();
    until(LIMIT, &format!("{wanted:?} to have it"), || {
        found.clear();
        for (index, cluster) in members.names().into_iter().enumerate() {
            if members.read(cluster, "ConfigMap", "shop")?.is_some() {
                found.insert(index);
            }
        }
        Ok((found == *wanted).then_some(()))
    })
    .with_context(|| format!("{found:?} have it"))
}

/// The page's Application, without its second document, which is the tainted cluster.
fn chosen(members: &Members) -> Result<()> {
    let both = fit(
        members,
        &members.name,
        "affinity:",
        &[("{label: tier,", "{label: grade,")],
    )?;
    let (application, cluster) = both.split_once("---\n").context("two documents")?;
    ensure!(
        cluster.contains("{key: gpu, value: \"yes\", effect: NoSchedule}"),
        "{cluster}"
    );
    members.cli.apply(&tainted(members, true)?)?;
    let gpu = "    tolerations:\n      - {key: gpu, operator: Exists, effect: NoSchedule}\n";
    let intolerant = fitted(application, &[(gpu, "")])?;
    members.cli.apply(&intolerant)?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    // Two of a region at most, none at the edge, and not the tainted one.
    let first: BTreeSet<usize> = [0, 1, 3].into();
    wait_holders(members, &first)?;
    let why = members.cli.run(&["explain", "placement", &members.name])?;
    for (index, words) in [(TAINTED, "gpu"), (AT_THE_EDGE, "grade")] {
        let cluster = members.names()[index];
        let mut lines = why.lines();
        ensure!(
            lines.any(|line| line.contains(cluster) && line.contains(words)),
            "{cluster}, {words}: {why}"
        );
    }
    // As the page has it: who is tolerated now moves nobody, and is the next to come.
    members.cli.apply(application)?;
    members
        .cli
        .apply(&fitted(application, &[("count: 3", "count: 4")])?)?;
    let second: BTreeSet<usize> = [0, 1, 3, TAINTED].into();
    wait_holders(members, &second)
}

/// Ten pods over five clusters: the large one has three times as many as another, and one has none.
fn divided(members: &Members) -> Result<()> {
    let name = format!("{}-divided", members.name);
    let without = members.names()[TAINTED];
    let more = [
        ("clusters: [de-2]", format!("clusters: [{without}]")),
        (
            "registry.example/shop:1",
            "bellwether.local/demo:v1".to_owned(),
        ),
        // It is tainted still.
        (
            "    division:\n",
            "    tolerations: [{key: gpu, operator: Exists}]\n    division:\n".to_owned(),
        ),
    ];
    let more: Vec<(&str, &str)> = more.iter().map(|(from, to)| (*from, to.as_str())).collect();
    members
        .cli
        .apply(&fit(members, &name, "division:", &more)?)?;
    let shares = until(LIMIT, "ten pods over the clusters", || {
        let mut shares = BTreeMap::new();
        for index in PRODUCTION {
            let live = members.read(members.names()[index], "Deployment", "shop")?;
            let count = live.and_then(|live| live["spec"]["replicas"].as_u64());
            shares.insert(index, count);
        }
        let known: Option<Vec<u64>> = shares.values().copied().collect();
        let all = known.is_some_and(|known| known.iter().sum::<u64>() == 10);
        Ok(all.then_some(shares))
    })?;
    let share = |index: usize| shares[&index].unwrap_or_default();
    ensure!(
        share(LARGE) == 5 && share(TAINTED) == 0,
        "5 of 10 by weight 3 of 6, and none by weight 0: {shares:?}"
    );
    let regions: BTreeSet<&str> = PRODUCTION.iter().map(|index| REGIONS[*index]).collect();
    ensure!(regions.len() == 3, "{regions:?}");
    members
        .cli
        .run(&["delete", "application", &name, "-y"])
        .map(|_| ())
}
