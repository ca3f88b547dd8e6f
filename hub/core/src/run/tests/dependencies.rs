//! What a cluster waits for before it is granted.

use bellwether_api::application::OnFailure;

use super::model::{Fleet, Will, plan, planned, wave};
use crate::{
    plan::{Plan, PlannedWave},
    run::{ActionKind, GrantRelease, PendingAction, RunStatus, tests::model::Member},
};

fn three(plan_of: impl Fn(Plan) -> Plan) -> Fleet {
    let all = PlannedWave {
        max_concurrent: 2,
        ..wave("all", 1..4)
    };
    Fleet::new(plan_of(plan(vec![all, wave("rest", 4..5)])))
}

fn messages(fleet: &mut Fleet) -> Vec<(String, String, Option<String>)> {
    let decision = fleet.decide();
    let waits = decision.waiting_on.into_iter();
    waits.map(|one| (one.reason, one.message, one.on)).collect()
}

#[test]
fn a_cluster_is_granted_once_what_it_waits_for_is_healthy() {
    let mut fleet = three(|plan| plan);
    fleet.member(1).wait_for("db", true);
    fleet.decide();
    assert_eq!(fleet.granted(), [2, 3], "who waits takes nobody's slot");
    fleet.settle();
    assert_eq!(fleet.granted(), [2, 3], "the wave is not done");
    assert_eq!(
        messages(&mut fleet),
        [
            (
                "DependsOn".to_owned(),
                "waiting for application shop/db: 2 of 3 clusters healthy".to_owned(),
                Some("application/shop/db".to_owned())
            ),
            (
                "DependsOn".to_owned(),
                "c1 waits for application shop/db: its release is under way".to_owned(),
                Some("cluster/c1".to_owned())
            ),
        ]
    );
    fleet.member(1).wait_for("db", false);
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2, 3, 4]);
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn every_one_of_several_is_waited_for() {
    let mut fleet = three(|plan| plan);
    fleet.member(1).wait_for("db", true);
    fleet.member(1).wait_for("queue", true);
    fleet.settle();
    let on: Vec<_> = messages(&mut fleet).into_iter().map(|one| one.2).collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        on,
        [
            named("application/shop/db"),
            named("application/shop/queue"),
            named("cluster/c1")
        ]
    );
    fleet.member(1).wait_for("db", false);
    fleet.decide();
    assert_eq!(fleet.granted(), [2, 3]);
}

#[test]
fn what_was_granted_does_not_wait_any_more() {
    let mut fleet = three(|plan| plan);
    fleet.member(1).will = Will::Hang;
    fleet.decide();
    fleet.member(1).wait_for("db", true);
    fleet.agents();
    assert!(
        messages(&mut fleet)
            .iter()
            .all(|one| one.0 != "DependsOn" || one.2.as_deref() != Some("cluster/c1"))
    );
    fleet.member(1).will = Will::Succeed;
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
}

#[test]
fn going_back_waits_for_nothing() {
    let mut fleet = three(|plan| Plan {
        on_failure: OnFailure::RollbackAll,
        ..plan
    });
    fleet.settle();
    for cluster in 1..5 {
        fleet.member(cluster).wait_for("db", true);
    }
    let abort = fleet.act(ActionKind::Rollback, "ana");
    fleet.actions.push(PendingAction {
        wave: Some("all".to_owned()),
        ..abort
    });
    fleet.decide();
    fleet.settle();
    let granted = &fleet.member(1).granted;
    let granted = granted.as_ref().expect("it was granted");
    assert!(matches!(granted.release, GrantRelease::Digest(_)));

    // A release that restores an earlier one waits neither.
    let mut fleet = three(|plan| Plan {
        rollback: true,
        ..plan
    });
    fleet.member(1).wait_for("db", true);
    fleet.settle();
    assert_eq!(fleet.granted(), [1, 2, 3, 4]);
}

#[test]
fn late_joiners_wait_too() {
    let mut fleet = three(|plan| plan);
    fleet.settle();
    fleet.joiners = vec![planned(20)];
    let mut joiner = Member::new(fleet.now);
    joiner.wait_for("monitoring", true);
    let id = super::model::id(20);
    fleet.members.insert(id, joiner);
    fleet.settle();
    assert!(!fleet.granted().contains(&20));
    fleet.member(20).wait_for("monitoring", false);
    fleet.settle();
    assert!(fleet.granted().contains(&20));
}
