use std::time::{Duration, Instant};

/// Lets so many pass a second, and as many at once after a pause.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    /// How many may pass now, in thousandths.
    left: u64,
    at: Option<Instant>,
}

impl Rate {
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: u64::from(per_second) * 1000,
            at: None,
        }
    }

    /// Tells whether one more may pass at `now`.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let gained = passed.as_micros() * u128::from(self.per_second) / 1000;
        // What is too short to count yet is counted with the next: a flood must not stop the clock.
        if gained > 0 || self.at.is_none() {
            self.at = Some(now);
        }
        let full = u64::from(self.per_second) * 1000;
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(gained).min(full);
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Rate;

    #[test]
    fn so_many_pass_a_second_and_no_more() {
        let start = Instant::now();
        let mut rate = Rate::new(20);
        let passed = |rate: &mut Rate, at| (0..100).filter(|_| rate.take(at)).count();
        assert_eq!(passed(&mut rate, start), 20);
        assert_eq!(passed(&mut rate, start), 0);
        assert_eq!(passed(&mut rate, start + Duration::from_millis(500)), 10);
        assert_eq!(passed(&mut rate, start + Duration::from_secs(3600)), 20);
        let flood =
            (0..1_000_000).map(|micros| start + Duration::from_micros(3_600_000_000 + micros));
        assert_eq!(flood.filter(|at| rate.take(*at)).count(), 19);
    }
}
