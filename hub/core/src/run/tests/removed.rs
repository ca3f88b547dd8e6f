use bellwether_api::status::UnitOutcome;
use uuid::Uuid;

use super::model::{Fleet, RUN, id, plan, status, wave};
use crate::run::{ClusterSeen, Input, RunFacts, decide};

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
    let decision = decide(&Input {
        now: fleet.now,
        run: RunFacts {
            id: RUN,
            revision: 1,
            has_previous: false,
        },
        plan: &fleet.plan,
        state: &fleet.state,
        clusters: &seen,
        joiners: &[],
        actions: &[],
        suspended_by_spec: false,
        completes: &[],
        readings: &[],
        supersession: None,
    });
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
