use bellwether_api::{
    application::OnFailure,
    command::{AbortCause, CommandOutcome, CommandSource, ExecutedCommand, Verb},
    status::{PAUSED_AFTER_FAILURE, Phase},
};

use super::model::{Fleet, Will, approval, id, plan, soak, track, wave};
use crate::run::{
    ActionKind,
    ActionOutcome::{Conflict, Executed, Refused, Stale},
    ClusterPhase, PendingAction, RunStatus,
};

fn gated(count: u32, by: &[&str]) -> Fleet {
    let canary = crate::plan::PlannedWave {
        after: vec![approval(count, by)],
        ..wave("canary", 1..2)
    };
    Fleet::new(plan(vec![canary, wave("rest", 2..3)]))
}

fn hanging() -> Fleet {
    let mut fleet = Fleet::new(plan(vec![crate::plan::PlannedWave {
        max_concurrent: 2,
        ..wave("all", 1..4)
    }]));
    fleet.member(1).will = Will::Hang;
    fleet.member(2).will = Will::Hang;
    fleet.settle();
    fleet
}

#[test]
fn approvals_need_the_right_people_and_enough_of_them() {
    let mut fleet = gated(2, &["ana", "ben"]);
    fleet.settle();
    let eve = fleet.act(ActionKind::Approve, "eve");
    assert_eq!(
        fleet.answer(eve),
        (Refused, "only ana, ben may approve this gate".to_owned())
    );
    let ana = fleet.act(ActionKind::Approve, "ana");
    assert_eq!(fleet.answer(ana).0, Executed);
    let ana = fleet.act(ActionKind::Approve, "ana");
    assert_eq!(fleet.answer(ana).0, Stale, "nobody counts twice");
    assert_eq!(fleet.granted(), [1]);
    let ben = fleet.act(ActionKind::Approve, "ben");
    let ben = PendingAction {
        wave: Some("canary".to_owned()),
        ..ben
    };
    assert_eq!(fleet.answer(ben).0, Executed);
    assert_eq!(fleet.granted(), [1, 2]);
    let late = fleet.act(ActionKind::Approve, "ana");
    assert_eq!(fleet.answer(late).0, Stale);
}

#[test]
fn an_action_on_another_revision_conflicts() {
    let mut fleet = gated(1, &[]);
    fleet.settle();
    let old = fleet.act(ActionKind::Approve, "ana");
    let old = PendingAction {
        expected_revision: Some(6),
        ..old
    };
    assert_eq!(
        fleet.answer(old),
        (Conflict, "you saw revision 6, it is now 7".to_owned())
    );
    assert_eq!(fleet.granted(), [1]);
}

#[test]
fn an_action_is_executed_once_however_often_it_comes() {
    let mut fleet = hanging();
    let promote = fleet.act(ActionKind::Promote, "ana");
    assert_eq!(fleet.answer(promote.clone()).0, Executed);
    let queued = fleet.state.clusters[&id(1)].queue.len();
    fleet.actions = vec![promote];
    let again = fleet.decide();
    assert!(again.answered.is_empty());
    assert_eq!(fleet.state.clusters[&id(1)].queue.len(), queued);
}

#[test]
fn names_that_do_not_exist_are_refused() {
    let mut fleet = gated(1, &[]);
    let wave = PendingAction {
        wave: Some("nope".to_owned()),
        ..fleet.act(ActionKind::Suspend, "ana")
    };
    assert_eq!(
        fleet.answer(wave),
        (Refused, "there is no wave nope".to_owned())
    );
    let cluster = PendingAction {
        cluster: Some(id(42)),
        ..fleet.act(ActionKind::Skip, "ana")
    };
    assert_eq!(fleet.answer(cluster).0, Refused);
}

#[test]
fn suspend_stops_grants_and_reaches_the_agents() {
    let mut fleet = hanging();
    let suspend = fleet.act(ActionKind::Suspend, "ana");
    assert_eq!(fleet.answer(suspend).0, Executed);
    assert!(fleet.member(1).command.as_ref().expect("a command").suspend);
    fleet.member(1).will = Will::Succeed;
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2], "nobody new starts");
    assert_eq!(fleet.decide().waiting_on[0].reason, "Suspended");
    let resume = fleet.act(ActionKind::Resume, "ana");
    assert_eq!(fleet.answer(resume).0, Executed);
    assert!(!fleet.member(2).command.as_ref().expect("a command").suspend);
    assert_eq!(fleet.granted(), [1, 2, 3]);
}

#[test]
fn resume_lets_go_on_what_paused_after_a_failure_and_opens_no_gate() {
    let mut fleet = hanging();
    fleet.shows(1, vec![track("web", Phase::Paused, PAUSED_AFTER_FAILURE)]);
    fleet.shows(2, vec![track("web", Phase::Paused, "Approval")]);
    let suspend = fleet.act(ActionKind::Suspend, "ana");
    fleet.answer(suspend);
    let resume = fleet.act(ActionKind::Resume, "ana");
    assert_eq!(
        fleet.answer(resume),
        (Executed, "resumed".to_owned()),
        "what a human stopped goes on first"
    );
    assert!(fleet.state.clusters[&id(1)].queue.is_empty());
    let elsewhere = PendingAction {
        cluster: Some(id(2)),
        ..fleet.act(ActionKind::Resume, "ana")
    };
    assert_eq!(fleet.answer(elsewhere).0, Stale);
    let resume = fleet.act(ActionKind::Resume, "ana");
    assert_eq!(
        fleet.answer(resume),
        (Executed, "sent to c1".to_owned()),
        "c2 waits at a gate"
    );
    let command = fleet.member(1).command.clone().expect("a command");
    assert_eq!(command.queue[0].verb, Verb::Resume);
    assert!(fleet.state.clusters[&id(2)].queue.is_empty());
}

#[test]
fn one_cluster_can_be_suspended_alone() {
    let mut fleet = hanging();
    let suspend = fleet.act(ActionKind::Suspend, "ana");
    let suspend = PendingAction {
        cluster: Some(id(1)),
        ..suspend
    };
    assert_eq!(fleet.answer(suspend).0, Executed);
    assert!(fleet.member(1).command.as_ref().expect("a command").suspend);
    assert!(fleet.member(2).command.is_none());
}

#[test]
fn abort_sends_back_what_is_under_way_and_leaves_the_rest() {
    let mut fleet = hanging();
    let abort = fleet.act(ActionKind::Abort, "ana");
    assert_eq!(fleet.answer(abort).0, Executed);
    let command = fleet.member(1).command.clone().expect("a command");
    assert_eq!(command.abort.expect("an abort").cause, AbortCause::Manual);
    fleet.settle();
    assert!(matches!(&fleet.state.status, RunStatus::Aborted { by, .. } if by == "ana"));
    assert_eq!(fleet.granted(), [1, 2], "the third was never touched");
    assert!(matches!(fleet.phase(3), ClusterPhase::Waiting));
}

#[test]
fn abort_under_rollback_all_takes_everything_back() {
    let mut fleet = Fleet::new(crate::plan::Plan {
        on_failure: OnFailure::RollbackAll,
        ..plan(vec![wave("a", 1..2), wave("b", 2..3)])
    });
    fleet.member(2).will = Will::Hang;
    fleet.settle();
    let abort = fleet.act(ActionKind::Abort, "ana");
    assert_eq!(fleet.answer(abort).0, Executed);
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Reverted { .. }));
    assert!(matches!(fleet.state.status, RunStatus::Aborted { .. }));
}

#[test]
fn retry_takes_only_what_failed() {
    let mut fleet = Fleet::new(plan(vec![
        crate::plan::PlannedWave {
            max_concurrent: 3,
            ..wave("all", 1..4)
        },
        wave("next", 4..5),
    ]));
    fleet.member(2).will = Will::Fail;
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
    fleet.member(2).will = Will::Succeed;
    let retry = fleet.act(ActionKind::Retry, "ana");
    fleet.actions = vec![retry];
    let decision = fleet.decide();
    let grants: Vec<(u128, u32)> = decision
        .grants
        .iter()
        .map(|grant| (grant.cluster.as_u128(), grant.attempt))
        .collect();
    assert_eq!(grants, [(2, 2)]);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    let retry = fleet.act(ActionKind::Retry, "ana");
    assert_eq!(fleet.answer(retry).0, Stale);
}

#[test]
fn retry_opens_an_aborted_run_again() {
    let mut fleet = hanging();
    let abort = fleet.act(ActionKind::Abort, "ana");
    fleet.answer(abort);
    fleet.settle();
    fleet.member(1).will = Will::Succeed;
    fleet.member(2).will = Will::Succeed;
    let retry = fleet.act(ActionKind::Retry, "ana");
    assert_eq!(fleet.answer(retry).0, Executed);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    assert_eq!(fleet.state.clusters[&id(1)].attempt, 2);
}

#[test]
fn skip_goes_on_without_a_cluster_or_passes_a_step() {
    let mut fleet = hanging();
    let skip = PendingAction {
        cluster: Some(id(1)),
        ..fleet.act(ActionKind::Skip, "ana")
    };
    assert_eq!(fleet.answer(skip).0, Executed);
    assert_eq!(fleet.granted(), [1, 2, 3], "its slot is free");
    let step = PendingAction {
        cluster: Some(id(2)),
        step: Some(3),
        ..fleet.act(ActionKind::Skip, "ana")
    };
    assert_eq!(fleet.answer(step).0, Executed);
    let command = fleet.member(2).command.clone().expect("a command");
    assert_eq!(
        (command.queue[0].verb, command.queue[0].step),
        (Verb::Skip, Some(3))
    );
}

#[test]
fn answered_commands_leave_the_queue_and_no_more_than_sixteen_wait() {
    let mut fleet = hanging();
    for _ in 0..16 {
        let step = fleet.act(ActionKind::Skip, "ana");
        assert_eq!(fleet.answer(step).0, Executed);
    }
    let more = fleet.act(ActionKind::Skip, "ana");
    assert_eq!(fleet.answer(more).0, Refused);
    let answered = fleet.state.clusters[&id(1)].queue[0].id;
    fleet
        .member(1)
        .status
        .as_mut()
        .expect("a status")
        .executed
        .push(ExecutedCommand {
            source: CommandSource::Hub,
            id: answered,
            outcome: CommandOutcome::Executed,
            message: String::new(),
            rollout: String::new(),
        });
    fleet.decide();
    assert_eq!(fleet.state.clusters[&id(1)].queue.len(), 15);
}

#[test]
fn promote_opens_the_gate_that_waits_and_says_who() {
    let canary = crate::plan::PlannedWave {
        after: vec![soak("1h"), approval(1, &["ana"])],
        ..wave("canary", 1..2)
    };
    let mut fleet = Fleet::new(plan(vec![canary, wave("rest", 2..3)]));
    fleet.settle();
    let promote = fleet.act(ActionKind::Promote, "ben");
    assert_eq!(fleet.answer(promote).0, Executed);
    assert_eq!(fleet.granted(), [1, 2]);
    let overridden = fleet.state.waves[0].after[0]
        .overridden
        .as_ref()
        .expect("a record");
    assert_eq!(overridden.by, "ben");
}

#[test]
fn a_rollout_that_says_suspend_stops_the_run() {
    let mut fleet = hanging();
    fleet.suspended_by_spec = true;
    fleet.decide();
    assert!(fleet.member(1).command.as_ref().expect("a command").suspend);
    let resume = fleet.act(ActionKind::Resume, "ana");
    assert_eq!(fleet.answer(resume).0, Refused);
}
