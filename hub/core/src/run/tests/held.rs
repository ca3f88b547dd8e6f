//! A cluster that would lose much by the release waits for somebody's word.

use bellwether_api::status::UnitOutcome;

use super::model::{Fleet, plan, wave};
use crate::{
    plan::PlannedWave,
    run::{Decision, RunStatus},
};

const WHY: &str = "8 of its 10 objects would go; write allow-prune: \"8\"";

fn waits(decision: &Decision) -> Vec<(&str, &str)> {
    let waits = decision.waiting_on.iter();
    waits
        .map(|one| (one.reason.as_str(), one.message.as_str()))
        .collect()
}

fn told(decision: &Decision) -> usize {
    let events = decision.events.iter();
    events.filter(|one| one.reason == "PruneHeld").count()
}

#[test]
fn it_keeps_what_it_has_and_its_wave_and_stops_nobody_else() {
    let all = PlannedWave {
        max_concurrent: 2,
        ..wave("all", 1..4)
    };
    let mut fleet = Fleet::new(plan(vec![all, wave("rest", 4..5)]));
    fleet.member(1).held = Some(WHY.to_owned());
    let decision = fleet.decide();
    assert_eq!(told(&decision), 1);
    assert_eq!(fleet.granted(), [2, 3], "it takes nobody's slot");
    fleet.settle();
    assert_eq!(fleet.granted(), [2, 3], "the wave is not done");
    let decision = fleet.decide();
    assert_eq!(told(&decision), 0, "it is told once");
    let said = format!("c1: {WHY}");
    assert_eq!(waits(&decision), [("PruneHeld", said.as_str())]);
    assert_eq!(fleet.state.status, RunStatus::Progressing);
    // Whoever only looks does not find out anew, and is told all the same.
    let kept = &fleet.state.clusters[&super::model::id(1)];
    assert_eq!(kept.held.as_deref(), Some(WHY));
    fleet.member(1).held = None;
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2, 3, 4]);
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    assert_eq!(fleet.state.clusters[&super::model::id(1)].held, None);
}

#[test]
fn nobody_is_asked_for_a_word_while_it_waits_for_something_else() {
    let mut fleet = Fleet::new(plan(vec![wave("all", 1..2)]));
    fleet.member(1).held = Some(WHY.to_owned());
    fleet.decide();
    // Whether it would lose as much still is found out once it would be granted.
    fleet.member(1).held = None;
    fleet.member(1).wait_for("db", true);
    let asked = |decision: &Decision| waits(decision).iter().any(|(why, _)| *why == "PruneHeld");
    let decision = fleet.decide();
    assert!(!asked(&decision), "{:?}", waits(&decision));
    fleet.member(1).wait_for("db", false);
    let status = fleet.member(1).status.as_mut();
    status.expect("a status").outcome = UnitOutcome::RollingBack;
    let decision = fleet.decide();
    let said = "c1 returns to stable from another run first";
    assert_eq!(waits(&decision), [("ReturningToStable", said)]);
    assert!(fleet.granted().is_empty());
}
