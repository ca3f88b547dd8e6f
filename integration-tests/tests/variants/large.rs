//! Applications near what an agent takes, and beyond.

use anyhow::{Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::suite::Case;

use crate::{
    parcel::Parcel,
    stage::{LIMIT, Members},
};

pub const CASES: &[Case<Members>] = &[
    (
        "more_than_an_agent_takes_is_said_beside_an_application_that_comes_in",
        "large",
        too_large,
    ),
    (
        "objects_beyond_a_thousand_are_remembered_and_go_with_their_application",
        "many",
        many,
    ),
];

fn too_large(members: &Members) -> Result<()> {
    let names = members.names();
    let large = Parcel {
        items: 19,
        ..Parcel::new(&members.name, &members.name)
    };
    // 19 objects of 900,000 bytes, in one of the clusters.
    let overrides = format!(
        "  overrides:\n  - name: large\n    clusters: [{}]\n    patches:\n    \
         - {{target: {{kind: ConfigMap}}, merge: {{data: {{text: {}}}}}}}\n  components:\n",
        names[1],
        "a".repeat(900_000)
    );
    let documents = large.documents().replacen("  components:\n", &overrides, 1);
    members.cli.apply(&documents)?;
    let small = Parcel::new(&format!("{}-small", members.name), &members.name);
    members.cli.apply(&small.documents())?;
    members.wait_ended(&small.name, 1, RunPhase::Succeeded, LIMIT)?;
    let said = members.stalled(&large.name)?;
    ensure!(
        said.contains("TooLarge: 17")
            && said.contains(names[1])
            && said.contains("16777216")
            && said.contains("divide it into two applications"),
        "{said}"
    );
    members.assert_items(&names, &large.name, 0)?;
    members.cli.apply(&large.documents())?;
    members.wait_ended(&large.name, 1, RunPhase::Succeeded, LIMIT)?;
    members.assert_items(&names, &large.name, large.items)
}

fn many(members: &Members) -> Result<()> {
    let names = members.names();
    let parcel = Parcel {
        items: 1_100,
        destination: format!("{{clusters: [{}]}}", names[2]),
        ..Parcel::new(&members.name, &members.name)
    };
    members.cli.apply(&parcel.documents())?;
    members.wait_ended(&parcel.name, 1, RunPhase::Succeeded, LIMIT)?;
    members.assert_items(&names[2..3], &parcel.name, parcel.items)?;
    let records = members.cluster(names[2])?.list(
        "bellwether.dev/v1alpha1",
        "SyncRecord",
        "bellwether-system",
    )?;
    let key = format!("application/default/{}", parcel.name);
    let units = records
        .iter()
        .filter_map(|record| record["spec"]["units"].as_array());
    let unit = units.flatten().find(|unit| unit["key"] == key.as_str());
    ensure!(
        unit.is_some_and(|unit| unit["packedObjects"].is_string()),
        "{unit:?}"
    );
    members.cli.run(&[
        "delete",
        "application",
        parcel.name.as_str(),
        "--clusters",
        "1",
    ])?;
    members.wait_items(names[2], &parcel.name, 0)
}
