//! Waves and clusters that are put away, or taken to a release that is named.

use super::model::{Fleet, Will, id, plan, wave};
use crate::run::{
    ActionKind,
    ActionOutcome::{Executed, Refused, Stale},
    ClusterPhase, GrantRelease, NamedRelease, PendingAction, RunStatus,
};

fn named() -> NamedRelease {
    NamedRelease::Found {
        revision: 3,
        digest: "older".to_owned(),
    }
}

fn undo(fleet: &mut Fleet, wave: Option<&str>, cluster: Option<u128>) -> PendingAction {
    PendingAction {
        wave: wave.map(str::to_owned),
        cluster: cluster.map(id),
        to: Some(named()),
        ..fleet.act(ActionKind::Rollback, "ana")
    }
}

fn finish(fleet: &mut Fleet, wave: Option<&str>, cluster: Option<u128>) -> PendingAction {
    PendingAction {
        wave: wave.map(str::to_owned),
        cluster: cluster.map(id),
        ..fleet.act(ActionKind::Finish, "ana")
    }
}

/// Two waves, where failures stop nothing; cluster 2 of the first failed.
fn failed() -> Fleet {
    let mut fleet = Fleet::new(crate::plan::Plan {
        on_failure: bellwether_api::application::OnFailure::Continue,
        ..plan(vec![wave("one", 1..3), wave("two", 3..4)])
    });
    fleet.member(2).will = Will::Fail;
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Failed { .. }));
    fleet
}

#[test]
fn a_cluster_that_is_put_away_is_not_tried_again_with_its_run() {
    for (wave, cluster) in [(Some("one"), None), (None, Some(2))] {
        let mut fleet = failed();
        let away = finish(&mut fleet, wave, cluster);
        let (outcome, message) = fleet.answer(away);
        assert_eq!(outcome, Executed, "{message}");
        assert!(fleet.state.archived.is_none(), "the run itself is not");
        assert!(matches!(fleet.phase(1), ClusterPhase::Succeeded { .. }));
        assert!(matches!(fleet.phase(2), ClusterPhase::Skipped { by, .. } if by == "ana"));
        fleet.settle();
        assert!(matches!(fleet.state.status, RunStatus::Failed { .. }));
        let retry = fleet.act(ActionKind::Retry, "ana");
        assert_eq!(fleet.answer(retry).0, Stale, "nothing else failed");
        let again = finish(&mut fleet, wave, cluster);
        assert_eq!(fleet.answer(again).0, Stale);
    }
}

#[test]
fn what_was_away_does_not_catch_up_once_it_is_put_away() {
    let mut fleet = Fleet::new(plan(vec![crate::plan::PlannedWave {
        unreachable: bellwether_api::application::UnreachablePolicy::SkipAndCatchUp,
        max_concurrent: 2,
        ..wave("all", 1..3)
    }]));
    fleet.lose(2);
    fleet.pass(90);
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));
    let away = finish(&mut fleet, None, Some(2));
    assert_eq!(fleet.answer(away).0, Executed);
    fleet.member(2).connected = true;
    fleet.settle();
    assert_eq!(fleet.granted(), [1]);
}

#[test]
fn nothing_of_a_run_that_goes_on_is_put_away() {
    let mut fleet = Fleet::new(plan(vec![wave("all", 1..3)]));
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    let early = finish(&mut fleet, None, Some(2));
    let (outcome, why) = fleet.answer(early);
    assert_eq!(outcome, Refused);
    assert!(why.contains("skip --cluster"), "{why}");
}

#[test]
fn a_cluster_is_taken_to_the_release_that_is_named_from_wherever_it_is() {
    // It has the release.
    let mut fleet = Fleet::new(plan(vec![wave("a", 1..3), wave("b", 3..4)]));
    fleet.settle();
    let whole = undo(&mut fleet, Some("a"), None);
    fleet.actions = vec![whole];
    let decision = fleet.decide();
    assert_eq!(
        decision.answered[0].message,
        "2 clusters go back to revision 3"
    );
    let releases: Vec<_> = decision.grants.iter().map(|one| &one.release).collect();
    let older = GrantRelease::Digest("older".to_owned());
    assert_eq!(releases, [&older], "one at a time");
    assert!(!decision.is_return(&decision.grants[0]), "it never had it");
    fleet.settle();
    for number in [1, 2] {
        assert!(matches!(fleet.phase(number), ClusterPhase::Reverted { .. }));
        let granted = fleet.member(number).granted.as_ref();
        assert_eq!(granted.map(|one| one.release.clone()), Some(older.clone()));
    }
    assert!(matches!(fleet.state.status, RunStatus::Succeeded { .. }));

    // It is under way: it goes back first.
    let mut fleet = Fleet::new(plan(vec![
        crate::plan::PlannedWave {
            max_failures: 1,
            ..wave("a", 1..2)
        },
        wave("b", 2..3),
    ]));
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    let one = undo(&mut fleet, None, Some(1));
    fleet.actions = vec![one];
    let decision = fleet.decide();
    assert!(decision.grants.is_empty(), "{decision:#?}");
    assert_eq!(
        decision.answered[0].clusters[0].message,
        "goes back to what it had, then gets revision 3 as a plain update"
    );
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Reverted { .. }));
    assert_eq!(
        fleet.member(1).granted.as_ref().map(|one| &one.release),
        Some(&older)
    );
    assert!(matches!(fleet.phase(2), ClusterPhase::Succeeded { .. }));
}

#[test]
fn a_cluster_that_failed_is_taken_to_the_release_that_is_named() {
    let mut fleet = Fleet::new(plan(vec![wave("a", 1..2), wave("b", 2..3)]));
    fleet.member(1).will = Will::Fail;
    fleet.settle();
    assert!(matches!(fleet.state.status, RunStatus::Halted { .. }));
    let one = undo(&mut fleet, None, Some(1));
    assert_eq!(fleet.answer(one).0, Executed);
    fleet.settle();
    assert!(matches!(fleet.phase(1), ClusterPhase::Reverted { .. }));
    assert!(
        matches!(fleet.state.status, RunStatus::Halted { .. }),
        "a human lets it go on"
    );
    let go_on = fleet.act(ActionKind::Retry, "ana");
    let go_on = PendingAction {
        wave: Some("a".to_owned()),
        ..go_on
    };
    assert_eq!(fleet.answer(go_on).0, Executed);
}

#[test]
fn a_release_that_is_named_and_cannot_be_had_is_refused_and_changes_nothing() {
    let mut fleet = Fleet::new(plan(vec![wave("a", 1..2), wave("b", 2..3)]));
    fleet.settle();
    let missing = PendingAction {
        to: Some(NamedRelease::Missing {
            why: "there is no revision 9; kept are 7".to_owned(),
        }),
        ..undo(&mut fleet, None, Some(1))
    };
    assert_eq!(
        fleet.answer(missing),
        (Refused, "there is no revision 9; kept are 7".to_owned())
    );
    assert!(matches!(fleet.phase(1), ClusterPhase::Succeeded { .. }));
    // Whoever waits for the release has nothing that is taken back.
    let mut fleet = Fleet::new(plan(vec![wave("a", 1..2), wave("b", 2..3)]));
    fleet.member(1).will = Will::Hang;
    fleet.settle();
    let waits = undo(&mut fleet, None, Some(2));
    let (outcome, why) = fleet.answer(waits);
    assert_eq!(outcome, Stale, "{why}");
}
