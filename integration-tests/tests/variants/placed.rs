//! Where an application is placed, and what moves it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};

use crate::{
    parcel::Parcel,
    stage::{Afterwards, LIMIT, Members, REGIONS},
};

/// A cordon is met by every application that is placed meanwhile.
pub const ALONE: &[Case<Members>] = &[(
    "control_plane_placement_spreads_keeps_and_moves_by_a_drain_alone",
    "placed",
    placement,
)];

/// An application on so many clusters, two of a region at most.
fn documents(members: &Members, count: usize, version: &str) -> String {
    let parcel = Parcel {
        version: version.to_owned(),
        ..Parcel::new(&members.name, &members.name)
    };
    let placement = format!(
        "spec:\n  placement: {{pick: \"N\", count: {count}, spread: [{{by: region, max: 2}}]}}\n"
    );
    parcel.documents().replacen("spec:\n", &placement, 1)
}

/// Clusters that have the application, asked in this order.
fn holders<'a>(members: &Members, clusters: &[&'a str]) -> Result<BTreeSet<&'a str>> {
    let mut found = BTreeSet::new();
    for cluster in clusters {
        if !members.items(cluster, &members.name)?.is_empty() {
            found.insert(*cluster);
        }
    }
    Ok(found)
}

/// Waits until as many clusters have it, and checks the spread.
fn wait_holders(members: &Members, count: usize) -> Result<BTreeSet<&str>> {
    let names = members.names();
    let what = format!("{count} clusters to have it");
    let found = until(LIMIT, &what, || {
        let found = holders(members, &names)?;
        Ok((found.len() == count).then_some(found))
    })?;
    let mut groups = BTreeMap::new();
    for (name, region) in names.iter().zip(REGIONS) {
        *groups.entry(region).or_insert(0) += u32::from(found.contains(name));
    }
    ensure!(
        groups.values().all(|count| (1..=2).contains(count)),
        "{found:?} are not spread: {groups:?}"
    );
    Ok(found)
}

/// Takes every cluster back into use when the test ends.
fn uncordoned(members: &Members) -> Afterwards<impl FnMut() -> Result<()>> {
    Afterwards::of(move || {
        for cluster in members.names() {
            members.cli.run(&["uncordon", cluster])?;
        }
        Ok(())
    })
}

fn placement(members: &Members) -> Result<()> {
    let _uncordoned = uncordoned(members);
    members.cli.apply(&documents(members, 4, "v1"))?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let first = wait_holders(members, 4)?;

    // Who would come next does not, once it takes nothing new.
    let next = planned(members, 5)?;
    let next = next.difference(&first).copied().next().context("a fifth")?;
    members.cli.run(&["cordon", next, "--reason", "repairs"])?;
    members.cli.apply(&documents(members, 5, "v1"))?;
    let second = wait_holders(members, 5)?;
    ensure!(
        second.is_superset(&first) && !second.contains(next),
        "{first:?}, then without {next} {second:?}"
    );

    // What has it goes on while it is cordoned.
    let kept = *first.iter().next().context("one")?;
    members.cli.run(&["cordon", kept, "--reason", "repairs"])?;
    members.cli.apply(&documents(members, 5, "v2"))?;
    members.wait_ended(&members.name, 2, RunPhase::Succeeded, LIMIT)?;
    let object = members.read(kept, "ConfigMap", &format!("{}-0", members.name))?;
    let object = object.with_context(|| format!("{kept} lost it"))?;
    ensure!(object["data"]["version"] == "v2", "{kept}: {object}");
    ensure!(wait_holders(members, 5)? == second);
    members.cli.run(&["uncordon", next])?;
    drained(members, kept, &second)?;
    let why = members.cli.run(&["explain", "placement", &members.name])?;
    ensure!(why.contains(kept), "{why}");
    Ok(())
}

/// Who would have it, as `plan` says.
fn planned(members: &Members, count: usize) -> Result<BTreeSet<&str>> {
    let file = members.directory.join("placed.yaml");
    std::fs::write(&file, documents(members, count, "v1"))?;
    let file = file.to_str().context("paths are UTF-8")?;
    let told = members.cli.run(&["plan", file])?;
    let is_told = |name: &&str| {
        told.lines().any(|line| {
            let mut words = line.split_whitespace().filter(|word| *word != "+");
            words.next() == Some(*name) && !line.starts_with('-')
        })
    };
    Ok(members.names().into_iter().filter(is_told).collect())
}

/// Another one has it before the drained one loses it.
fn drained(members: &Members, cluster: &str, before: &BTreeSet<&str>) -> Result<()> {
    let said = members
        .cli
        .run(&["drain", cluster, "--reason", "repairs"])?;
    ensure!(said.contains(&members.name), "{said}");
    // The drained one first: whoever takes its place may come while the others are asked.
    let mut order = vec![cluster];
    order.extend(members.names().into_iter().filter(|name| *name != cluster));
    until(LIMIT, "another cluster to take its place", || {
        let found = holders(members, &order)?;
        ensure!(found.len() >= before.len(), "too few have it: {found:?}");
        Ok((!found.contains(cluster) && found.len() == before.len()).then_some(()))
    })?;
    let after = wait_holders(members, before.len())?;
    let stayed = before.intersection(&after).count();
    ensure!(
        stayed == before.len() - 1,
        "nobody else moves: {before:?}, then {after:?}"
    );
    Ok(())
}
