//! By which time a hub goes that starts.
//!
//! Soaks, leases and silence are told from instants that any hub of the database may have written.
//! All hubs therefore go by one time: the database's, or that of a hub which is there already,
//! should the database's clock have been set since that one started.

use std::{collections::BTreeMap, time::Duration};

use bellwether_api::steady::SteadyTime;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// How long a hub counts as alive that does not renew its lease.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often a hub renews its lease.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(5);
/// How far a hub's time may be behind another's: further than a hub that starts is, which is one renewal, and not so
/// far that its lease, or what it holds by one, looks ended between two renewals.
const MOST_BEHIND: Duration = Duration::from_secs(8);
/// How long a starting hub watches for the renewal of a lease before it counts its hub as gone.
const WATCH_FOR: Duration = Duration::from_secs(6);

/// What a database tells of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock of its machine.
    pub database: Timestamp,
    /// The latest instant that any hub saved; absent = none did.
    pub saved: Option<Timestamp>,
    /// When each hub renewed its lease last, by its own time. Hubs that stopped cleanly are not
    /// there.
    pub renewed: BTreeMap<Uuid, Timestamp>,
}

/// Decides by which time a hub goes that read `first` when it started and `latest` just now,
/// `watched` later. Absent = it must watch on, since the leases that it sees and the database's
/// clock say different things: either all hubs are long gone, or the clock was set.
#[must_use]
pub fn agree(first: &Reading, latest: &Reading, watched: Duration) -> Option<SteadyTime> {
    let alive = latest
        .renewed
        .iter()
        .filter(|(hub, at)| first.renewed.get(*hub).is_none_or(|before| *at > before))
        .map(|(_, at)| *at)
        .max();
    if let Some(at) = alive {
        return Some(SteadyTime::begin(at, latest.saved));
    }
    let lease = SignedDuration::try_from(LEASE).unwrap_or(SignedDuration::MAX);
    let newest = latest.renewed.values().max().copied();
    match newest {
        // Its hub may be there, and is at most one renewal further.
        Some(at) if latest.database.duration_since(at) <= lease => {
            Some(SteadyTime::begin(at, latest.saved))
        }
        Some(_) if watched < WATCH_FOR => None,
        _ => Some(SteadyTime::begin(latest.database, latest.saved)),
    }
}

/// Tells how far the time of a hub that reads `own` is behind that of another one, where that is too far to go
/// on: its machine stood still, or its clock runs slow. `before` and `latest` say when each hub renewed its
/// lease, at the last look and now: one that did not renew it in between may be gone, and what it left behind
/// says nothing. Absent = it is not too far behind.
///
/// Such a hub has to start anew, as [`agree`] says: to go on at the other's time would look as if
/// everything had been silent for as long.
#[must_use]
pub fn behind(
    own: Timestamp,
    before: &BTreeMap<Uuid, Timestamp>,
    latest: &BTreeMap<Uuid, Timestamp>,
) -> Option<Duration> {
    let has_renewed = |hub: &Uuid, at: Timestamp| before.get(hub).is_some_and(|was| at > *was);
    let alive = latest.iter().filter(|(hub, at)| has_renewed(hub, **at));
    let furthest = alive.map(|(_, at)| *at).max()?;
    let behind = Duration::try_from(furthest.duration_since(own)).ok()?;
    (behind > MOST_BEHIND).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(1_767_268_800, 0) + SignedDuration::from_secs(second)
    }

    fn reading(database: i64, renewed: &[(u128, i64)]) -> Reading {
        Reading {
            database: at(database),
            saved: renewed.iter().map(|(_, second)| at(*second)).max(),
            renewed: renewed
                .iter()
                .map(|(hub, second)| (Uuid::from_u128(*hub), at(*second)))
                .collect(),
        }
    }

    /// The second at which a hub begins that watches `readings`, one a second; absent = it is
    /// still watching.
    fn begins(readings: &[Reading]) -> Option<i64> {
        let first = readings.first().expect("a reading");
        (0..).zip(readings).find_map(|(second, latest)| {
            let time = agree(first, latest, Duration::from_secs(second))?;
            Some(time.at(Duration::ZERO).duration_since(at(0)).as_secs())
        })
    }

    #[test]
    fn a_hub_alone_begins_at_the_databases_clock() {
        assert_eq!(begins(&[reading(10, &[])]), Some(10));
    }

    #[test]
    fn the_time_of_a_hub_whose_lease_has_not_ended_is_gone_by() {
        // Killed or not, it may be there; where it is gone, the seconds since are lost.
        assert_eq!(begins(&[reading(10, &[(1, 4)])]), Some(4));
    }

    #[test]
    fn a_clock_that_was_set_back_is_not_gone_by() {
        assert_eq!(begins(&[reading(10 - HOUR, &[(1, 4)])]), Some(4));
        let mut stopped = reading(10 - HOUR, &[]);
        stopped.saved = Some(at(4));
        assert_eq!(begins(&[stopped]), Some(4));
    }

    #[test]
    fn a_clock_that_was_set_forward_beside_a_live_hub_is_not_gone_by() {
        let readings: Vec<Reading> = (0..7)
            .map(|second| reading(HOUR + second, &[(1, if second < 3 { 4 } else { 9 })]))
            .collect();
        assert_eq!(begins(&readings[..3]), None, "nobody has spoken yet");
        assert_eq!(begins(&readings), Some(9));
        // One that starts at the same moment, and has agreed already, is as good.
        let newcomer = [reading(HOUR, &[(1, 4)]), reading(HOUR, &[(1, 4), (2, 9)])];
        assert_eq!(begins(&newcomer), Some(9));
    }

    #[test]
    fn a_hub_far_behind_one_that_is_there_has_to_start_anew() {
        let leases = |renewed: &[(u128, i64)]| reading(0, renewed).renewed;
        let at_last = leases(&[(1, 95), (2, 10)]);
        let now = leases(&[(1, 100), (2, 15)]);
        for (own, expected) in [
            (at(15), Some(Duration::from_secs(85))),
            (at(91), Some(Duration::from_secs(9))),
            (at(92), None),
            (at(100), None),
            (at(160), None),
        ] {
            assert_eq!(behind(own, &at_last, &now), expected, "{own}");
        }
    }

    #[test]
    fn what_a_hub_left_behind_that_is_gone_makes_none_start_anew() {
        let leases = |renewed: &[(u128, i64)]| reading(0, renewed).renewed;
        let ahead = leases(&[(1, HOUR)]);
        assert_eq!(behind(at(0), &ahead, &ahead), None);
        assert_eq!(behind(at(0), &BTreeMap::new(), &ahead), None, "first seen");
    }

    #[test]
    fn after_a_long_outage_the_databases_clock_is_believed() {
        let readings: Vec<Reading> = (0..7)
            .map(|second| reading(HOUR + second, &[(1, 4)]))
            .collect();
        assert_eq!(begins(&readings[..6]), None);
        assert_eq!(begins(&readings), Some(HOUR + 6));
    }
}
