use super::model::{Fleet, Will, approval, plan, soak, wave};
use crate::{
    plan::PlannedWave,
    run::{ActionKind, RunStatus},
};

/// Two waves with an approval between them, and one that works on until its agent is told more.
fn completing() -> Fleet {
    let rest = PlannedWave {
        before: vec![approval(1, &["boss"])],
        after: vec![soak("10s")],
        ..wave("rest", 2..4)
    };
    let mut fleet = Fleet::new(plan(vec![wave("canary", 1..2), rest]));
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    fleet
}

#[test]
fn a_deleted_rollout_that_completes_finishes_its_run_without_humans() {
    let mut fleet = completing();
    let suspend = fleet.act(ActionKind::Suspend, "ana");
    fleet.answer(suspend);
    fleet.completes = vec!["web".to_owned()];
    let decision = fleet.decide();
    let told = &decision.commands[0].command;
    assert_eq!(told.complete, ["web"], "the agent waits for nobody either");
    assert!(!told.suspend && told.abort.is_none());
    assert_eq!(fleet.granted(), [1], "the order of waves stands");

    fleet.member(1).will = Will::Succeed;
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2, 3], "no approval is waited for");
    assert!(
        matches!(fleet.state.status, RunStatus::Progressing),
        "the soak is"
    );
    let gate = fleet.state.waves[1].before[0].overridden.clone();
    let gate = gate.expect("the override is kept");
    assert_eq!(gate.reason, "onDeletion: Complete");
    fleet.pass(11);
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn what_failed_is_not_completed_but_goes_back() {
    let mut fleet = completing();
    fleet.completes = vec!["web".to_owned()];
    fleet.member(1).will = Will::Fail;
    fleet.settle();
    assert!(
        matches!(&fleet.state.status, RunStatus::Aborted { by, .. } if by == "hub"),
        "{:?}",
        fleet.state.status
    );
    assert_eq!(fleet.granted(), [1], "nothing further starts");
}

#[test]
fn a_rollout_that_is_back_waits_for_humans_again() {
    let mut fleet = completing();
    fleet.completes = vec!["web".to_owned()];
    fleet.decide();
    fleet.completes.clear();
    let decision = fleet.decide();
    assert!(decision.commands[0].command.complete.is_empty());
    fleet.member(1).will = Will::Succeed;
    fleet.settle();
    assert_eq!(fleet.granted(), [1]);
    assert_eq!(fleet.decide().waiting_on[0].reason, "Approval");
}
