//! Replicas that are divided over clusters.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_divided_replicas_are_what_plan_said_and_move_one_way",
    "divided",
    divided,
)];

/// Replicas by cluster.
type Shares = BTreeMap<String, u64>;

fn application(members: &Members, clusters: &[&str], replicas: u64) -> String {
    let labels = json!({"app": "web"});
    let names = members.names();
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"clusters": clusters}, "targetNamespace": members.name,
            "placement": {"division": {"mode": "Static", "weights": [
                {"clusters": [names[2]], "weight": 3}, {"clusters": [names[6]], "weight": 0},
            ]}},
            "waves": [{"name": "all", "maxConcurrent": "100%"}],
            "components": [{"name": "web", "manifests": [{
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "labels": labels},
                "spec": {
                    "replicas": replicas, "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [
                            {"name": "web", "image": "bellwether.local/demo:v1"},
                        ]},
                    },
                },
            }]}],
        },
    })
    .to_string()
}

/// What each cluster would get, as `plan` says.
fn planned(members: &Members, document: &str, total: u64) -> Result<Shares> {
    let file = members.directory.join("divided.json");
    std::fs::write(&file, document)?;
    let file = file.to_str().context("paths are UTF-8")?;
    let plan = members.cli.json(&["plan", file])?;
    let clusters = plan["applications"][0]["clusters"].as_array();
    let mut shares = Shares::new();
    for one in clusters.with_context(|| format!("{plan}"))? {
        let Some(text) = one["replicas"][0].as_str() else {
            continue;
        };
        let share = text
            .strip_prefix("Deployment/web ")
            .and_then(|text| text.strip_suffix(&format!(" of {total}")))
            .with_context(|| format!("{plan}"))?;
        let share = if share == "none" { 0 } else { share.parse()? };
        let name = one["cluster"].as_str().context("a name")?;
        shares.insert(name.to_owned(), share);
    }
    ensure!(shares.values().sum::<u64>() == total, "{plan}");
    Ok(shares)
}

/// Waits until the Deployments have the size that `plan` said, with as many pods ready.
fn wait_shares(members: &Members, shares: &Shares) -> Result<()> {
    for (cluster, share) in shares {
        let mut last = Value::Null;
        until(LIMIT, &format!("{share} replicas in {cluster}"), || {
            last = members
                .read(cluster, "Deployment", "web")?
                .unwrap_or_default();
            let ready = last["status"]["readyReplicas"].as_u64().unwrap_or_default();
            Ok((last["spec"]["replicas"] == *share && ready == *share).then_some(()))
        })
        .with_context(|| format!("{last}"))?;
    }
    Ok(())
}

/// Brings a number of replicas to these clusters, and gives who gets how many.
fn bring(members: &Members, clusters: &[&str], total: u64, revision: u64) -> Result<Shares> {
    let document = application(members, clusters, total);
    let shares = planned(members, &document, total)?;
    ensure!(shares.len() == clusters.len(), "{shares:?}");
    members.cli.apply(&document)?;
    members.wait_ended(&members.name, revision, RunPhase::Succeeded, LIMIT)?;
    wait_shares(members, &shares)?;
    Ok(shares)
}

fn divided(members: &Members) -> Result<()> {
    let names = members.names();
    let [heavy, plain, other, none] = [names[2], names[4], names[5], names[6]];
    let all = [heavy, plain, other, none];
    let first = bring(members, &all, 10, 1)?;
    let template = |cluster: &str| -> Result<Value> {
        let object = members.read(cluster, "Deployment", "web")?;
        Ok(object.context("a Deployment")?["spec"]["template"].clone())
    };
    let before = template(heavy)?;
    ensure!(
        first[none] == 0 && first[plain] == first[other] && first[heavy] > 2 * first[plain],
        "{first:?} is not by weight"
    );
    let more = bring(members, &all, 13, 2)?;
    let loses = |from: &Shares, to: &Shares| to.iter().any(|(name, share)| from[name] > *share);
    ensure!(!loses(&first, &more), "{first:?}, then {more:?}");
    let fewer = bring(members, &all, 7, 3)?;
    ensure!(!loses(&fewer, &more), "{more:?}, then {fewer:?}");

    // Who stays only gains, by a release of its own that restarts nothing.
    let left = bring(members, &[heavy, plain, none], 7, 4)?;
    ensure!(!loses(&fewer, &left), "{fewer:?}, then {left:?}");
    members.wait_gone(other, "Deployment", "web")?;
    ensure!(template(heavy)? == before, "its pods are as they were");

    // Who comes back starts with nothing, and is given its share by the next release.
    let back = bring(members, &all, 7, 5)?;
    ensure!(
        back == fewer,
        "{fewer:?}, and {back:?} with the same clusters"
    );
    Ok(())
}
