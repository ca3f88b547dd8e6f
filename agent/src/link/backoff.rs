//! Pauses between tries.

use std::time::Duration;

/// The first tries come quickly, for a hub that restarts.
const FIRST: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Then up to this, and twice as much each time.
const BASE: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(60);

/// Pauses that grow, spread so that agents of a hub that returns do not come all at once.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause; `spread` lies in 0..1 and is random.
    pub fn next(&mut self, spread: f64) -> Duration {
        let spread = spread.clamp(0.0, 1.0);
        let tries = usize::try_from(self.tries).unwrap_or(usize::MAX);
        self.tries = self.tries.saturating_add(1);
        match FIRST.get(tries) {
            Some(first) => first.mul_f64(0.5 + spread),
            None => {
                let doublings = u32::try_from(tries - FIRST.len())
                    .unwrap_or(u32::MAX)
                    .min(8);
                (BASE * 2u32.pow(doublings)).min(MOST).mul_f64(spread)
            }
        }
    }

    /// Starts anew after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_at_first_then_spread_and_bounded() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.next(1.0)).collect();
        assert_eq!(pauses[0], Duration::from_millis(750));
        assert_eq!(pauses[3], Duration::from_secs(10));
        assert_eq!(pauses[4], Duration::from_secs(20));
        assert_eq!(pauses[9], MOST);
        assert_eq!(backoff.next(0.0), Duration::ZERO, "full jitter");
        backoff.reset();
        assert!(backoff.next(0.0) < Duration::from_secs(1));
    }
}
