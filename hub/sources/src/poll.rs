//! When a source is looked at next.

/// How long after a first failure a source is looked at again, in milliseconds.
const FIRST_RETRY_MS: u64 = 10_000;
/// The longest wait after failures where the interval itself is not longer, in milliseconds.
const LONGEST_RETRY_MS: u64 = 15 * 60_000;

/// When a source is looked at: every so often, later and later while it fails, and at a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollSchedule {
    /// How often it is looked at, in milliseconds; 0 means only on a push, and again after a failure.
    pub interval_ms: u64,
}

impl PollSchedule {
    /// Returns how long to wait after a look, in milliseconds; none means until a push.
    ///
    /// `failures` counts the looks that failed one after the other, up to the last one. `spread` is any
    /// number that differs from source to source: it moves the wait by up to a tenth either way, so
    /// that a thousand sources are not asked at once.
    pub fn wait_ms(self, failures: u32, spread: u64) -> Option<u64> {
        let wait_ms = match (failures, self.interval_ms) {
            (0, 0) => return None,
            (0, interval_ms) => interval_ms,
            (failures, interval_ms) => FIRST_RETRY_MS
                .saturating_mul(1 << (failures - 1).min(20))
                .min(LONGEST_RETRY_MS.max(interval_ms)),
        };
        Some(jittered(wait_ms, spread))
    }
}

fn jittered(wait_ms: u64, spread: u64) -> u64 {
    let tenth = wait_ms / 10;
    // Neighbouring numbers are far apart afterwards (Fibonacci hashing).
    let scattered = spread.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let offset = (u128::from(scattered) * (2 * u128::from(tenth) + 1)) >> 32;
    let offset = u64::try_from(offset).expect("it is at most twice a tenth");
    (wait_ms - tenth).saturating_add(offset)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const FIVE_MINUTES: PollSchedule = PollSchedule {
        interval_ms: 300_000,
    };

    proptest! {
        #[test]
        fn a_wait_is_its_length_up_to_a_tenth(spread: u64) {
            let wait = FIVE_MINUTES.wait_ms(0, spread).expect("it is polled");
            prop_assert!((270_000..=330_000).contains(&wait), "{wait}");
        }

        #[test]
        fn failures_wait_longer_and_longer_up_to_a_bound(spread: u64, failures in 1_u32..100) {
            let wait = FIVE_MINUTES.wait_ms(failures, spread).expect("it is polled");
            let least = (9_000_u64 << (failures - 1).min(6)).min(810_000);
            prop_assert!((least..=990_000).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn sources_of_one_interval_are_spread() {
        let waits: BTreeSet<u64> = (0..1000)
            .filter_map(|spread| FIVE_MINUTES.wait_ms(0, spread))
            .map(|wait| wait / 6000)
            .collect();
        assert_eq!(waits.len(), 10, "each tenth of the range has some");
    }

    #[test]
    fn without_an_interval_only_failures_are_looked_at_again() {
        let on_push = PollSchedule { interval_ms: 0 };
        assert_eq!(on_push.wait_ms(0, 7), None);
        assert!(on_push.wait_ms(1, 7).is_some_and(|wait| wait <= 11_000));
    }

    #[test]
    fn an_interval_of_any_length_is_waited_for() {
        let never = PollSchedule {
            interval_ms: u64::MAX,
        };
        assert!(
            never
                .wait_ms(0, u64::MAX)
                .is_some_and(|wait| wait > u64::MAX / 2)
        );
    }

    #[test]
    fn a_long_interval_bounds_its_own_retries() {
        let daily = PollSchedule {
            interval_ms: 86_400_000,
        };
        assert!(
            daily
                .wait_ms(30, 0)
                .is_some_and(|wait| wait > LONGEST_RETRY_MS)
        );
    }
}
