//! Pauses between tries to watch custom resources.

use std::time::Duration;

use kube::runtime::{utils::Backoff, watcher::ExponentialBackoff};
use tokio::time::Instant;

/// A watch that lasted for so long was no failed try.
const LASTED: Duration = Duration::from_secs(30);

/// Pauses that grow from 0.5 s to 4 s, each by chance up to twice as long, for as long as tries fail soon.
///
/// [`ExponentialBackoff`] alone begins anew at whatever is no error, and a watcher tells that it begins to
/// list ahead of each list that fails.
pub struct Pauses {
    growing: ExponentialBackoff,
    failed_at: Option<Instant>,
}

impl Default for Pauses {
    fn default() -> Self {
        let growing = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(4))
            .without_max_times()
            .with_jitter();
        Self {
            growing: ExponentialBackoff::from(growing),
            failed_at: None,
        }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.failed_at.is_some_and(|at| now - at >= LASTED) {
            self.growing.reset();
        }
        self.failed_at = Some(now);
        self.growing.next()
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use kube::runtime::{WatchStreamExt as _, watcher::Event};

    use super::*;

    /// How long `tries` lists take that fail at once, each told of before.
    async fn tries(tries: usize) -> Duration {
        let begun = Instant::now();
        let failing = stream::iter([Ok(Event::<()>::Init), Err("no such kind")]).cycle();
        let mut told = failing.backoff(Pauses::default()).take(2 * tries).boxed();
        while told.next().await.is_some() {}
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_although_each_list_is_told_of_before_it_fails() {
        // 0.5 + 1 + 2 + 4 + 4 s, by chance up to twice as long.
        let took = tries(6).await;
        assert!(took >= Duration::from_millis(11_500), "{took:?}");
        assert!(took <= Duration::from_millis(24_000), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_lasted_begins_with_the_shortest_pause() {
        let mut pauses = Pauses::default();
        for _ in 0..5 {
            pauses.next();
        }
        tokio::time::advance(LASTED).await;
        assert!(
            pauses
                .next()
                .is_some_and(|one| one <= Duration::from_secs(1))
        );
    }
}
