//! What is not taken away without somebody's word.

use anyhow::{Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{suite::Case, wait::until};
use serde_json::{Value, json};

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const CASES: &[Case<Members>] = &[
    (
        "brake_on_leaving_many_clusters_waits_for_an_allowance",
        "shrink",
        shrinking,
    ),
    (
        "brake_on_emptying_one_cluster_waits_for_an_allowance",
        "emptied",
        emptied,
    ),
    (
        "brake_on_dropping_many_objects_waits_for_an_allowance",
        "dropped",
        dropped,
    ),
    (
        "deleting_an_application_is_confirmed_with_its_count",
        "counted",
        counted,
    ),
];

const ALLOW_REMOVAL: &str = "bellwether.dev/allow-removal";

fn install(members: &Members, parcel: &Parcel) -> Result<()> {
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&parcel.name, 1, RunPhase::Succeeded, LIMIT)?;
    Ok(())
}

fn shrinking(members: &Members) -> Result<()> {
    let parcel = Parcel::new(&members.name, &members.name);
    install(members, &parcel)?;
    let names = members.names();
    let smaller = Parcel {
        destination: format!("{{clusters: [{}]}}", names[0]),
        ..parcel.clone()
    };
    members.cli.apply(&smaller.documents())?;
    let said = members.stalled(&parcel.name)?;
    let leaving = (names.len() - 1).to_string();
    ensure!(
        said.contains(&format!("{leaving} of {}", names.len())) && said.contains(ALLOW_REMOVAL),
        "{said}"
    );
    members.assert_items(&names, &parcel.name, parcel.items)?;
    // One less than would go is no allowance.
    let too_few = (names.len() - 2).to_string();
    members
        .cli
        .apply(&smaller.annotated(ALLOW_REMOVAL, &too_few).documents())?;
    members.stalled(&parcel.name)?;
    members.assert_items(&names, &parcel.name, parcel.items)?;
    members
        .cli
        .apply(&smaller.annotated(ALLOW_REMOVAL, &leaving).documents())?;
    for cluster in &names[1..] {
        members.wait_items(cluster, &parcel.name, 0)?;
    }
    members.assert_items(&names[..1], &parcel.name, parcel.items)
}

fn emptied(members: &Members) -> Result<()> {
    const MANY: usize = 7;
    let names = members.names();
    let target = names[1];
    for cluster in &names {
        members
            .cli
            .run(&["label", "cluster", cluster, "emptied=no"])?;
    }
    let parcels: Vec<Parcel> = (0..MANY)
        .map(|number| Parcel {
            items: 1,
            destination: "{selector: {matchLabels: {emptied: \"no\"}}}".to_owned(),
            ..Parcel::new(&format!("emptied-{number}"), &members.name)
        })
        .collect();
    for parcel in &parcels {
        members.cli.apply(&parcel.documents())?;
    }
    for parcel in &parcels {
        members.wait_ended(&parcel.name, 1, RunPhase::Succeeded, LIMIT)?;
    }
    // One label, and every application leaves the cluster: one of eight clusters each.
    members.cli.run(&["label", "cluster", target, "emptied-"])?;
    for parcel in &parcels {
        let words = format!("from cluster {target}: {MANY} of the ");
        members.stalled_by(&parcel.name, &words)?;
    }
    for parcel in &parcels {
        members.assert_items(&names, &parcel.name, 1)?;
    }
    for parcel in &parcels {
        members
            .cli
            .apply(&parcel.annotated(ALLOW_REMOVAL, "1").documents())?;
    }
    for parcel in &parcels {
        members.wait_items(target, &parcel.name, 0)?;
    }
    for parcel in &parcels {
        members.assert_items(&[names[0]], &parcel.name, 1)?;
        members
            .cli
            .run(&["delete", "application", &parcel.name, "-y"])?;
    }
    Ok(())
}

fn dropped(members: &Members) -> Result<()> {
    let parcel = Parcel {
        items: 9,
        ..Parcel::new(&members.name, &members.name)
    };
    install(members, &parcel)?;
    let names = members.names();
    let smaller = Parcel {
        items: 2,
        ..parcel.clone()
    };
    members.cli.apply(&smaller.documents())?;
    let said = members.stalled(&parcel.name)?;
    ensure!(
        said.contains("7 of its 9 objects") && said.contains("bellwether.dev/allow-prune"),
        "{said}"
    );
    members.assert_items(&names, &parcel.name, 9)?;
    // Somebody else's finalizer keeps one of them, in one cluster.
    let held = format!("{}-8", parcel.name);
    let hold = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        let cluster = members.cluster(names[0])?;
        cluster.patch("v1", "ConfigMap", &members.name, &held, &patch)
    };
    hold(json!(["example.com/hold"]))?;
    let allowed = smaller.annotated("bellwether.dev/allow-prune", "7");
    members.cli.apply(&allowed.documents())?;
    members.wait_ended(&parcel.name, 2, RunPhase::Succeeded, LIMIT)?;
    // What the release lacks goes after it succeeded.
    for cluster in &names[1..] {
        members.wait_items(cluster, &parcel.name, 2)?;
    }
    members.wait_items(names[0], &parcel.name, 3)?;
    let told = || -> Result<bool> {
        let tree = members.cli.run(&["tree", "application", &parcel.name])?;
        Ok(tree.contains("something holds it") && tree.contains(&held))
    };
    until(LIMIT, "the tree to name what is held", || {
        Ok(told()?.then_some(()))
    })?;
    hold(Value::Null)?;
    members.wait_items(names[0], &parcel.name, 2)?;
    until(LIMIT, "the tree to forget it", || {
        Ok((!told()?).then_some(()))
    })
}

fn counted(members: &Members) -> Result<()> {
    let parcel = Parcel::new(&members.name, &members.name);
    install(members, &parcel)?;
    let names = members.names();
    let delete = ["delete", "application", parcel.name.as_str()];
    let count = names.len().to_string();
    // Nobody is there to be asked.
    let unconfirmed = members.cli.call(&delete, None)?;
    ensure!(
        unconfirmed.code == 2 && unconfirmed.stderr.contains(&format!("--clusters {count}")),
        "{unconfirmed:?}"
    );
    let wrong = members
        .cli
        .call(&[&delete[..], &["--clusters", "2"]].concat(), None)?;
    ensure!(
        wrong.code == 6 && wrong.stderr.contains(&format!("runs on {count} clusters")),
        "{wrong:?}"
    );
    members.assert_items(&names, &parcel.name, parcel.items)?;
    members
        .cli
        .run(&[&delete[..], &["--clusters", &count]].concat())?;
    for cluster in &names {
        members.wait_items(cluster, &parcel.name, 0)?;
    }
    Ok(())
}
