use bellwether_api::{
    command::{AbortCause, CommandOutcome, CommandSource, ExecutedCommand},
    status::Phase,
};

use super::model::{Fleet, Will, id, plan, track, wave};
use crate::{
    plan::{Plan, PlannedWave},
    run::{
        ActionKind,
        ActionOutcome::{Executed, Refused, Stale},
        AnsweredAction, ClusterPhase, Decision, PendingAction, RunStatus,
    },
};

/// Where an action is said.
#[derive(Clone, Copy, Debug)]
enum Place {
    Run,
    Wave(&'static str),
    Cluster(u128),
}

/// Clusters 1 and 2 are under way in wave `a`, 3 waits for its turn there, 4 in wave `b`.
fn under_way() -> Fleet {
    let mut fleet = Fleet::new(Plan {
        by_hand: vec![super::model::by_hand("web", false)],
        ..plan(vec![
            PlannedWave {
                max_concurrent: 2,
                ..wave("a", 1..4)
            },
            wave("b", 4..5),
        ])
    });
    for number in [1, 2] {
        fleet.member(number).will = Will::Hang;
    }
    fleet.settle();
    for number in [1, 2] {
        fleet.shows(number, vec![track("web", Phase::Paused, "Approval")]);
    }
    fleet.decide();
    fleet
}

fn say(fleet: &mut Fleet, kind: ActionKind, place: Place) -> (Decision, AnsweredAction) {
    let action = PendingAction {
        wave: match place {
            Place::Wave(name) => Some(name.to_owned()),
            _ => None,
        },
        cluster: match place {
            Place::Cluster(number) => Some(id(number)),
            _ => None,
        },
        set: (kind == ActionKind::SetWeight).then(Default::default),
        ..fleet.act(kind, "ana")
    };
    fleet.actions = vec![action];
    let decision = fleet.decide();
    let answered = decision.answered[0].clone();
    (decision, answered)
}

#[test]
fn every_verb_names_the_clusters_that_it_concerns() {
    use ActionKind as Kind;
    use Place::{Cluster, Run, Wave};
    let cases: &[(Kind, Place, _, &[&str])] = &[
        (Kind::Approve, Run, Executed, &["c1", "c2"]),
        (Kind::Approve, Wave("a"), Executed, &["c1", "c2"]),
        (Kind::Approve, Cluster(2), Executed, &["c2"]),
        (Kind::Approve, Wave("b"), Stale, &[]),
        (Kind::Approve, Cluster(3), Stale, &[]),
        (Kind::Suspend, Run, Executed, &["c1", "c2", "c3", "c4"]),
        (Kind::Suspend, Wave("a"), Executed, &["c1", "c2", "c3"]),
        (Kind::Suspend, Cluster(4), Executed, &["c4"]),
        (Kind::Promote, Run, Executed, &["c1", "c2"]),
        (Kind::Promote, Wave("a"), Executed, &["c1", "c2"]),
        (Kind::Promote, Cluster(1), Executed, &["c1"]),
        (Kind::Promote, Wave("b"), Stale, &[]),
        (Kind::Skip, Run, Executed, &["c1", "c2"]),
        (Kind::Skip, Wave("a"), Executed, &["c1", "c2"]),
        (Kind::Skip, Cluster(4), Executed, &["c4"]),
        (Kind::SetWeight, Run, Executed, &["c1", "c2"]),
        (Kind::SetWeight, Wave("a"), Executed, &["c1", "c2"]),
        (Kind::SetWeight, Cluster(1), Executed, &["c1"]),
        (Kind::SetWeight, Cluster(4), Stale, &[]),
        (Kind::Abort, Run, Executed, &["c1", "c2"]),
        (Kind::Abort, Wave("a"), Executed, &["c1", "c2"]),
        (Kind::Abort, Cluster(2), Executed, &["c2"]),
        (Kind::Abort, Wave("b"), Stale, &[]),
        (Kind::Rollback, Wave("a"), Executed, &["c1", "c2"]),
        (Kind::Rollback, Cluster(1), Executed, &["c1"]),
        (Kind::Rollback, Wave("b"), Stale, &[]),
        (Kind::Resume, Run, Stale, &[]),
        (Kind::Retry, Run, Stale, &[]),
        (Kind::Finish, Run, Refused, &[]),
        (Kind::Finish, Wave("a"), Refused, &[]),
    ];
    for (kind, place, outcome, clusters) in cases {
        let mut fleet = under_way();
        let (_, answered) = say(&mut fleet, *kind, *place);
        let what = format!("{kind:?} {place:?}: {}", answered.message);
        assert_eq!(answered.outcome, *outcome, "{what}");
        let told: Vec<&str> = answered
            .clusters
            .iter()
            .map(|one| one.cluster.as_str())
            .collect();
        assert_eq!(told, *clusters, "{what}");
        assert!(!answered.message.is_empty(), "{what}");
        for one in &answered.clusters {
            assert!(
                one.outcome == Executed && !one.message.is_empty(),
                "{one:?}"
            );
        }
    }
}

#[test]
fn what_was_stopped_somewhere_is_resumed_there() {
    for (place, clusters) in [
        (Place::Run, &["c1", "c2", "c3", "c4"][..]),
        (Place::Wave("a"), &["c1", "c2", "c3"]),
        (Place::Cluster(2), &["c2"]),
    ] {
        let mut fleet = under_way();
        say(&mut fleet, ActionKind::Suspend, place);
        let (_, answered) = say(&mut fleet, ActionKind::Resume, place);
        assert_eq!(answered.outcome, Executed, "{place:?}");
        let told: Vec<&str> = answered
            .clusters
            .iter()
            .map(|one| one.cluster.as_str())
            .collect();
        assert_eq!(told, clusters, "{place:?}");
    }
    let mut fleet = under_way();
    say(&mut fleet, ActionKind::Suspend, Place::Run);
    let (_, answered) = say(&mut fleet, ActionKind::Resume, Place::Cluster(2));
    assert_eq!(answered.outcome, Stale);
    assert!(answered.message.contains("the whole run"), "{answered:?}");
}

#[test]
fn a_silent_cluster_is_told_of_as_such() {
    let mut fleet = under_way();
    fleet.lose(2);
    fleet.pass(60);
    let (_, answered) = say(&mut fleet, ActionKind::Promote, Place::Run);
    assert!(
        answered.clusters[1]
            .message
            .contains("once it is heard again"),
        "{answered:?}"
    );
}

/// Three clusters that have the release, in one wave of which one may be under way.
fn succeeded() -> Fleet {
    let mut fleet = Fleet::new(plan(vec![wave("a", 1..4), wave("b", 4..5)]));
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    fleet
}

#[test]
fn a_wave_that_is_done_is_taken_back_within_its_limits() {
    let mut fleet = succeeded();
    let (decision, answered) = say(&mut fleet, ActionKind::Rollback, Place::Wave("a"));
    assert_eq!(answered.outcome, Executed, "{answered:?}");
    assert_eq!(answered.clusters.len(), 3);
    assert_eq!(decision.grants.len(), 1, "one at a time");
    fleet.settle();
    for number in 1..4 {
        let phase = fleet.phase(number);
        assert!(matches!(phase, ClusterPhase::Reverted { .. }), "{phase:?}");
        assert_eq!(fleet.member(number).applied.as_deref(), Some("old"));
    }
    assert!(matches!(fleet.phase(4), ClusterPhase::Succeeded { .. }));
    let (_, again) = say(&mut fleet, ActionKind::Rollback, Place::Wave("a"));
    assert_eq!(again.outcome, Stale, "{again:?}");
    // What was taken back can be brought in again, alone.
    let (_, retried) = say(&mut fleet, ActionKind::Retry, Place::Cluster(2));
    assert_eq!(retried.outcome, Executed, "{retried:?}");
    fleet.settle();
    assert!(matches!(fleet.phase(2), ClusterPhase::Succeeded { .. }));
    assert!(matches!(fleet.phase(1), ClusterPhase::Reverted { .. }));
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn a_cluster_is_taken_back_from_wherever_it_is_and_the_run_goes_on() {
    let mut fleet = Fleet::new(plan(vec![
        PlannedWave {
            max_failures: 1,
            max_concurrent: 2,
            ..wave("a", 1..3)
        },
        wave("b", 3..4),
    ]));
    fleet.member(2).will = Will::Hang;
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Succeeded { .. }));
    say(&mut fleet, ActionKind::Rollback, Place::Cluster(1));
    say(&mut fleet, ActionKind::Rollback, Place::Cluster(2));
    let command = fleet.member(2).command.clone().expect("a command");
    assert_eq!(command.abort.expect("an abort").cause, AbortCause::Manual);
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Reverted { .. }));
    assert!(matches!(fleet.phase(2), ClusterPhase::Failed { .. }));
    assert!(matches!(fleet.phase(3), ClusterPhase::Succeeded { .. }));
}

#[test]
fn a_silent_cluster_is_taken_back_once_it_is_heard() {
    let mut fleet = succeeded();
    fleet.lose(1);
    fleet.pass(60);
    let (decision, answered) = say(&mut fleet, ActionKind::Rollback, Place::Cluster(1));
    assert_eq!((answered.outcome, decision.grants.len()), (Executed, 0));
    fleet.member(1).connected = true;
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Reverted { .. }));
}

#[test]
fn only_an_ended_run_is_put_away_and_never_tried_again() {
    let mut fleet = under_way();
    let (_, refused) = say(&mut fleet, ActionKind::Finish, Place::Run);
    assert!(refused.message.contains("abort or rollback"), "{refused:?}");
    say(&mut fleet, ActionKind::Abort, Place::Run);
    fleet.settle();
    fleet.shows(1, vec![track("web", Phase::RollingBack, "CanaryDraining")]);
    let (_, early) = say(&mut fleet, ActionKind::Finish, Place::Run);
    assert!(early.message.contains("under way at c1;"), "{early:?}");
    fleet.shows(1, vec![track("web", Phase::Failed, "Done")]);
    let (_, done) = say(&mut fleet, ActionKind::Finish, Place::Run);
    assert_eq!(done.outcome, Executed, "{done:?}");
    assert_eq!(
        fleet.state.archived.as_ref().map(|stop| stop.by.as_str()),
        Some("ana")
    );
    for kind in [ActionKind::Finish, ActionKind::Retry] {
        assert_eq!(
            say(&mut fleet, kind, Place::Run).1.outcome,
            Stale,
            "{kind:?}"
        );
    }
}

#[test]
fn a_command_stays_until_every_rollout_under_way_has_answered() {
    let mut fleet = under_way();
    fleet.shows(
        1,
        vec![
            track("web", Phase::Paused, "Approval"),
            track("api", Phase::Progressing, "Checks"),
            track("old", Phase::Succeeded, "Done"),
        ],
    );
    say(&mut fleet, ActionKind::Approve, Place::Cluster(1));
    let queued = |fleet: &Fleet| fleet.state.clusters[&id(1)].queue.len();
    let command = fleet.state.clusters[&id(1)].queue[0].id;
    let answer = |fleet: &mut Fleet, rollout: &str, outcome| {
        let status = fleet.member(1).status.as_mut().expect("a status");
        status.executed.push(ExecutedCommand {
            source: CommandSource::Hub,
            id: command,
            outcome,
            message: "it waits at no gate".to_owned(),
            rollout: rollout.to_owned(),
        });
        fleet.decide().events
    };
    let events = answer(&mut fleet, "api", CommandOutcome::Stale);
    assert_eq!(
        (queued(&fleet), events.len()),
        (1, 0),
        "web has not seen it"
    );
    let events = answer(&mut fleet, "web", CommandOutcome::Executed);
    assert_eq!((queued(&fleet), events.len()), (0, 1));
    assert_eq!(events[0].reason, "CommandExecuted");
}
