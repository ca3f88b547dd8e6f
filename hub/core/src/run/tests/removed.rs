use bellwether_api::{application::UnreachablePolicy, status::UnitOutcome};
use uuid::Uuid;

use super::model::{Fleet, RUN, Will, id, plan, status, wave};
use crate::{
    plan::PlannedWave,
    run::{ClusterSeen, Decision, Input, RunFacts, decide},
};

/// What is decided of a fleet that is seen like that.
fn decided(fleet: &Fleet, seen: &[ClusterSeen]) -> Decision {
    decide(&Input {
        now: fleet.now,
        run: RunFacts {
            id: RUN,
            revision: 1,
            has_previous: false,
        },
        plan: &fleet.plan,
        state: &fleet.state,
        clusters: seen,
        joiners: &[],
        actions: &[],
        suspended_by_spec: false,
        completes: &[],
        readings: &[],
        supersession: None,
    })
}

/// Grants cluster 1, which still reports release `old`; gives what is remembered to go back to.
fn previous(desired: Option<&str>) -> Option<String> {
    let fleet = Fleet::new(plan(vec![wave("a", 1..2)]));
    let seen: Vec<ClusterSeen> = fleet
        .seen()
        .into_iter()
        .map(|seen| ClusterSeen {
            desired: desired.map(str::to_owned),
            status: Some(status(
                Uuid::nil(),
                1,
                "bundle",
                UnitOutcome::Succeeded,
                Some("old"),
            )),
            ..seen
        })
        .collect();
    let decision = decided(&fleet, &seen);
    assert_eq!(decision.grants.len(), 1, "it is granted");
    decision.next.clusters[&id(1)].previous.clone()
}

/// An application that was deleted and applied again starts anew, and so does a cluster that left and
/// came back: the release that is being taken away there may not even be kept any more.
#[test]
fn what_is_being_taken_away_is_no_release_to_go_back_to() {
    assert_eq!(previous(Some("bundle")).as_deref(), Some("old"));
    assert_eq!(previous(None), None);
}

/// What is decided of a fleet in which cluster 1 was changed; gives the clusters that are granted.
fn granted(fleet: &Fleet, change: impl Fn(&mut ClusterSeen)) -> Vec<Uuid> {
    let mut seen = fleet.seen();
    seen.iter_mut()
        .filter(|seen| seen.id == id(1))
        .for_each(change);
    let decision = decided(fleet, &seen);
    decision.grants.iter().map(|grant| grant.cluster).collect()
}

/// Taking a release away is saved apart from the run: a hub may die in between, and the cluster be back
/// before the next one looks.
#[test]
fn who_left_and_came_back_unnoticed_is_granted_again() {
    for will in [Will::Hang, Will::Succeed] {
        let mut fleet = Fleet::new(plan(vec![wave("a", 1..2)]));
        fleet.member(1).will = will;
        fleet.settle();
        assert!(granted(&fleet, |_| {}).is_empty(), "{will:?}");
        let again = granted(&fleet, |seen| {
            seen.desired = None;
            let gone = status(Uuid::nil(), 0, "", UnitOutcome::Succeeded, None);
            seen.status = Some(gone);
        });
        assert_eq!(again, [id(1)], "{will:?}");
    }
}

#[test]
fn an_attempt_of_which_nobody_heard_the_end_keeps_its_slot() {
    for (attempt, free) in [(0, vec![id(2)]), (2, Vec::new())] {
        let mut fleet = Fleet::new(plan(vec![PlannedWave {
            unreachable: UnreachablePolicy::SkipAndCatchUp,
            ..wave("a", 1..3)
        }]));
        let waiting = fleet.state.clusters.get_mut(&id(1)).expect("a cluster");
        waiting.attempt = attempt;
        let next = granted(&fleet, |seen| {
            (seen.connected, seen.last_heard) = (false, None);
            seen.desired = Some("newer".to_owned());
            let old = status(RUN, 1, "bundle", UnitOutcome::RollingBack, Some("old"));
            seen.status = Some(old);
        });
        assert_eq!(next, free, "attempt {attempt}");
    }
}
