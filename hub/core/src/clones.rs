//! Two agents with one identity: how they are told from one that starts anew, and what is said of them.

use bellwether_api::{call::Condition, cluster::CLONED};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How often an agent comes back in whose place another one came before both count as there at once. One
/// that is replaced may come back while it ends, an agent on a lost node for a while.
const RETURNS: u32 = 4;
/// For how long they take turns at least.
const TURNS_FOR: SignedDuration = SignedDuration::from_mins(2);
/// Turns that are further apart than this have nothing to do with each other.
const TURN_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// An agent process as the hub meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presenter {
    /// Drawn when the process started.
    pub instance: Uuid,
    /// The address that it connects from; empty = not known.
    pub address: String,
}

/// Who showed a cluster's identity last, and who before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// The one who did last.
    pub latest: Presenter,
    /// Since when.
    pub since: Timestamp,
    /// The one before; absent = nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Presenter>,
    /// How often one came back in whose place the other had come.
    #[serde(default)]
    pub returns: u32,
    /// Since when they take turns; absent = they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contested_since: Option<Timestamp>,
}

/// What it means that an agent shows a cluster's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It did last, too.
    Same,
    /// Another one does now, as when an agent starts anew.
    Another(Presence),
    /// Two are there at once.
    Both(Presence),
}

/// Decides what it means that `presenter` shows the identity of a cluster at `now`.
#[must_use]
pub fn shown(known: Option<&Presence>, presenter: Presenter, now: Timestamp) -> Shown {
    let Some(known) = known else {
        return Shown::Another(first(presenter, None, now));
    };
    if known.latest.instance == presenter.instance {
        return Shown::Same;
    }
    let is_return = known
        .former
        .as_ref()
        .is_some_and(|former| former.instance == presenter.instance)
        && now.duration_since(known.since) <= TURN_WITHIN;
    let former = Some(known.latest.clone());
    if !is_return {
        return Shown::Another(first(presenter, former, now));
    }
    let since = known.contested_since.unwrap_or(known.since);
    let presence = Presence {
        returns: known.returns.saturating_add(1),
        contested_since: Some(since),
        ..first(presenter, former, now)
    };
    if presence.returns >= RETURNS && now.duration_since(since) >= TURNS_FOR {
        Shown::Both(presence)
    } else {
        Shown::Another(presence)
    }
}

const fn first(latest: Presenter, former: Option<Presenter>, since: Timestamp) -> Presence {
    Presence {
        latest,
        since,
        former,
        returns: 0,
        contested_since: None,
    }
}

/// Says that another cluster shows the identity of one that enrolled.
#[must_use]
pub fn another_cluster(
    enrolled_uid: &str,
    presence: Option<&Presence>,
    other_uid: &str,
    other_address: &str,
    now: Timestamp,
) -> Condition {
    let enrolled = match presence {
        Some(presence) => from(&presence.latest.address),
        None => String::new(),
    };
    condition(
        "AnotherCluster",
        format!(
            "two clusters show its identity: the one that enrolled (kube-system UID \
             {enrolled_uid}{enrolled}), and since {now} another one (kube-system UID {other_uid}{})",
            from(other_address)
        ),
    )
}

/// Says that two agents with the same kube-system UID take turns.
#[must_use]
pub fn two_agents(kube_uid: &str, presence: &Presence) -> Condition {
    let named = |one: &Presenter| format!("instance {}{}", one.instance, from(&one.address));
    let former = presence.former.as_ref().map(named).unwrap_or_default();
    let since = presence.contested_since.unwrap_or(presence.since);
    condition(
        "TwoAgents",
        format!(
            "two agents show its identity in turns since {since}, both with kube-system UID \
             {kube_uid}: {former}, and {}; one of them may run in a copy of the cluster",
            named(&presence.latest)
        ),
    )
}

fn from(address: &str) -> String {
    if address.is_empty() {
        String::new()
    } else {
        format!(", from {address}")
    }
}

fn condition(reason: &str, message: String) -> Condition {
    Condition {
        kind: CLONED.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message,
    }
}

/// Says what ends the quarantine of a cluster.
#[must_use]
pub fn way_out(name: &str) -> String {
    format!(
        "neither is granted anything; run `bellwether register cluster {name}` in the right one, and \
         register the other one under a name of its own"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presenter(instance: u128) -> Presenter {
        Presenter {
            instance: Uuid::from_u128(instance),
            address: format!("10.0.0.{instance}"),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time")
    }

    /// Has agents show the identity in turn; gives when two were known to be there, if they were.
    fn play(turns: &[(u128, i64)]) -> Option<i64> {
        let mut known = None;
        for (instance, second) in turns {
            match shown(known.as_ref(), presenter(*instance), at(*second)) {
                Shown::Same => {}
                Shown::Another(presence) => known = Some(presence),
                Shown::Both(_) => return Some(*second),
            }
        }
        None
    }

    #[test]
    fn an_agent_that_starts_anew_is_no_copy() {
        assert_eq!(
            play(&[(1, 0), (1, 5), (2, 10), (3, 20), (4, 30), (5, 40), (6, 900)]),
            None
        );
    }

    #[test]
    fn an_agent_that_comes_back_while_it_is_replaced_is_no_copy() {
        let quickly = [
            (1, 0),
            (2, 10),
            (1, 11),
            (2, 12),
            (1, 13),
            (2, 14),
            (1, 15),
            (2, 16),
        ];
        assert_eq!(play(&quickly), None, "not for so short a time");
        let twice = [(1, 0), (2, 10), (1, 200), (2, 400), (3, 500)];
        assert_eq!(play(&twice), None);
    }

    #[test]
    fn agents_that_take_turns_are_two() {
        let turns = [
            (1, 0),
            (2, 10),
            (1, 40),
            (2, 80),
            (1, 120),
            (2, 160),
            (1, 200),
        ];
        assert_eq!(play(&turns), Some(160));
        let slowly = [
            (1, 0),
            (2, 700),
            (1, 1400),
            (2, 2100),
            (1, 2800),
            (2, 3500),
            (1, 4200),
        ];
        assert_eq!(play(&slowly), None, "each comes back from a long absence");
    }

    #[test]
    fn both_are_named() {
        let presence = Presence {
            contested_since: Some(at(0)),
            returns: 4,
            ..first(presenter(2), Some(presenter(1)), at(9))
        };
        let said = two_agents("uid-a", &presence);
        for word in [
            "uid-a",
            "from 10.0.0.1",
            "from 10.0.0.2",
            "TwoAgents",
            "1970-01-12T13:46:40Z",
        ] {
            assert!(format!("{said:?}").contains(word), "{word}: {said:?}");
        }
        let said = another_cluster("uid-a", Some(&presence), "uid-b", "10.0.0.9", at(0));
        for word in [
            "uid-a, from 10.0.0.2",
            "uid-b, from 10.0.0.9",
            "AnotherCluster",
        ] {
            assert!(format!("{said:?}").contains(word), "{word}: {said:?}");
        }
        let said = another_cluster("uid-a", None, "uid-b", "", at(0));
        assert!(said.message.contains("uid-a), and"), "{}", said.message);
    }
}
