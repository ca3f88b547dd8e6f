use bellwether_api::{
    duration::Dur,
    number::Weight,
    rollout::{Advance, Canary, Step},
};
use proptest::prelude::*;

use super::{next_promotion_weight, planned_steps};

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
    planned_steps(canary)
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
        planned_steps(&canary)
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
        planned_steps(canary)
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
        planned_steps(&canary)
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

proptest! {
    #[test]
    fn linear_weights_rise_and_end_at_the_maximum(step in 1u8..=100, max in 1u8..=100) {
        let weights = percents(&linear(step, Some(max)));
        prop_assert!(weights.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(weights.last().copied(), Some(max));
        prop_assert!(weights.windows(2).all(|pair| pair[1] - pair[0] <= step));
    }
}
