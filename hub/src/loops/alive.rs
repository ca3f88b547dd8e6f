use std::collections::{BTreeMap, BTreeSet};

use bellwether_store::leases::ReplicaLease;
use jiff::Timestamp;
use uuid::Uuid;

/// Which hubs are alive, from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Alive(BTreeSet<Uuid>);

impl Alive {
    /// The hubs that came or went since the last look. A lease runs out without anything being
    /// written, so that time alone may change it.
    pub fn changed(
        &mut self,
        leases: &BTreeMap<Uuid, ReplicaLease>,
        now: Timestamp,
    ) -> BTreeSet<Uuid> {
        let alive: BTreeSet<Uuid> = leases
            .values()
            .filter(|lease| lease.expires_at > now)
            .map(|lease| lease.replica)
            .collect();
        let changed = self.0.symmetric_difference(&alive).copied().collect();
        self.0 = alive;
        changed
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_lease_that_runs_out_is_noticed_at_the_next_look() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let lease = |replica, until| {
            let lease = ReplicaLease {
                replica,
                renewed_at: start,
                expires_at: at(until),
            };
            (replica, lease)
        };
        let mut alive = Alive::default();
        let mut leases = BTreeMap::from([lease(one, 10), lease(two, 15)]);
        assert_eq!(alive.changed(&leases, at(0)), BTreeSet::from([one, two]));
        assert_eq!(alive.changed(&leases, at(9)), BTreeSet::new());
        // Nothing was written since.
        assert_eq!(alive.changed(&leases, at(10)), BTreeSet::from([one]));
        assert_eq!(alive.changed(&leases, at(11)), BTreeSet::new());
        leases.extend([lease(one, 30)]);
        assert_eq!(alive.changed(&leases, at(12)), BTreeSet::from([one]));
        leases.remove(&two);
        assert_eq!(alive.changed(&leases, at(13)), BTreeSet::from([two]));
    }
}
