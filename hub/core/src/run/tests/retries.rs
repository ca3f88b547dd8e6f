//! Trying again while clusters are still on their way back.

use bellwether_api::{application::OnFailure, status::UnitOutcome};

use super::model::{Fleet, Will, id, plan, wave};
use crate::{
    plan::{Plan, PlannedWave},
    run::{
        ActionKind,
        ActionOutcome::{Executed, Refused, Stale},
        ClusterPhase, PendingAction, RunStatus, WavePhase,
    },
};

fn of_cluster(fleet: &mut Fleet, kind: ActionKind, number: u128) -> PendingAction {
    PendingAction {
        cluster: Some(id(number)),
        ..fleet.act(kind, "ana")
    }
}

/// Cluster 1 has the release; 2 failed and goes back, which halted the run; 3 waits in the next wave.
fn halted() -> Fleet {
    let mut fleet = Fleet::new(plan(vec![
        wave("one", 1..2),
        wave("two", 2..3),
        wave("three", 3..4),
    ]));
    fleet.member(2).will = Will::Hang;
    fleet.settle();
    fleet.reports(2, UnitOutcome::RollingBack);
    fleet.decide();
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
    assert!(matches!(fleet.phase(2), ClusterPhase::Returning { .. }));
    fleet
}

/// The way back of cluster 2 ends, and it would take the release now.
fn is_back(fleet: &mut Fleet) {
    fleet.reports(2, UnitOutcome::Failed);
    fleet.member(2).will = Will::Succeed;
    fleet.settle();
}

#[test]
fn what_still_goes_back_is_tried_again_once_it_is_back() {
    let mut fleet = halted();
    let retry = fleet.act(ActionKind::Retry, "ana");
    fleet.actions = vec![retry];
    let decision = fleet.decide();
    let answered = &decision.answered[0];
    assert_eq!(answered.outcome, Executed);
    assert_eq!(
        answered.message,
        "1 clusters go back first and are tried again then"
    );
    assert_eq!(
        answered.clusters[0].message,
        "goes back first and is tried again then"
    );
    assert!(decision.grants.is_empty(), "{:?}", decision.grants);
    // It does not halt again over what is being mended, and says what it waits for.
    fleet.pass(10);
    assert_eq!(fleet.state.status, RunStatus::Progressing);
    assert!(matches!(
        fleet.state.waves[1].phase,
        WavePhase::Running { .. }
    ));
    let waits = fleet.decide().waiting_on;
    assert!(
        waits[0]
            .message
            .ends_with("; then it is tried again (retry by ana)"),
        "{waits:?}"
    );
    is_back(&mut fleet);
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    let attempts = [1, 2, 3].map(|number| fleet.state.clusters[&id(number)].attempt);
    assert_eq!(attempts, [1, 2, 1]);
}

#[test]
fn a_silent_cluster_keeps_its_retry_until_it_is_heard() {
    let mut fleet = halted();
    let retry = of_cluster(&mut fleet, ActionKind::Retry, 2);
    assert_eq!(fleet.answer(retry).0, Executed);
    fleet.lose(2);
    fleet.pass(90);
    assert_eq!(fleet.decide().waiting_on[0].reason, "ClusterUnreachable");
    fleet.member(2).connected = true;
    is_back(&mut fleet);
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn whoever_ends_the_attempt_for_good_ends_its_retry() {
    for kind in [ActionKind::Abort, ActionKind::Rollback, ActionKind::Skip] {
        let mut fleet = halted();
        let retry = fleet.act(ActionKind::Retry, "ana");
        assert_eq!(fleet.answer(retry).0, Executed);
        let end = of_cluster(&mut fleet, kind, 2);
        assert_eq!(fleet.answer(end).0, Executed, "{kind:?}");
        is_back(&mut fleet);
        assert_eq!(fleet.state.clusters[&id(2)].attempt, 1, "{kind:?}");
    }
    let mut fleet = halted();
    let retry = fleet.act(ActionKind::Retry, "ana");
    fleet.answer(retry);
    let abort = fleet.act(ActionKind::Abort, "ana");
    assert_eq!(fleet.answer(abort).0, Executed);
    is_back(&mut fleet);
    assert!(matches!(fleet.state.status, RunStatus::Aborted { .. }));
    assert!(matches!(fleet.phase(2), ClusterPhase::Failed { .. }));
}

#[test]
fn a_run_that_goes_back_as_a_whole_is_retried_once_it_has_ended() {
    for on_failure in [OnFailure::Halt, OnFailure::RollbackAll] {
        let mut fleet = Fleet::new(Plan {
            on_failure,
            ..plan(vec![wave("all", 1..2)])
        });
        fleet.member(1).will = Will::Hang;
        fleet.settle();
        let abort = fleet.act(ActionKind::Abort, "ana");
        fleet.answer(abort);
        let retry = fleet.act(ActionKind::Retry, "ana");
        let (outcome, why) = fleet.answer(retry);
        assert_eq!(outcome, Refused);
        assert_eq!(
            why,
            "the run goes back, c1 still under way; retry once it has ended"
        );
        fleet.settle();
        let retry = fleet.act(ActionKind::Retry, "ana");
        assert_eq!(fleet.answer(retry).0, Executed);
    }
}

/// Two clusters of one wave failed, where none may.
fn both_failed() -> Fleet {
    let mut fleet = Fleet::new(plan(vec![
        PlannedWave {
            max_concurrent: 2,
            ..wave("one", 1..3)
        },
        wave("two", 3..4),
    ]));
    for number in [1, 2] {
        fleet.member(number).will = Will::Fail;
    }
    fleet.settle();
    for number in [1, 2] {
        assert!(matches!(fleet.phase(number), ClusterPhase::Failed { .. }));
        fleet.member(number).will = Will::Succeed;
    }
    fleet
}

#[test]
fn a_retry_that_would_only_fail_again_is_refused_and_changes_nothing() {
    let mut fleet = both_failed();
    let before = fleet.state.clone();
    let one = of_cluster(&mut fleet, ActionKind::Retry, 1);
    let (outcome, why) = fleet.answer(one);
    assert_eq!(outcome, Refused);
    assert_eq!(
        why,
        "wave one would fail again at once: c2 failed, 0 may; retry all that failed together, or \
         leave a cluster out first (skip --cluster)"
    );
    let after = crate::run::RunState {
        answered: before.answered.clone(),
        next_event: before.next_event,
        ..fleet.state.clone()
    };
    assert_eq!(after, before);
    let skip = of_cluster(&mut fleet, ActionKind::Skip, 2);
    assert_eq!(fleet.answer(skip).0, Executed);
    let one = of_cluster(&mut fleet, ActionKind::Retry, 1);
    assert_eq!(fleet.answer(one).0, Executed);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn a_cluster_that_did_not_fail_is_not_tried_again() {
    let mut fleet = both_failed();
    let other = of_cluster(&mut fleet, ActionKind::Retry, 3);
    let (outcome, why) = fleet.answer(other);
    assert_eq!(
        (outcome, why.as_str()),
        (Stale, "nothing failed there and nothing was taken back")
    );
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
    let mut fleet = Fleet::new(plan(vec![wave("all", 1..2)]));
    fleet.decide();
    let early = fleet.act(ActionKind::Retry, "ana");
    assert_eq!(fleet.answer(early).0, Stale);
}

#[test]
fn what_is_being_taken_back_is_brought_in_again_once_it_is_back() {
    let mut fleet = Fleet::new(plan(vec![wave("all", 1..3)]));
    fleet.settle();
    let wave = PendingAction {
        wave: Some("all".to_owned()),
        ..fleet.act(ActionKind::Rollback, "ana")
    };
    assert_eq!(fleet.answer(wave).0, Executed);
    // One goes back, the other waits for its turn to.
    let retry = fleet.act(ActionKind::Retry, "ana");
    let (outcome, message) = fleet.answer(retry);
    assert_eq!(outcome, Executed, "{message}");
    fleet.settle();
    for number in [1, 2] {
        assert!(matches!(
            fleet.phase(number),
            ClusterPhase::Succeeded { .. }
        ));
        assert_eq!(fleet.member(number).applied.as_deref(), Some("new"));
    }
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}
