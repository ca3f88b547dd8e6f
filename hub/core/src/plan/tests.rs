use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::OnFailure, application::Wave, number::IntOrPercent, rollout::RolloutSpec,
    selector::Selector,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{DrivenByHand, INSTALL_WAVE, ONLY_WAVE, PlanError, PlanInput, freeze};
use crate::placement::ClusterFacts;

fn cluster(number: u128, tier: &str) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::from_u128(number),
        name: format!("c{number:02}"),
        labels: BTreeMap::from([("tier".to_owned(), tier.to_owned())]),
        metrics: None,
        traffic: Vec::new(),
        scheduling: std::sync::Arc::default(),
    }
}

fn tier(name: &str) -> Option<Selector> {
    Some(Selector {
        match_labels: BTreeMap::from([("tier".to_owned(), name.to_owned())]),
        match_expressions: Vec::new(),
    })
}

fn wave(name: &str, selector: Option<Selector>) -> Wave {
    Wave {
        name: name.to_owned(),
        selector,
        clusters: Vec::new(),
        percent: None,
        progress_deadline: None,
        max_concurrent: None,
        max_failures: None,
        unreachable: bellwether_api::application::UnreachablePolicy::Wait,
        before: Vec::new(),
        after: Vec::new(),
    }
}

fn input<'a>(waves: &'a [Wave], clusters: &'a [ClusterFacts]) -> PlanInput<'a> {
    PlanInput {
        waves,
        on_failure: None,
        clusters,
        fleet_max_concurrent: None,
        install: false,
        governed: true,
        by_hand: &[],
        may_lose: 0,
    }
}

#[test]
fn last_wave_takes_the_rest() {
    let clusters = [cluster(3, "prod"), cluster(1, "canary"), cluster(2, "prod")];
    let waves = [wave("canary", tier("canary")), wave("rest", None)];
    let plan = freeze(input(&waves, &clusters)).expect("a plan");
    let names: Vec<Vec<&str>> = plan
        .waves
        .iter()
        .map(|wave| {
            wave.clusters
                .iter()
                .map(|cluster| cluster.name.as_str())
                .collect()
        })
        .collect();
    assert_eq!(names, [vec!["c01"], vec!["c02", "c03"]]);
    assert_eq!((plan.on_failure, plan.install), (OnFailure::Halt, false));
    assert!(
        plan.waves
            .iter()
            .all(|wave| wave.max_concurrent == 1 && wave.max_failures == 0)
    );
}

#[test]
fn limits_resolve_against_the_wave() {
    let clusters: Vec<ClusterFacts> = (0..10).map(|number| cluster(number, "prod")).collect();
    for (limit, concurrent) in [("25%", 2), ("1%", 1), ("100%", 10), ("4", 4), ("0", 1)] {
        let limit: IntOrPercent = limit.parse().expect("a limit");
        let waves = [Wave {
            max_concurrent: Some(limit),
            ..wave("all", tier("prod"))
        }];
        let plan = freeze(input(&waves, &clusters)).expect("a plan");
        assert_eq!(plan.waves[0].max_concurrent, concurrent, "{limit}");
    }
    for (limit, failures) in [("25%", 2), ("1%", 0), ("1", 1)] {
        let limit: IntOrPercent = limit.parse().expect("a limit");
        let waves = [Wave {
            max_failures: Some(limit),
            ..wave("all", tier("prod"))
        }];
        let plan = freeze(input(&waves, &clusters)).expect("a plan");
        assert_eq!(plan.waves[0].max_failures, failures, "{limit}");
    }
}

#[test]
fn without_waves_there_is_one_and_it_is_never_unlimited() {
    let clusters: Vec<ClusterFacts> = (0..8).map(|number| cluster(number, "prod")).collect();
    let plan = freeze(input(&[], &clusters)).expect("a plan");
    assert_eq!(plan.waves.len(), 1);
    assert_eq!(
        (plan.waves[0].name.as_str(), plan.waves[0].max_concurrent),
        (ONLY_WAVE, 2)
    );
    assert_eq!(plan.on_failure, OnFailure::Continue);
    let fleet = PlanInput {
        fleet_max_concurrent: Some(IntOrPercent::Int(5)),
        ..input(&[], &clusters)
    };
    assert_eq!(freeze(fleet).expect("a plan").waves[0].max_concurrent, 5);
}

#[test]
fn first_release_ignores_waves() {
    let clusters = [cluster(1, "canary"), cluster(2, "prod")];
    let waves = [wave("canary", tier("canary")), wave("rest", None)];
    let plan = freeze(PlanInput {
        install: true,
        ..input(&waves, &clusters)
    })
    .expect("a plan");
    assert!(plan.install);
    assert_eq!(plan.waves.len(), 1);
    assert_eq!(
        (plan.waves[0].name.as_str(), plan.waves[0].clusters.len()),
        (INSTALL_WAVE, 2)
    );
}

#[test]
fn overlaps_and_open_ends_are_refused_by_name() {
    let clusters = [
        cluster(2, "canary"),
        cluster(1, "canary"),
        cluster(3, "prod"),
    ];
    let waves = [
        wave("canary", tier("canary")),
        Wave {
            clusters: vec!["c01".to_owned(), "c02".to_owned()],
            ..wave("named", None)
        },
    ];
    let error = freeze(input(&waves, &clusters)).expect_err("an overlap");
    assert_eq!(
        error.to_string(),
        "failed to plan: clusters c01, c02 are in waves \"canary\" and \"named\""
    );
    let waves = [wave("open", None), wave("rest", None)];
    assert_eq!(
        freeze(input(&waves, &clusters)),
        Err(PlanError::OpenEnded {
            wave: "open".to_owned()
        })
    );
}

#[test]
fn a_cluster_of_no_wave_is_left_out_by_name() {
    let clusters = [cluster(1, "canary"), cluster(2, "prod")];
    let waves = [wave("canary", tier("canary"))];
    let plan = freeze(input(&waves, &clusters)).expect("a plan");
    assert_eq!(plan.left_out.len(), 1);
    assert_eq!(plan.left_out[0].name, "c02");
}

proptest! {
    /// Every cluster is in exactly one wave or left out, whatever the order in which it is given.
    #[test]
    fn every_cluster_has_one_place(tiers in prop::collection::vec(0_u8..4, 0..30), rest: bool) {
        let clusters: Vec<ClusterFacts> = tiers
            .iter()
            .zip(0..)
            .map(|(tier, number)| cluster(number, &format!("t{tier}")))
            .collect();
        let waves = [
            wave("a", tier("t0")),
            wave("b", tier("t1")),
            wave("c", if rest { None } else { tier("t2") }),
        ];
        let plan = freeze(input(&waves, &clusters)).expect("a plan");
        let mut backwards = clusters.clone();
        backwards.reverse();
        prop_assert_eq!(&plan, &freeze(input(&waves, &backwards)).expect("a plan"));
        let mut seen = BTreeSet::new();
        let placed = plan.clusters().map(|(_, cluster)| cluster.id);
        for id in placed.chain(plan.left_out.iter().map(|cluster| cluster.id)) {
            prop_assert!(seen.insert(id), "{} twice", id);
        }
        prop_assert_eq!(seen.len(), clusters.len());
        prop_assert!(!rest || plan.left_out.is_empty());
    }
}

fn rollout(canary: &str, more: &str) -> RolloutSpec {
    serde_json::from_str(&format!(
        r#"{{"workload": {{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
            "strategy": {{"canary": {canary}}}{more}}}"#
    ))
    .expect("a rollout")
}

#[test]
fn only_a_manual_canary_that_is_run_is_driven_by_hand() {
    let by_hand = |pods_follow| {
        Some(DrivenByHand {
            rollout: "web".to_owned(),
            pods_follow,
        })
    };
    for (canary, more, expected) in [
        (r#"{"manual": {}}"#, "", by_hand(false)),
        (
            r#"{"manual": {"weight": 20}}"#,
            r#", "instances": {"mode": "FixedTotal"}"#,
            by_hand(true),
        ),
        (r#"{"manual": {}}"#, r#", "analysis": {"skip": true}"#, None),
        (r#"{"weights": [20]}"#, "", None),
    ] {
        assert_eq!(
            DrivenByHand::of("web", &rollout(canary, more)),
            expected,
            "{canary} {more}"
        );
    }
}

#[test]
fn a_first_install_has_nothing_to_drive() {
    let by_hand = [DrivenByHand {
        rollout: "web".to_owned(),
        pods_follow: false,
    }];
    for (install, expected) in [(false, &by_hand[..]), (true, &[])] {
        let plan = freeze(PlanInput {
            install,
            by_hand: &by_hand,
            ..input(&[], &[])
        })
        .expect("a plan");
        assert_eq!(plan.by_hand, expected);
    }
}

mod shares {
    use std::collections::BTreeSet;

    use bellwether_api::application::Wave;
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use crate::{placement::ClusterFacts, plan::assign};

    fn fleet(count: u128) -> Vec<ClusterFacts> {
        (0..count)
            .map(|number| ClusterFacts {
                id: Uuid::from_u128(number),
                name: format!("c{number:03}"),
                labels: Default::default(),
                metrics: None,
                traffic: Vec::new(),
                scheduling: std::sync::Arc::default(),
            })
            .collect()
    }

    fn waves(value: serde_json::Value) -> Vec<Wave> {
        serde_json::from_value(value).expect("waves")
    }

    /// The clusters of each wave, by identity.
    fn members(waves: &[Wave], clusters: &[ClusterFacts]) -> Vec<BTreeSet<Uuid>> {
        let (members, left_out) = assign(waves, clusters).expect("it can be assigned");
        assert_eq!(left_out, []);
        let ids =
            |wave: Vec<crate::plan::PlannedCluster>| wave.into_iter().map(|one| one.id).collect();
        members.into_iter().map(ids).collect()
    }

    #[test]
    fn shares_are_of_all_clusters_and_come_after_names() {
        let waves = waves(json!([
            {"name": "first", "percent": 10}, {"name": "named", "clusters": ["c000", "c001"]},
            {"name": "second", "percent": 25}, {"name": "rest"},
        ]));
        let sizes: Vec<usize> = members(&waves, &fleet(11))
            .iter()
            .map(BTreeSet::len)
            .collect();
        assert_eq!(sizes, [2, 2, 3, 4]);
        // More than there are: the later ones get what is left.
        let sizes: Vec<usize> = members(&waves, &fleet(3))
            .iter()
            .map(BTreeSet::len)
            .collect();
        assert_eq!(sizes, [1, 2, 0, 0]);
    }

    proptest! {
        /// One cluster more moves at most one cluster into each wave, and none out of it but for that.
        #[test]
        fn whoever_joins_moves_few(count in 2u128..60, percent in 1u8..60) {
            let waves = waves(json!([{"name": "a", "percent": percent}, {"name": "rest"}]));
            let before = members(&waves, &fleet(count));
            let after = members(&waves, &fleet(count + 1));
            let joined = Uuid::from_u128(count);
            let new: BTreeSet<_> = after[0].difference(&before[0]).filter(|id| **id != joined).collect();
            let gone: BTreeSet<_> = before[0].difference(&after[0]).collect();
            prop_assert!(new.len() <= 1 && gone.len() <= 1, "{new:?} {gone:?}");
        }
    }
}
