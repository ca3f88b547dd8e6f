use bellwether_api::{
    duration::Dur,
    matching::Match,
    number::{IntOrPercent, Weight},
    strategy::{Advance, AnalysisTraffic, BlueGreen, Canary, Manual, Step, Strategy},
};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use super::{PlannedStep, canary_steps, next_promotion_weight, planned_steps};

fn weight(percent: u8) -> Weight {
    Weight::new(percent).expect("a weight")
}

fn linear(step: u8, max: Option<u8>) -> Canary {
    Canary {
        step_weight: Some(weight(step)),
        max_weight: max.map(weight),
        ..Canary::default()
    }
}

fn percents(canary: &Canary) -> Vec<u8> {
    canary_steps(canary)
        .iter()
        .map(|step| step.weight.percent())
        .collect()
}

#[test]
fn the_linear_form_is_clamped_to_its_maximum() {
    for (step, max, expected) in [
        (10, Some(55), vec![10, 20, 30, 40, 50, 55]),
        (10, Some(5), vec![5]),
        (20, Some(50), vec![20, 40, 50]),
        (30, None, vec![30, 60, 90, 100]),
        (100, None, vec![100]),
        (100, Some(100), vec![100]),
        (10, Some(50), vec![10, 20, 30, 40, 50]),
        (1, Some(3), vec![1, 2, 3]),
    ] {
        assert_eq!(
            percents(&linear(step, max)),
            expected,
            "{step} up to {max:?}"
        );
    }
}

#[test]
fn weights_are_taken_as_written() {
    let canary = Canary {
        weights: [1, 2, 10, 80].map(weight).to_vec(),
        ..Canary::default()
    };
    assert_eq!(percents(&canary), [1, 2, 10, 80]);
    assert!(
        canary_steps(&canary)
            .iter()
            .all(|step| step.advance == Advance::Auto)
    );
}

#[test]
fn explicit_steps_wait_for_a_human_unless_something_says_otherwise() {
    let step = |advance, after| Step {
        weight: weight(20),
        advance,
        after,
        ..Step::default()
    };
    let mut canary = Canary {
        steps: vec![
            step(None, None),
            step(Some(Advance::Auto), None),
            step(Some(Advance::After), Some(Dur::from_secs(30))),
        ],
        ..Canary::default()
    };
    let advances = |canary: &Canary| -> Vec<_> {
        canary_steps(canary)
            .iter()
            .map(|step| (step.advance, step.after))
            .collect()
    };
    let (none, half) = (Dur::default(), Dur::from_secs(30));
    assert_eq!(
        advances(&canary),
        [
            (Advance::Manual, none),
            (Advance::Auto, none),
            (Advance::After, half)
        ]
    );
    canary.advance = Some(Advance::Auto);
    assert_eq!(
        advances(&canary)[0],
        (Advance::Auto, none),
        "the canary's own advance"
    );
    assert_eq!(
        advances(&canary)[2],
        (Advance::After, half),
        "a step's advance wins"
    );
}

#[test]
fn the_linear_form_may_wait_for_a_human_too() {
    let canary = Canary {
        advance: Some(Advance::Manual),
        ..linear(50, None)
    };
    assert!(
        canary_steps(&canary)
            .iter()
            .all(|step| step.advance == Advance::Manual)
    );
}

#[test]
fn traffic_returns_in_promotion_steps() {
    let mut weights = vec![50];
    while let Some(last) = weights.last().copied().filter(|last| *last > 0) {
        weights.push(next_promotion_weight(weight(last), Some(weight(20))).percent());
    }
    assert_eq!(weights, [50, 30, 10, 0]);
    assert_eq!(next_promotion_weight(weight(50), None), Weight::ZERO);
}

/// What stock Flagger does with each plan, and what is decided here where it differs: the linear
/// form is clamped to `maxWeight` (C4), a list ends where it ends, a weight above 100 is refused
/// before it comes here, and a plan without any form is refused instead of never advancing.
#[test]
fn weights_of_known_plans() {
    for (plan, expected) in [
        (
            json!({"stepWeight": 10, "maxWeight": 50}),
            vec![10, 20, 30, 40, 50],
        ),
        (
            json!({"stepWeight": 10, "maxWeight": 55}),
            vec![10, 20, 30, 40, 50, 55],
        ),
        (json!({"stepWeight": 20, "maxWeight": 50}), vec![20, 40, 50]),
        (json!({"stepWeight": 50, "maxWeight": 100}), vec![50, 100]),
        (json!({"stepWeight": 30}), vec![30, 60, 90, 100]),
        (json!({"weights": [1, 2, 10, 80]}), vec![1, 2, 10, 80]),
        (
            json!({"stepWeight": 10, "maxWeight": 20, "mirror": true}),
            vec![0, 10, 20],
        ),
        (
            json!({"steps": [{"weight": 20}, {"weight": 90}]}),
            vec![20, 90],
        ),
        (json!({"manual": {}}), vec![0]),
        (json!({}), vec![]),
    ] {
        let canary: Canary = serde_json::from_value(plan.clone()).expect("a canary");
        assert_eq!(percents(&canary), expected, "{plan}");
    }
}

#[test]
fn a_mirrored_check_is_as_large_as_the_first_weight() {
    let mut canary = Canary {
        mirror: true,
        matches: vec![Match::default()],
        ..linear(20, None)
    };
    let steps = canary_steps(&canary);
    let first = &steps[0];
    assert_eq!((first.weight, first.mirror), (Weight::ZERO, weight(20)));
    assert!(first.matches.is_empty(), "nobody gets an answer of it yet");
    assert_eq!(first.advance, Advance::Auto);
    assert!(steps[1..].iter().all(|step| step.matches.len() == 1));
    canary = Canary {
        steps: vec![Step {
            weight: weight(5),
            replicas: Some(IntOrPercent::Int(3)),
            ..Step::default()
        }],
        mirror: true,
        ..Canary::default()
    };
    let steps = canary_steps(&canary);
    assert_eq!(steps[0].replicas, Some(IntOrPercent::Int(3)));
    assert_eq!(steps[1].advance, Advance::Manual);
}

#[test]
fn a_steps_own_match_replaces_the_canarys() {
    let of = |method: &str| Match {
        method: Some(method.to_owned()),
        ..Match::default()
    };
    let own = Step {
        weight: weight(10),
        matches: vec![of("PUT")],
        ..Step::default()
    };
    let canary = Canary {
        steps: vec![
            own,
            Step {
                weight: weight(20),
                mirror: Some(weight(30)),
                ..Step::default()
            },
        ],
        matches: vec![of("GET")],
        ..Canary::default()
    };
    let steps = canary_steps(&canary);
    assert_eq!(steps[0].matches, [of("PUT")]);
    assert_eq!(
        (&steps[1].matches, steps[1].mirror),
        (&vec![of("GET")], weight(30))
    );
}

#[test]
fn a_canary_by_hand_is_one_step_that_waits() {
    let canary = Canary {
        manual: Some(Manual {
            weight: weight(30),
            replicas: Some(IntOrPercent::Int(2)),
        }),
        ..Canary::default()
    };
    let expected = PlannedStep {
        replicas: Some(IntOrPercent::Int(2)),
        by_hand: true,
        ..PlannedStep::of_weight(weight(30), Advance::Manual)
    };
    assert_eq!(canary_steps(&canary), [expected]);
}

#[test]
fn blue_green_is_switched_before_or_after_its_checks() {
    let plan = |analysis_traffic, standby| Strategy {
        blue_green: Some(BlueGreen {
            iterations: 3,
            analysis_traffic,
            standby: Dur::from_secs(standby),
            replicas: None,
        }),
        ..Strategy::default()
    };
    let seen = |strategy: &Strategy| -> Vec<_> {
        planned_steps(strategy)
            .iter()
            .map(|step| {
                assert_eq!(step.replicas, Some(IntOrPercent::Percent(100)));
                let (weight, mirror) = (step.weight.percent(), step.mirror.percent());
                (weight, mirror, step.iterations, step.after, step.standby)
            })
            .collect()
    };
    let (none, minute) = (Dur::default(), Dur::from_secs(60));
    for (traffic, standby, expected) in [
        (AnalysisTraffic::All, 0, vec![(100, 0, 3, none, false)]),
        (AnalysisTraffic::All, 60, vec![(100, 0, 3, minute, true)]),
        (
            AnalysisTraffic::None,
            0,
            vec![(0, 0, 3, none, false), (100, 0, 1, none, false)],
        ),
        (
            AnalysisTraffic::Mirror,
            60,
            vec![(0, 100, 3, none, false), (100, 0, 1, minute, true)],
        ),
    ] {
        assert_eq!(seen(&plan(traffic, standby)), expected, "{traffic:?}");
    }
}

#[test]
fn an_ab_test_is_one_step_of_matches() {
    let strategy: Strategy = serde_json::from_value(json!({"abTest": {"iterations": 4, "match": [
        {"method": "GET"}]}}))
    .expect("a strategy");
    let steps = planned_steps(&strategy);
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].weight, steps[0].iterations), (Weight::ZERO, 4));
    assert!(steps[0].splits() && steps[0].matches.len() == 1);
    assert!(planned_steps(&Strategy::default()).is_empty());
}

/// 50, 70, 90, 100 for the promoted workload.
#[test]
fn staged_promotion_of_a_known_plan() {
    let mut stable = vec![50];
    let mut canary = weight(50);
    while canary > Weight::ZERO {
        canary = next_promotion_weight(canary, Some(weight(20)));
        stable.push(canary.rest().percent());
    }
    assert_eq!(stable, [50, 70, 90, 100]);
}

proptest! {
    #[test]
    fn linear_weights_rise_and_end_at_the_maximum(step in 1u8..=100, max in 1u8..=100) {
        let weights = percents(&linear(step, Some(max)));
        prop_assert!(weights.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(weights.last().copied(), Some(max));
        prop_assert!(weights.windows(2).all(|pair| pair[1] - pair[0] <= step));
    }
}
