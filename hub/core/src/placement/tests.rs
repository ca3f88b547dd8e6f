use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{application::Destination, fleet::FleetSpec, selector::Selector};
use uuid::Uuid;

use super::{ClusterFacts, PlacementCondition, PlacementError, Removal, place, removal};

fn cluster(number: u128, name: &str, region: &str) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::from_u128(number),
        name: name.to_owned(),
        labels: BTreeMap::from([("region".to_owned(), region.to_owned())]),
        metrics: None,
        traffic: Vec::new(),
        scheduling: std::sync::Arc::default(),
    }
}

fn region(name: &str) -> Selector {
    Selector {
        match_labels: BTreeMap::from([("region".to_owned(), name.to_owned())]),
        match_expressions: Vec::new(),
    }
}

fn clusters() -> Vec<ClusterFacts> {
    vec![
        cluster(3, "c", "us"),
        cluster(1, "a", "eu"),
        cluster(2, "b", "eu"),
    ]
}

fn names(destination: &Destination, fleet: Option<&FleetSpec>) -> Vec<String> {
    let placement = place(destination, fleet, &clusters()).expect("a placement");
    placement
        .clusters
        .into_iter()
        .map(|cluster| cluster.name)
        .collect()
}

#[test]
fn everything_that_is_named_must_hold() {
    let fleet = FleetSpec {
        clusters: vec!["c".to_owned()],
        selector: Some(region("eu")),
        ..FleetSpec::default()
    };
    let by_fleet = Destination {
        fleet: Some("f".to_owned()),
        ..Destination::default()
    };
    assert_eq!(names(&by_fleet, Some(&fleet)), ["a", "b", "c"]);
    let narrowed = Destination {
        selector: Some(region("us")),
        ..by_fleet.clone()
    };
    assert_eq!(names(&narrowed, Some(&fleet)), ["c"]);
    let named = Destination {
        clusters: vec!["b".to_owned(), "zz".to_owned()],
        ..by_fleet
    };
    assert_eq!(names(&named, Some(&fleet)), ["b"]);
    let everywhere = Destination {
        selector: Some(Selector::default()),
        ..Destination::default()
    };
    assert_eq!(names(&everywhere, None), ["a", "b", "c"]);
}

#[test]
fn what_cannot_be_placed_is_said() {
    let missing = Destination {
        fleet: Some("f".to_owned()),
        ..Destination::default()
    };
    assert_eq!(
        place(&missing, None, &clusters()),
        Err(PlacementError::NoSuchFleet {
            name: "f".to_owned()
        })
    );
    assert_eq!(
        place(&Destination::default(), None, &clusters()),
        Err(PlacementError::Empty)
    );
    let nothing = Destination {
        selector: Some(region("mars")),
        ..Destination::default()
    };
    let placement = place(&nothing, None, &clusters()).expect("an empty placement");
    assert_eq!(placement.conditions(), [PlacementCondition::NoClusters]);
}

#[test]
fn a_shrinking_destination_meets_the_brake() {
    let ids = |range: std::ops::Range<u128>| range.map(Uuid::from_u128).collect::<BTreeSet<_>>();
    assert_eq!(
        removal(&ids(0..10), &ids(0..8), None),
        Removal::Allowed(vec![Uuid::from_u128(8), Uuid::from_u128(9)])
    );
    assert_eq!(
        removal(&ids(0..10), &ids(0..7), None),
        Removal::Held {
            leaving: 3,
            holding: 10
        }
    );
    assert_eq!(
        removal(&ids(0..10), &ids(0..7), Some(2)),
        Removal::Held {
            leaving: 3,
            holding: 10
        }
    );
    assert!(matches!(
        removal(&ids(0..10), &ids(0..7), Some(3)),
        Removal::Allowed(_)
    ));
    assert_eq!(
        removal(&ids(0..1), &ids(0..0), None),
        Removal::Allowed(vec![Uuid::from_u128(0)])
    );
    assert!(matches!(
        removal(&ids(0..2), &ids(0..0), None),
        Removal::Held { .. }
    ));
}
