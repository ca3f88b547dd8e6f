use bellwether_api::status::UnitStatus;
use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn name(number: usize) -> NamespacedName {
    NamespacedName {
        namespace: "shop".to_owned(),
        name: format!("app-{number}"),
    }
}

fn status(outcome: UnitOutcome, health: Health) -> UnitStatus {
    serde_json::from_value(serde_json::json!({
        "application": name(0), "digest": "d1", "generation": 1, "run": Uuid::nil(), "attempt": 1,
        "release": "r1", "outcome": outcome, "reason": "", "appliedRelease": "r1",
        "health": health, "objects": [], "objectCount": 1, "waitingOn": [], "rollouts": [],
        "events": [], "executed": [], "orphans": [], "warnings": [],
    }))
    .expect("a status")
}

fn well(cluster: u128) -> ClusterSeen {
    ClusterSeen {
        id: Uuid::from_u128(cluster),
        member: true,
        connected: true,
        last_heard: Some(now()),
        desired: Some("d1".to_owned()),
        status: Some(status(UnitOutcome::Succeeded, Health::Healthy)),
        unrendered: None,
        awaits: Vec::new(),
        is_forgotten: false,
    }
}

/// What cluster 1 waits for, of an application in these clusters.
fn waits(placed: Option<&[ClusterSeen]>) -> Option<(String, usize, usize)> {
    let application = name(0);
    let dependency = Dependency {
        application: &application,
        placed,
    };
    let found = awaited(now(), dependency, Uuid::from_u128(1))?;
    Some((found.why, found.healthy, found.clusters))
}

#[test]
fn only_what_is_known_to_be_healthy_lets_go_on() {
    assert_eq!(waits(Some(&[well(1)])), None);
    let with = |change: &dyn Fn(&mut ClusterSeen)| {
        let mut seen = well(1);
        change(&mut seen);
        waits(Some(&[seen, well(2)])).map(|found| (found.0, found.1))
    };
    let said = |outcome, health| with(&|seen| seen.status = Some(status(outcome, health)));
    let expect = |why: &str| Some((why.to_owned(), 1));
    assert_eq!(
        with(&|seen| seen.desired = None),
        expect("it was not granted here yet")
    );
    assert_eq!(
        with(&|seen| seen.connected = false),
        expect("the cluster is not heard")
    );
    assert_eq!(
        with(&|seen| seen.last_heard = None),
        expect("the cluster is not heard")
    );
    let silent = "the agent has not reported on it yet";
    assert_eq!(with(&|seen| seen.status = None), expect(silent));
    assert_eq!(
        with(&|seen| seen.desired = Some("d2".to_owned())),
        expect(silent),
        "what was granted since is not known to run"
    );
    for (outcome, why) in [
        (UnitOutcome::Progressing, "its release is under way"),
        (UnitOutcome::RollingBack, "its release goes back"),
        (UnitOutcome::Failed, "its release failed"),
        (UnitOutcome::Refused, "its release was refused"),
        (UnitOutcome::Removing, "it is being removed"),
    ] {
        assert_eq!(said(outcome, Health::Healthy), expect(why));
    }
    for health in [
        Health::Progressing,
        Health::Degraded,
        Health::Missing,
        Health::Unknown,
    ] {
        let why = format!("its health is {health:?}");
        assert_eq!(said(UnitOutcome::Succeeded, health), expect(&why));
    }
}

#[test]
fn what_is_placed_elsewhere_is_healthy_in_all_of_its_clusters() {
    assert_eq!(waits(Some(&[well(2), well(3)])), None);
    let mut sick = well(3);
    sick.status = None;
    assert_eq!(
        waits(Some(&[well(2), sick])),
        Some((
            "it is not placed here, and 1 of its 2 clusters are healthy".to_owned(),
            1,
            2
        ))
    );
    assert_eq!(
        waits(Some(&[])),
        Some(("no cluster has it".to_owned(), 0, 0))
    );
    assert_eq!(
        waits(None),
        Some(("there is no such application".to_owned(), 0, 0))
    );
}

fn graph() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0_usize..7, 0_usize..7), 0..16)
}

fn edges(pairs: &[(usize, usize)]) -> Edges {
    let mut edges = Edges::new();
    for (from, to) in pairs {
        edges.entry(name(*from)).or_default().push(name(*to));
    }
    edges
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A circle is found where, and only where, an application is among all that it waits for, and
    /// every step of it is somebody's word.
    #[test]
    fn circles_are_found_and_are_real(pairs in graph()) {
        let edges = edges(&pairs);
        for number in 0..7 {
            let from = name(number);
            let waits_for_itself = closure(std::iter::once(&from), &edges).contains(&from);
            match cycle(&from, &edges) {
                None => prop_assert!(!waits_for_itself, "{from} in {edges:?}"),
                Some(path) => {
                    prop_assert!(waits_for_itself);
                    prop_assert_eq!(path.first(), Some(&from));
                    prop_assert_eq!(path.last(), Some(&from));
                    for step in path.windows(2) {
                        prop_assert!(edges[&step[0]].contains(&step[1]), "{path:?}");
                    }
                    let inner: BTreeSet<_> = path[1..].iter().collect();
                    prop_assert_eq!(inner.len(), path.len() - 1, "nobody stands twice: {:?}", path);
                }
            }
        }
    }

    /// Words that make no circle when they are said leave an order in which everybody comes.
    #[test]
    fn whoever_refuses_circles_keeps_an_order(pairs in graph()) {
        let mut kept = Vec::new();
        for pair in pairs {
            let mut next = kept.clone();
            next.push(pair);
            if cycle(&name(pair.0), &edges(&next)).is_none() {
                kept = next;
            }
        }
        let edges = edges(&kept);
        let mut left: BTreeSet<NamespacedName> = (0..7).map(name).collect();
        while !left.is_empty() {
            let free = left.iter().find(|one| {
                let mut after = edges.get(*one).into_iter().flatten();
                !after.any(|other| left.contains(other))
            });
            let free = free.cloned();
            prop_assert!(free.is_some(), "{left:?} wait for each other");
            if let Some(free) = free {
                left.remove(&free);
            }
        }
    }
}
