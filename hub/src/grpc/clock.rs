//! How far the agents' clocks are from the hub's: people see it at the cluster.

use std::sync::atomic::{AtomicI64, Ordering};

use bellwether_proto::limits::CLOCK_TOLERANCE;
use bellwether_store::{Store, clusters};
use jiff::Timestamp;
use uuid::Uuid;

use crate::telemetry::chain;

/// A clock that is wrong already is recorded anew when it moved by this much.
const STEP_MS: u64 = 60_000;

/// What was recorded last of one cluster's clock.
#[derive(Debug)]
pub(super) struct Clock {
    ahead_ms: AtomicI64,
}

impl Clock {
    pub(super) const fn new(recorded_ms: Option<i64>) -> Self {
        let ahead_ms = match recorded_ms {
            Some(ahead_ms) => ahead_ms,
            None => 0,
        };
        Self {
            ahead_ms: AtomicI64::new(ahead_ms),
        }
    }

    /// Compares with what the agent says of its clock; writes what people would see differently.
    pub(super) fn hear(&self, store: &Store, cluster: Uuid, agent_time_ms: i64, now: Timestamp) {
        let recorded = self.ahead_ms.load(Ordering::Relaxed);
        let Some(ahead_ms) = news(recorded, agent_time_ms, now) else {
            return;
        };
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        if is_wrong(ahead_ms) {
            tracing::warn!(cluster.id = %cluster, ahead_ms, "the cluster's clock is wrong");
        } else {
            tracing::info!(cluster.id = %cluster, ahead_ms, "the cluster's clock is right again");
        }
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = clusters::record_clock(&store, cluster, ahead_ms).await {
                tracing::warn!(
                    cluster.id = %cluster,
                    error = %chain(&error),
                    "the cluster's clock could not be recorded"
                );
            }
        });
    }
}

/// Tells whether a clock is further off than people should bear.
pub(crate) fn is_wrong(ahead_ms: i64) -> bool {
    u128::from(ahead_ms.unsigned_abs()) > CLOCK_TOLERANCE.as_millis()
}

/// One sentence about a clock that is wrong, with the way out.
pub(crate) fn sentence(ahead_ms: i64) -> String {
    let minutes = (ahead_ms.unsigned_abs() + 30_000) / 60_000;
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    format!("its clock is about {minutes} minutes {side} the hub's; set both by NTP")
}

/// What is to be recorded now; absent = nothing that people would see.
fn news(recorded_ms: i64, agent_time_ms: i64, now: Timestamp) -> Option<i64> {
    if agent_time_ms == 0 {
        return None;
    }
    let ahead_ms = agent_time_ms.saturating_sub(now.as_millisecond());
    let moved = ahead_ms.abs_diff(recorded_ms) >= STEP_MS;
    let tell = is_wrong(ahead_ms) != is_wrong(recorded_ms) || is_wrong(ahead_ms) && moved;
    tell.then_some(ahead_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_people_would_see_is_recorded() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let heard = |recorded, ahead_ms| news(recorded, now.as_millisecond() + ahead_ms, now);
        assert_eq!(heard(0, 299_000), None, "within what is borne");
        assert_eq!(heard(0, 3_600_000), Some(3_600_000));
        assert_eq!(heard(0, -3_600_000), Some(-3_600_000));
        assert_eq!(heard(3_600_000, 3_600_900), None, "a beat's jitter");
        assert_eq!(heard(3_600_000, 1_800_000), Some(1_800_000));
        assert_eq!(heard(3_600_000, 40), Some(40), "right again");
        assert_eq!(news(3_600_000, 0, now), None, "an agent that does not say");
    }

    #[test]
    fn sentence_says_how_much_and_the_way_out() {
        assert_eq!(
            sentence(3_600_000),
            "its clock is about 60 minutes ahead of the hub's; set both by NTP"
        );
        assert!(sentence(-600_000).contains("10 minutes behind the hub's"));
    }
}
