use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{
    application::Destination,
    cluster::NodeProperties,
    placement::{Pick, PlacementPolicy, Property, Score, ScoreOrder, Spread},
    selector::Selector,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Choice, Chosen, ClusterFacts, Properties, Scheduling, Standing, choose};

fn cluster(number: u128, region: u8, zone: u8, nodes: Option<u32>) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::from_u128(number),
        name: format!("c{number}"),
        labels: BTreeMap::from([
            ("region".to_owned(), format!("r{region}")),
            ("zone".to_owned(), format!("z{zone}")),
        ]),
        metrics: None,
        traffic: Vec::new(),
        scheduling: Arc::new(Scheduling {
            properties: Properties {
                nodes: nodes.map(|ready| NodeProperties {
                    ready,
                    ..NodeProperties::default()
                }),
                ..Properties::default()
            },
            ..Scheduling::default()
        }),
    }
}

fn clusters(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<ClusterFacts>> {
    let one = (0..4u8, 0..3u8, proptest::option::of(0..5u32));
    proptest::collection::vec(one, size).prop_map(|found| {
        let numbered = found.into_iter().enumerate();
        numbered
            .map(|(number, (region, zone, nodes))| cluster(number as u128, region, zone, nodes))
            .collect()
    })
}

fn spread(by: &'static str) -> impl Strategy<Value = Option<Spread>> {
    let limits = (proptest::option::of(1..5u32), proptest::option::of(1..3u32));
    proptest::option::of(limits.prop_map(move |(max, min)| Spread {
        by: by.to_owned(),
        max,
        min,
    }))
}

fn policy() -> impl Strategy<Value = PlacementPolicy> {
    let scored = any::<bool>();
    (1..20u32, spread("region"), spread("zone"), scored).prop_map(
        |(count, region, zone, scored)| PlacementPolicy {
            pick: Pick::N,
            count: Some(count),
            spread: region.into_iter().chain(zone).collect(),
            scores: scored
                .then_some(Score {
                    property: Property::ReadyNodes,
                    order: ScoreOrder::Descending,
                })
                .into_iter()
                .collect(),
            ..PlacementPolicy::default()
        },
    )
}

fn chosen(policy: &PlacementPolicy, clusters: &[ClusterFacts], standing: &Standing) -> Chosen {
    let destination = Destination {
        selector: Some(Selector::default()),
        ..Destination::default()
    };
    choose(Choice {
        destination: &destination,
        policy: Some(policy),
        fleet: None,
        clusters,
        standing,
    })
    .expect("a choice")
}

fn ids(chosen: &Chosen) -> BTreeSet<Uuid> {
    let clusters = chosen.placement.clusters.iter();
    clusters.map(|cluster| cluster.id).collect()
}

fn holding(ids: &BTreeSet<Uuid>) -> Standing {
    Standing {
        holding: ids.clone(),
        ..Standing::default()
    }
}

/// How many chosen clusters every group of `by` has.
fn counts(chosen: &Chosen, by: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for cluster in &chosen.placement.clusters {
        *counts.entry(cluster.labels[by].clone()).or_default() += 1;
    }
    counts
}

proptest! {
    #[test]
    fn clusters_that_join_or_change_their_score_move_nobody(
        policy in policy(), before in clusters(0..40), after in clusters(40..60), order in any::<u64>(),
    ) {
        let first = ids(&chosen(&policy, &before, &Standing::default()));
        // The same clusters in the same groups with other scores, and some more.
        let mut now = after;
        for (cluster, was) in now.iter_mut().zip(&before) {
            cluster.labels.clone_from(&was.labels);
        }
        let turn = usize::try_from(order % 40).unwrap_or_default();
        now.rotate_left(turn);
        let second = ids(&chosen(&policy, &now, &holding(&first)));
        prop_assert!(first.is_subset(&second), "{first:?} {second:?}");
        let third = ids(&chosen(&policy, &now, &holding(&second)));
        prop_assert_eq!(second, third);
    }

    #[test]
    fn limits_hold_and_nobody_who_fits_is_left_out(
        policy in policy(), clusters in clusters(0..60), held in proptest::collection::btree_set(0..60u128, 0..30),
    ) {
        let held: BTreeSet<Uuid> = held.into_iter().map(Uuid::from_u128).collect();
        let found = chosen(&policy, &clusters, &holding(&held));
        let count = policy.count.unwrap_or_default() as usize;
        let size = found.placement.clusters.len();
        prop_assert!(size <= count);
        let full: Vec<BTreeSet<String>> = policy.spread.iter().map(|spread| {
            let counts = counts(&found, &spread.by);
            let max = spread.max.unwrap_or(u32::MAX);
            assert!(counts.values().all(|count| *count <= max), "{counts:?} of {max}");
            counts.into_iter().filter(|(_, count)| *count == max).map(|(group, _)| group).collect()
        }).collect();
        if size < count {
            let there = ids(&found);
            for cluster in clusters.iter().filter(|one| !there.contains(&one.id)) {
                let mut groups = policy.spread.iter().zip(&full);
                prop_assert!(groups.any(|(spread, full)| full.contains(&cluster.labels[&spread.by])));
            }
        }
    }

    #[test]
    fn a_larger_count_adds_and_a_smaller_one_takes_away(
        policy in policy(), clusters in clusters(0..60), more in 0..10u32,
    ) {
        let first = ids(&chosen(&policy, &clusters, &Standing::default()));
        let larger = PlacementPolicy { count: policy.count.map(|count| count + more), ..policy.clone() };
        let second = ids(&chosen(&larger, &clusters, &holding(&first)));
        prop_assert!(first.is_subset(&second));
        let back = ids(&chosen(&policy, &clusters, &holding(&second)));
        prop_assert!(back.is_subset(&second));
        prop_assert!(back.len() <= policy.count.unwrap_or_default() as usize);
    }

    #[test]
    fn where_clusters_are_listed_does_not_matter(
        policy in policy(), clusters in clusters(0..40), turn in 0..40usize,
    ) {
        let mut turned = clusters.clone();
        if !turned.is_empty() {
            let turn = turn % turned.len();
            turned.rotate_left(turn);
        }
        let (one, other) = (
            chosen(&policy, &clusters, &Standing::default()),
            chosen(&policy, &turned, &Standing::default()),
        );
        prop_assert_eq!(one, other);
    }
}
