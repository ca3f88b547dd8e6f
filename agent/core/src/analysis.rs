//! Judging a canary: metrics in, a verdict out.

mod freshness;
mod query;
mod relative;
mod series;
mod verdict;

pub use freshness::{Freshness, PART, Read};
pub use query::{MetricQueries, MetricQueryError, counts_requests, filled, queries};
pub use series::{QueryTarget, SeriesSet, Side};
pub use verdict::{CheckOutcome, Sample, check, effective_window, evaluate};
