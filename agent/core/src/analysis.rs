//! Judging a canary: metrics in, a verdict out.

mod query;
mod relative;
mod series;
mod verdict;

pub use query::{MetricQueries, MetricQueryError, counts_requests, filled, queries};
pub use series::{QueryTarget, SeriesSet, Side};
pub use verdict::{CheckOutcome, Sample, check, effective_window, evaluate, fails};
