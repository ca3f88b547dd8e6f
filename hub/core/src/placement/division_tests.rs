use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{
    cluster::{NodeProperties, PodRequests},
    division::{Division, DivisionMode},
};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{
    ClusterFacts, Divisible, DivisionError, FrozenDivision, Properties, Scheduling, freeze,
};

const GIB: u64 = 1 << 30;

/// A cluster with that many cores and gibibytes free; absent = it is not known.
fn cluster(name: &str, tier: &str, free: Option<(u64, u64)>) -> ClusterFacts {
    let nodes = free.map(|(cpu, memory)| NodeProperties {
        ready: 3,
        allocatable_cpu_milli: cpu * 1_000 + 500,
        allocatable_memory_bytes: (memory + 1) * GIB,
        requested: Some(PodRequests {
            cpu_milli: 500,
            memory_bytes: GIB,
        }),
        ..NodeProperties::default()
    });
    ClusterFacts {
        id: Uuid::from_u128(name.bytes().map(u128::from).sum()),
        name: name.to_owned(),
        labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
        metrics: None,
        traffic: Vec::new(),
        scheduling: Arc::new(Scheduling {
            properties: Properties {
                nodes,
                ..Properties::default()
            },
            ..Scheduling::default()
        }),
    }
}

fn asked(mode: DivisionMode) -> Division {
    Division {
        mode,
        weights: Vec::new(),
    }
}

fn frozen(
    asked: &Division,
    before: Option<&FrozenDivision>,
    clusters: &[ClusterFacts],
) -> FrozenDivision {
    freeze(asked, before, clusters, |_| BTreeSet::new()).expect("a division")
}

/// Pods of one core and two gibibytes each.
fn web(replicas: u32) -> Divisible {
    Divisible {
        replicas,
        pod: PodRequests {
            cpu_milli: 1_000,
            memory_bytes: 2 * GIB,
        },
    }
}

fn shares(division: &FrozenDivision, workload: Divisible) -> Vec<(&str, u32)> {
    division.shares("web", workload).into_iter().collect()
}

#[test]
fn static_divides_by_weights_of_which_a_later_one_wins() {
    let division: Division = serde_json::from_value(json!({"mode": "Static", "weights": [
        {"selector": {"matchLabels": {"tier": "big"}}, "weight": 3},
        {"clusters": ["c4"], "weight": 0}]}))
    .expect("a division");
    let clusters = [
        cluster("c1", "big", None),
        cluster("c2", "small", None),
        cluster("c3", "small", None),
        cluster("c4", "big", None),
    ];
    let found = frozen(&division, None, &clusters);
    let wanted = [("c1", 6), ("c2", 2), ("c3", 2), ("c4", 0)];
    assert_eq!(shares(&found, web(10)), wanted);
    assert_eq!(found.share("c9", "web", web(10)), 0, "it is none of them");
    let none: Division = serde_json::from_value(json!({"mode": "Static", "weights": [
        {"clusters": ["c1"], "weight": 0}]}))
    .expect("a division");
    let error = freeze(&none, None, &clusters[..1], |_| BTreeSet::new());
    assert!(matches!(error, Err(DivisionError::NoWeight { .. })));
}

#[test]
fn a_component_is_divided_over_those_that_get_it() {
    let clusters = [cluster("c1", "big", None), cluster("c2", "small", None)];
    let without = |one: &ClusterFacts| match one.name.as_str() {
        "c1" => BTreeSet::from(["web".to_owned()]),
        _ => BTreeSet::new(),
    };
    let found = freeze(&asked(DivisionMode::Static), None, &clusters, without).expect("divided");
    assert_eq!(shares(&found, web(3)), [("c2", 3)]);
    let other: Vec<(&str, u32)> = found.shares("worker", web(3)).into_iter().collect();
    assert_eq!(other, [("c1", 2), ("c2", 1)]);
}

#[test]
fn dynamic_divides_by_how_many_pods_fit() {
    // Six pods fit by CPU and two by memory; two and twelve.
    let clusters = [
        cluster("c1", "a", Some((6, 4))),
        cluster("c2", "a", Some((2, 24))),
    ];
    let found = frozen(&asked(DivisionMode::Dynamic), None, &clusters);
    assert_eq!(shares(&found, web(2)), [("c1", 1), ("c2", 1)]);
    assert_eq!(shares(&found, web(4)), [("c1", 2), ("c2", 2)]);
    let free_of_charge = Divisible {
        replicas: 8,
        pod: PodRequests::default(),
    };
    let by_cpu = [("c1", 6), ("c2", 2)];
    assert_eq!(shares(&found, free_of_charge), by_cpu);
}

#[test]
fn aggregated_takes_the_fewest_that_hold_it() {
    let clusters = [
        cluster("c1", "a", Some((2, 64))),
        cluster("c2", "a", Some((8, 64))),
        cluster("c3", "a", Some((4, 64))),
    ];
    let found = frozen(&asked(DivisionMode::Aggregated), None, &clusters);
    assert_eq!(shares(&found, web(8)), [("c1", 0), ("c2", 8), ("c3", 0)]);
    assert_eq!(shares(&found, web(9)), [("c1", 0), ("c2", 8), ("c3", 1)]);
    assert_eq!(shares(&found, web(14)), [("c1", 2), ("c2", 8), ("c3", 4)]);
    let beyond = shares(&found, web(28));
    assert_eq!(beyond, [("c1", 4), ("c2", 16), ("c3", 8)]);
}

#[test]
fn what_is_free_later_moves_nobody_and_a_new_cluster_comes_last() {
    for mode in [DivisionMode::Dynamic, DivisionMode::Aggregated] {
        let first = [
            cluster("c1", "a", Some((6, 64))),
            cluster("c2", "a", Some((3, 64))),
        ];
        let before = frozen(&asked(mode), None, &first);
        for now in [Some((1, 1)), Some((90, 900)), None] {
            let clusters = [cluster("c1", "a", now), cluster("c2", "a", now)];
            assert_eq!(frozen(&asked(mode), Some(&before), &clusters), before);
        }
    }
    let asked = asked(DivisionMode::Aggregated);
    let before = frozen(&asked, None, &[cluster("c2", "a", Some((4, 64)))]);
    let clusters = [
        cluster("c1", "a", Some((90, 900))),
        cluster("c2", "a", Some((4, 64))),
    ];
    let after = frozen(&asked, Some(&before), &clusters);
    assert_eq!(
        shares(&after, web(4)),
        [("c1", 0), ("c2", 4)],
        "nobody moves"
    );
    assert_eq!(shares(&after, web(6)), [("c1", 2), ("c2", 4)]);
}

#[test]
fn whoever_is_not_known_gets_nothing_until_it_is() {
    let dynamic = asked(DivisionMode::Dynamic);
    let clusters = [cluster("c1", "a", None), cluster("c2", "a", Some((4, 64)))];
    let before = frozen(&dynamic, None, &clusters);
    assert_eq!(shares(&before, web(4)), [("c1", 0), ("c2", 4)]);
    let known = [cluster("c1", "a", Some((4, 64))), clusters[1].clone()];
    let after = frozen(&dynamic, Some(&before), &known);
    assert_eq!(shares(&after, web(4)), [("c1", 2), ("c2", 2)]);
    let error = freeze(&dynamic, None, &clusters[..1], |_| BTreeSet::new()).expect_err("nobody");
    let text = error.to_string();
    assert!(text.contains("waits until it is known"), "{text}");
}

fn a_mode() -> impl Strategy<Value = DivisionMode> {
    prop_oneof![
        Just(DivisionMode::Static),
        Just(DivisionMode::Dynamic),
        Just(DivisionMode::Aggregated),
    ]
}

fn some_clusters() -> impl Strategy<Value = Vec<ClusterFacts>> {
    let free = (0..12u64, 0..40u64);
    proptest::collection::vec(free, 2..8).prop_map(|list| {
        let numbered = list.into_iter().enumerate();
        numbered
            .map(|(number, free)| cluster(&format!("c{number}"), "a", Some(free)))
            .collect()
    })
}

proptest! {
    #[test]
    fn all_replicas_are_somewhere_and_nobody_loses_when_there_are_more(
        mode in a_mode(), clusters in some_clusters(), replicas in 0..60u32, asks in 0..3u64,
    ) {
        let division = frozen(&asked(mode), None, &clusters);
        let of = |replicas| Divisible {
            replicas,
            pod: PodRequests { cpu_milli: asks * 700, memory_bytes: asks * GIB },
        };
        let (before, after) = (
            division.shares("web", of(replicas)),
            division.shares("web", of(replicas + 1)),
        );
        prop_assert_eq!(before.values().sum::<u32>(), replicas);
        prop_assert_eq!(after.values().sum::<u32>(), replicas + 1);
        prop_assert!(before.iter().all(|(name, share)| after[name] >= *share));
    }

    #[test]
    fn the_same_again_is_the_same_in_whatever_order(
        mode in a_mode(), clusters in some_clusters(), turned in 0..8usize,
    ) {
        let before = frozen(&asked(mode), None, &clusters);
        let mut others = clusters.clone();
        others.rotate_left(turned % clusters.len());
        prop_assert_eq!(&frozen(&asked(mode), None, &others), &before);
        prop_assert_eq!(&frozen(&asked(mode), Some(&before), &others), &before);
    }

    #[test]
    fn one_cluster_that_leaves_only_adds_to_the_others(
        mode in a_mode(), clusters in some_clusters(), replicas in 0..60u32,
        leaving in any::<proptest::sample::Index>(),
    ) {
        let before = frozen(&asked(mode), None, &clusters);
        let mut rest = clusters.clone();
        rest.remove(leaving.index(clusters.len()));
        let after = frozen(&asked(mode), Some(&before), &rest);
        let (had, has) = (before.shares("web", web(replicas)), after.shares("web", web(replicas)));
        prop_assert_eq!(has.values().sum::<u32>(), replicas);
        prop_assert!(has.iter().all(|(name, share)| *share >= had[name]));
    }
}
