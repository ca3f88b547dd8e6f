//! Hooks of fleets: whom a cluster's coming or going concerns, what they are told, and when a call that
//! failed is tried again.

use std::collections::BTreeMap;

use bellwether_api::{
    fleet::FleetSpec,
    fleet_hook::{FleetEvent, FleetHook},
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sha2::Sha256;
use uuid::Uuid;

/// The pause after the first failed try; each next one is twice as long.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// How long a call is tried.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A cluster that came or went.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its identity.
    pub id: Uuid,
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// What happened to a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Happened<'a> {
    /// What.
    pub event: FleetEvent,
    /// When.
    pub at: Timestamp,
    /// Whether a cluster that was registered before is registered again.
    pub again: bool,
    /// Why, in the words of whoever did it; empty = nothing was said.
    pub reason: &'a str,
}

/// Returns the hooks that are told what happened to a cluster, each with the name of its fleet: those of
/// the fleets that it is a member of now.
#[must_use]
pub fn concerned<'a>(
    fleets: &'a BTreeMap<String, FleetSpec>,
    subject: Subject<'_>,
    event: FleetEvent,
) -> Vec<(&'a str, &'a FleetHook)> {
    let member = |fleet: &FleetSpec| {
        let by_label = fleet.selector.as_ref();
        fleet.clusters.iter().any(|name| name == subject.name)
            || by_label.is_some_and(|selector| selector.matches(subject.labels))
    };
    let of_fleets = fleets.iter().filter(|(_, fleet)| member(fleet));
    of_fleets
        .flat_map(|(name, fleet)| fleet.hooks.iter().map(move |hook| (name.as_str(), hook)))
        .filter(|(_, hook)| hook.hears(event))
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    id: Uuid,
    event: FleetEvent,
    time: String,
    fleet: &'a str,
    cluster: BodyCluster<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
struct BodyCluster<'a> {
    id: Uuid,
    name: &'a str,
    labels: &'a BTreeMap<String, String>,
}

/// Makes the body of a call; `id` is the same at every try.
#[must_use]
pub fn body(id: Uuid, fleet: &str, subject: Subject<'_>, happened: Happened<'_>) -> String {
    let body = Body {
        id,
        event: happened.event,
        time: happened.at.to_string(),
        fleet,
        cluster: BodyCluster {
            id: subject.id,
            name: subject.name,
            labels: subject.labels,
        },
        again: happened.again,
        reason: happened.reason,
    };
    serde_json::to_string(&body).expect("texts are JSON")
}

/// Returns the value of the signature header, as hooks of rollouts have it: `t=<seconds>,v1=<hex
/// HMAC-SHA256 over "t.body">`.
#[must_use]
pub fn signature(key: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let digest = hex::encode(mac.finalize().into_bytes());
    format!("t={seconds},v1={digest}")
}

/// What becomes of a call whose try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is tried again then.
    TryAt(Timestamp),
    /// It was tried for long enough.
    GiveUp,
}

/// Decides what becomes of a call that was written at `created_at` and has failed `tries` times, the last
/// of them at `now`.
#[must_use]
pub fn after_failure(created_at: Timestamp, tries: u32, now: Timestamp) -> AfterFailure {
    if now.duration_since(created_at) >= TRIED_FOR {
        return AfterFailure::GiveUp;
    }
    let doubled = tries.saturating_sub(1).min(16);
    let pause = FIRST_PAUSE
        .checked_mul(1 << doubled)
        .map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE));
    AfterFailure::TryAt(now.saturating_add(pause).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fleets() -> BTreeMap<String, FleetSpec> {
        let hook = |name: &str, events: Value| {
            json!({"name": name, "url": "https://cmdb.example", "events": events,
                "hmacSecretRef": {"name": "cmdb", "key": "hmac"}})
        };
        let fleet = |spec: Value| serde_json::from_value(spec).expect("a fleet");
        [
            (
                "eu".to_owned(),
                fleet(json!({"selector": {"matchLabels": {"region": "eu"}},
                    "hooks": [hook("all", json!([])), hook("gone", json!(["ClusterDetached"]))]})),
            ),
            (
                "named".to_owned(),
                fleet(json!({"clusters": ["a"], "hooks": [hook("named", json!([]))]})),
            ),
            ("quiet".to_owned(), fleet(json!({"clusters": ["a"]}))),
        ]
        .into()
    }

    fn told(name: &str, region: &str, event: FleetEvent) -> Vec<String> {
        let labels = [("region".to_owned(), region.to_owned())].into();
        let subject = Subject {
            id: Uuid::nil(),
            name,
            labels: &labels,
        };
        concerned(&fleets(), subject, event)
            .iter()
            .map(|(fleet, hook)| format!("{fleet}/{}", hook.name))
            .collect()
    }

    #[test]
    fn hooks_of_the_fleets_that_a_cluster_is_a_member_of_are_told_what_they_ask_for() {
        use FleetEvent::{ClusterDetached, ClusterRegistered};
        assert_eq!(told("b", "eu", ClusterRegistered), ["eu/all"]);
        assert_eq!(told("b", "eu", ClusterDetached), ["eu/all", "eu/gone"]);
        assert_eq!(told("a", "us", ClusterRegistered), ["named/named"]);
        assert_eq!(told("b", "us", ClusterDetached), Vec::<String>::new());
    }

    #[test]
    fn the_body_names_the_cluster_its_fleet_and_what_happened() {
        let labels = [("region".to_owned(), "eu".to_owned())].into();
        let subject = Subject {
            id: Uuid::from_u128(7),
            name: "eu-1",
            labels: &labels,
        };
        let happened = Happened {
            event: FleetEvent::ClusterDetached,
            at: Timestamp::from_second(1_700_000_000).expect("a time"),
            again: false,
            reason: "retired",
        };
        let body: Value =
            serde_json::from_str(&body(Uuid::from_u128(9), "eu", subject, happened)).expect("JSON");
        assert_eq!(
            body,
            json!({"id": Uuid::from_u128(9), "event": "ClusterDetached",
                "time": "2023-11-14T22:13:20Z", "fleet": "eu", "reason": "retired",
                "cluster": {"id": Uuid::from_u128(7), "name": "eu-1", "labels": {"region": "eu"}}})
        );
    }

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour_and_end_after_a_day() {
        let start = Timestamp::from_second(1_000_000).expect("a time");
        let pause = |tries: u32| match after_failure(start, tries, start) {
            AfterFailure::TryAt(at) => at.duration_since(start).as_secs(),
            AfterFailure::GiveUp => 0,
        };
        assert_eq!(
            [1, 2, 3, 8, 9, u32::MAX].map(pause),
            [5, 10, 20, 640, 900, 900]
        );
        let day = SignedDuration::from_hours(24);
        assert_eq!(after_failure(start, 90, start + day), AfterFailure::GiveUp);
    }
}
