//! Whether agents look at what they hold: people see it at the cluster.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_store::{Store, clusters};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::telemetry::chain;

/// How long every object of a cluster may go without being looked at. An agent goes round every five minutes.
const MAY_BE_UNSEEN: SignedDuration = SignedDuration::from_mins(15);

/// What was recorded last of one cluster.
#[derive(Debug)]
pub(super) struct Drift(Arc<Mutex<Recorded>>);

#[derive(Debug)]
struct Recorded {
    unseen_since: Option<Timestamp>,
    /// Set while it is being written: the next beat looks again.
    is_written: bool,
}

impl Recorded {
    /// Tells whether people would see this differently, and it is to be written.
    const fn begin(&mut self, since: Option<Timestamp>) -> bool {
        let is_new = since.is_some() != self.unseen_since.is_some() && !self.is_written;
        self.is_written |= is_new;
        is_new
    }

    /// Takes in how writing it ended; what could not be written is, by the next beat.
    const fn end(&mut self, since: Option<Timestamp>, is_recorded: bool) {
        self.is_written = false;
        if is_recorded {
            self.unseen_since = since;
        }
    }
}

impl Drift {
    pub(super) fn new(recorded: Option<Timestamp>) -> Self {
        Self(Arc::new(Mutex::new(Recorded {
            unseen_since: recorded,
            is_written: false,
        })))
    }

    /// Takes in how long ago an agent says that it had looked at everything; writes what people would see
    /// differently.
    pub(super) fn hear(&self, store: &Store, cluster: Uuid, age_ms: u64, now: Timestamp) {
        let since = unseen_since(age_ms, now);
        if !locked(&self.0).begin(since) {
            return;
        }
        let (store, recorded) = (store.clone(), Arc::clone(&self.0));
        tokio::spawn(async move {
            let written = clusters::record_drift(&store, cluster, since).await;
            locked(&recorded).end(since, written.is_ok());
            match (written, since) {
                (Ok(()), Some(since)) => {
                    tracing::warn!(cluster.id = %cluster, %since, "drift is not looked for");
                }
                (Ok(()), None) => {
                    tracing::info!(cluster.id = %cluster, "drift is looked for again");
                }
                (Err(error), _) => tracing::warn!(
                    cluster.id = %cluster,
                    error = %chain(&error),
                    "whether drift is looked for could not be recorded"
                ),
            }
        });
    }
}

fn locked(recorded: &Mutex<Recorded>) -> MutexGuard<'_, Recorded> {
    recorded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Since when something was not looked at, if that is too long.
fn unseen_since(age_ms: u64, now: Timestamp) -> Option<Timestamp> {
    let age = SignedDuration::from_millis(i64::try_from(age_ms).unwrap_or(i64::MAX));
    if age <= MAY_BE_UNSEEN {
        return None;
    }
    Some(now.checked_sub(age).unwrap_or(Timestamp::MIN))
}

/// One sentence about a cluster in which drift is not looked for.
pub(crate) fn sentence(since: Timestamp) -> String {
    format!(
        "its agent has not looked at everything that it holds since {since}: what others change there is not \
         seen; its log and the units' `ClusterTrouble` say why"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_recorded_is_by_the_next_beat() {
        let since = Some(Timestamp::UNIX_EPOCH);
        let mut recorded = Recorded {
            unseen_since: None,
            is_written: false,
        };
        assert!(recorded.begin(since));
        assert!(!recorded.begin(since), "it is being written");
        recorded.end(since, false);
        assert!(recorded.begin(since), "it was not written");
        recorded.end(since, true);
        assert!(!recorded.begin(since), "it is known");
        assert!(recorded.begin(None), "it is over");
    }

    #[test]
    fn objects_may_be_unseen_for_three_rounds() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let minutes = |minutes: u64| minutes * 60_000;
        for (age_ms, expected) in [
            // Nothing is held.
            (0, None),
            (minutes(5), None),
            (minutes(15), None),
            (minutes(16), Some(now - SignedDuration::from_mins(16))),
            (u64::MAX, Some(Timestamp::MIN)),
        ] {
            assert_eq!(unseen_since(age_ms, now), expected, "{age_ms}");
        }
        assert!(sentence(now).contains("1970-01-12T13:46:40Z"));
    }
}
