//! The arithmetic of systems that users come from, and what is decided here where it differs.

use bellwether_agent_core::{
    sizes::{canary_pods, fixed_stable, min_ready_stable, weight_that_stays},
    weights::{PlannedStep, planned_steps},
};
use bellwether_api::{
    number::{IntOrPercent, Weight},
    strategy::{Advance, Strategy},
};
use serde_json::{Value, json};

fn weight(percent: u8) -> Weight {
    Weight::new(percent).expect("a weight")
}

fn pods(total: u32, percent: u8, replicas: Option<IntOrPercent>, min: u32) -> u32 {
    let step = PlannedStep {
        replicas,
        ..PlannedStep::of_weight(weight(percent), Advance::Auto)
    };
    canary_pods(&step, total, min)
}

/// Flagger clamps its last weight to 100 and not to `maxWeight`: 10 up to 55 ends at 60 there, 20 up
/// to 50 at 60. Here **the last weight is clamped to `maxWeight`**. Everything else is the same.
#[test]
fn linear_weights_are_flaggers_but_clamped_to_the_maximum() {
    let cases: [(Value, &[u8], &[u8]); 8] = [
        // (plan, Flagger's weights, ours)
        (
            json!({"stepWeight": 10, "maxWeight": 50}),
            &[10, 20, 30, 40, 50],
            &[10, 20, 30, 40, 50],
        ),
        (
            json!({"stepWeight": 10, "maxWeight": 55}),
            &[10, 20, 30, 40, 50, 60],
            &[10, 20, 30, 40, 50, 55],
        ),
        (
            json!({"stepWeight": 20, "maxWeight": 50}),
            &[20, 40, 60],
            &[20, 40, 50],
        ),
        (
            json!({"stepWeight": 50, "maxWeight": 100}),
            &[50, 100],
            &[50, 100],
        ),
        (
            json!({"stepWeight": 30}),
            &[30, 60, 90, 100],
            &[30, 60, 90, 100],
        ),
        (
            json!({"weights": [1, 2, 10, 80]}),
            &[1, 2, 10, 80],
            &[1, 2, 10, 80],
        ),
        // A mirrored check comes first in both; it is a step of its own here.
        (
            json!({"stepWeight": 10, "maxWeight": 20, "mirror": true}),
            &[10, 20],
            &[0, 10, 20],
        ),
        // Never advances there; refused before it gets here.
        (json!({"stepWeight": 0}), &[], &[]),
    ];
    for (plan, theirs, ours) in cases {
        let strategy: Strategy =
            serde_json::from_value(json!({"canary": plan})).expect("a strategy");
        let weights: Vec<u8> = planned_steps(&strategy)
            .iter()
            .map(|step| step.weight.percent())
            .collect();
        assert_eq!(weights, ours, "{plan}");
        let same = theirs == ours;
        let named = plan["maxWeight"] == 55 || plan["stepWeight"] == 20 || plan["mirror"] == true;
        assert_eq!(!same, named, "a difference that is not named: {plan}");
    }
}

/// Flagger takes a list's 200 for 100; here it is no weight at all.
#[test]
fn weights_above_all_of_the_traffic_are_refused() {
    let canary = json!({"canary": {"weights": [1, 2, 10, 200]}});
    let refused = serde_json::from_value::<Strategy>(canary).expect_err("200 %");
    assert!(refused.to_string().contains("200"), "{refused}");
}

/// Argo Rollouts with a traffic router: **the share of traffic rounded up (ceil)**, beside an old
/// version at full size.
#[test]
fn a_surge_canary_is_sized_as_argo_sizes_it_behind_a_router() {
    for (total, percent, min, expected) in [
        (10, 20, 1, 2),
        (10, 25, 1, 3),
        (10, 33, 1, 4),
        (10, 99, 1, 10),
        (10, 100, 1, 10),
        (10, 5, 2, 2),
        (1, 1, 1, 1),
        (1, 5, 2, 1),
    ] {
        assert_eq!(
            pods(total, percent, None, min),
            expected,
            "{percent} % of {total}, at least {min}"
        );
    }
    // More pods than the workload has are taken as written, as by `setCanaryScale` there.
    assert_eq!(pods(10, 20, Some(IntOrPercent::Int(12)), 1), 12);
}

/// Argo Rollouts without a router picks the nearest ratio of pods, so that 20 % of 3 may be none.
/// Here it is **ceil in either case**: a share above 0 has a pod, so that what is judged exists.
#[test]
fn a_share_above_nothing_has_a_pod() {
    for (total, percent, theirs, ours) in [
        (1, 49, 0, 1),
        (1, 50, 1, 1),
        (2, 1, 1, 1),
        (3, 34, 1, 2),
        (3, 49, 1, 2),
        (3, 50, 2, 2),
        (10, 14, 1, 2),
        (10, 15, 2, 2),
        (10, 23, 2, 3),
        (10, 99, 9, 10),
        (0, 50, 0, 0),
    ] {
        let count = pods(total, percent, None, 1);
        assert_eq!(count, ours, "{percent} % of {total}");
        assert!(count >= theirs, "never fewer than there");
    }
}

/// Argo's `dynamicStableScale` of 10 pods is the fixed total here: both come to the same sizes,
/// with the canary rounded up in both.
#[test]
fn a_fixed_total_is_argos_dynamic_stable_scale() {
    for (percent, canary, stable) in [
        (10, 1, 9),
        (20, 2, 8),
        (25, 3, 7),
        (50, 5, 5),
        (90, 9, 1),
        (99, 10, 1),
        (100, 10, 0),
    ] {
        let serving = pods(10, percent, None, 1);
        assert_eq!(serving, canary, "{percent} %");
        let left = fixed_stable(10, 10, serving, percent == 100);
        assert_eq!(left, stable, "{percent} %");
    }
    // An abort at 20/80 wants all ten back first; with eight of them the canary keeps 20 %.
    assert_eq!(min_ready_stable(weight(0), 10), 10);
    assert_eq!(weight_that_stays(8, 10), weight(20));
    assert_eq!(weight_that_stays(10, 10), weight(0));
}

/// Kruise's batches: **a percentage of pods rounded up (ceil)**, at least one above 0 %. A step's
/// `replicas` of a canary copy is not limited to the workload's own size, as it is there.
#[test]
fn percentages_of_pods_are_rounded_up_as_kruise_does() {
    for (total, percent, expected) in [
        (10, 20, 2),
        (10, 1, 1),
        (10, 0, 0),
        (5, 20, 1),
        (5, 60, 3),
        (3, 20, 1),
        (3, 40, 2),
        (3, 60, 2),
        (3, 80, 3),
        (3, 90, 3),
        (0, 20, 1),
    ] {
        let count = IntOrPercent::Percent(percent).ceil_of(total);
        assert_eq!(count, expected, "{percent} % of {total}");
    }
    for count in [0, 5, 200] {
        assert_eq!(IntOrPercent::Int(count).ceil_of(10), count);
    }
}
