//! Latencies in HDR histograms, and what several runs have in common.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// Latencies of one run, in microseconds up to ten minutes, three digits exact.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    /// Makes an empty histogram.
    ///
    /// # Errors
    /// Never with these bounds.
    pub fn new() -> Result<Self> {
        Ok(Self {
            histogram: Histogram::new_with_bounds(1, 600_000_000, 3)?,
        })
    }

    /// Takes one latency in; beyond ten minutes it counts as ten.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(micros);
    }

    /// Prints `p50 … p90 … max …` in seconds.
    pub fn with_p90(&self) -> String {
        let at = |quantile| millis(self.histogram.value_at_quantile(quantile)) / 1_000.0;
        let (half, most) = (at(0.5), at(0.9));
        let max = millis(self.histogram.max()) / 1_000.0;
        format!("p50 {half:.2}, p90 {most:.2}, max {max:.2} s")
    }

    /// p50, p99 and the largest, in milliseconds.
    pub fn points(&self) -> [f64; 3] {
        let quantiles = [0.5, 0.99].map(|quantile| self.histogram.value_at_quantile(quantile));
        [quantiles[0], quantiles[1], self.histogram.max()].map(millis)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ten minutes in microseconds fit 52 bits"
)]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// Prints `p50 … p99 … max …` of several runs: the median and the range of each.
pub fn of_runs(runs: &[Latencies]) -> String {
    let points: Vec<[f64; 3]> = runs.iter().map(Latencies::points).collect();
    let column = |index: usize| points.iter().map(|run| run[index]).collect::<Vec<f64>>();
    format!(
        "p50 {}, p99 {}, max {} ms",
        spread(&column(0), 1),
        spread(&column(1), 1),
        spread(&column(2), 1)
    )
}

/// Prints the median of several runs, and their range where there are several.
pub fn spread(runs: &[f64], digits: usize) -> String {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else {
        return "–".to_owned();
    };
    // Of two in the middle the higher one: no figure is shown that was not measured.
    let median = sorted[sorted.len() / 2];
    if sorted.len() == 1 {
        format!("{median:.digits$}")
    } else {
        format!("{median:.digits$} [{low:.digits$}–{high:.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latencies, of_runs, spread};

    #[test]
    fn median_and_range_are_shown() {
        assert_eq!(spread(&[3.0, 1.0, 2.0], 0), "2 [1–3]");
        assert_eq!(spread(&[1.26], 1), "1.3");
        assert_eq!(spread(&[], 1), "–");
    }

    #[test]
    fn quantiles_are_in_milliseconds() {
        let mut run = Latencies::new().expect("bounds are right");
        for millis in 1..=100 {
            run.record(Duration::from_millis(millis));
        }
        let [p50, p99, max] = run.points();
        assert!((p50 - 50.0).abs() < 0.1 && (p99 - 99.0).abs() < 0.2 && (max - 100.0).abs() < 0.2);
        assert!(of_runs(&[run]).starts_with("p50 50.0, p99 99.0, max 100."));
    }
}
