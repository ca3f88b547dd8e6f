//! Clusters that catch up with a run which has ended without them.

use bellwether_api::{
    application::UnreachablePolicy,
    command::{AbortCause, Verb},
    status::Phase,
};

use super::model::{Fleet, Will, id, plan, track, wave};
use crate::{
    plan::PlannedWave,
    run::{
        ActionKind,
        ActionOutcome::{Executed, Stale},
        ClusterPhase, RunStatus, WavePhase,
    },
};

/// The run succeeded without cluster 1, which waits at a step of it now.
fn catching_up() -> Fleet {
    let mut fleet = Fleet::new(plan(vec![PlannedWave {
        unreachable: UnreachablePolicy::SkipAndCatchUp,
        ..wave("first", 1..3)
    }]));
    fleet.lose(1);
    fleet.pass(46);
    fleet.settle();
    fleet.member(1).connected = true;
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    fleet.shows(1, vec![track("web", Phase::WaitingPromotion, "Approval")]);
    fleet.decide();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    assert!(matches!(fleet.phase(1), ClusterPhase::Running { .. }));
    fleet
}

fn queued(fleet: &Fleet) -> Vec<Verb> {
    let queue = &fleet.state.clusters[&id(1)].queue;
    queue.iter().map(|command| command.verb).collect()
}

#[test]
fn what_is_said_of_steps_reaches_who_catches_up_with_a_run_that_has_ended() {
    for (kind, verb) in [
        (ActionKind::Approve, Verb::Approve),
        (ActionKind::Promote, Verb::Promote),
        (ActionKind::Skip, Verb::Skip),
    ] {
        let mut fleet = catching_up();
        let action = fleet.act(kind, "ana");
        assert_eq!(fleet.answer(action).0, Executed, "{kind:?}");
        assert_eq!(queued(&fleet), [verb]);
        assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    }
}

#[test]
fn whoever_catches_up_can_be_stopped_and_sent_back_and_the_run_has_ended_all_the_same() {
    let mut fleet = catching_up();
    let of_one = |fleet: &mut Fleet, kind| crate::run::PendingAction {
        cluster: Some(id(1)),
        ..fleet.act(kind, "ana")
    };
    for (kind, suspended) in [(ActionKind::Suspend, true), (ActionKind::Resume, false)] {
        let action = of_one(&mut fleet, kind);
        assert_eq!(fleet.answer(action).0, Executed, "{kind:?}");
        assert_eq!(fleet.state.clusters[&id(1)].suspended.is_some(), suspended);
    }
    // What ended cannot be stopped as a whole.
    let action = fleet.act(ActionKind::Suspend, "ana");
    assert_eq!(fleet.answer(action).0, Stale);
    let action = fleet.act(ActionKind::Abort, "ana");
    assert_eq!(fleet.answer(action).0, Executed);
    let abort = fleet.state.clusters[&id(1)].abort.clone();
    assert_eq!(abort.map(|abort| abort.cause), Some(AbortCause::Manual));
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    assert!(matches!(fleet.phase(2), ClusterPhase::Succeeded { .. }));
}

#[test]
fn nothing_is_said_to_a_run_that_has_ended_everywhere() {
    let mut fleet = Fleet::new(plan(vec![wave("first", 1..3)]));
    fleet.settle();
    for kind in [ActionKind::Approve, ActionKind::Promote, ActionKind::Abort] {
        let action = fleet.act(kind, "ana");
        assert_eq!(fleet.answer(action).0, Stale, "{kind:?}");
    }
}

/// The only cluster that proved the release is taken back by a human in the same moment in which the
/// other one is lost: nothing is proven then.
#[test]
fn a_proof_that_is_taken_back_lets_no_wave_pass() {
    let mut fleet = Fleet::new(plan(vec![
        PlannedWave {
            unreachable: UnreachablePolicy::SkipAndCatchUp,
            ..wave("first", 1..3)
        },
        wave("next", 3..4),
    ]));
    fleet.has_previous = true;
    fleet.member(2).will = Will::Hang;
    fleet.member(2).connected = true;
    fleet.plan.waves[0].max_concurrent = 1;
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Succeeded { .. }));
    fleet
        .state
        .clusters
        .get_mut(&id(2))
        .expect("it is there")
        .phase = ClusterPhase::Waiting;
    fleet.lose(2);
    fleet.now += jiff::SignedDuration::from_secs(46);
    for number in [1, 3] {
        fleet.member(number).last_heard = fleet.now;
    }
    fleet.actions = vec![crate::run::PendingAction {
        cluster: Some(id(1)),
        ..fleet.act(ActionKind::Rollback, "ana")
    }];
    let decision = fleet.decide();
    assert_eq!(decision.answered[0].outcome, Executed);
    assert!(!matches!(
        fleet.state.waves[0].phase,
        WavePhase::Passed { .. } | WavePhase::Settling { .. }
    ));
}
