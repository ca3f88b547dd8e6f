//! Whether agents look at what they hold: people see it at the cluster.

use std::sync::{Mutex, PoisonError};

use bellwether_store::{Store, clusters};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::telemetry::chain;

/// How long every object of a cluster may go without being looked at. An agent goes round every five minutes.
const MAY_BE_UNSEEN: SignedDuration = SignedDuration::from_mins(15);

/// What was recorded last of one cluster.
#[derive(Debug)]
pub(super) struct Drift {
    unseen_since: Mutex<Option<Timestamp>>,
}

impl Drift {
    pub(super) const fn new(recorded: Option<Timestamp>) -> Self {
        Self {
            unseen_since: Mutex::new(recorded),
        }
    }

    /// Takes in how long ago an agent says that it had looked at everything; writes what people would see
    /// differently.
    pub(super) fn hear(&self, store: &Store, cluster: Uuid, age_ms: u64, now: Timestamp) {
        let mut recorded = self
            .unseen_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let since = unseen_since(age_ms, now);
        if since.is_some() == recorded.is_some() {
            return;
        }
        *recorded = since;
        match since {
            Some(since) => {
                tracing::warn!(cluster.id = %cluster, %since, "drift is not looked for");
            }
            None => tracing::info!(cluster.id = %cluster, "drift is looked for again"),
        }
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = clusters::record_drift(&store, cluster, since).await {
                tracing::warn!(
                    cluster.id = %cluster,
                    error = %chain(&error),
                    "that drift is not looked for could not be recorded"
                );
            }
        });
    }
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
