//! Judging a canary: metrics in, a verdict out.

mod query;
mod verdict;

pub use query::{MetricQueries, QueryTarget, REQUEST_DURATION, REQUEST_SUCCESS_RATE, queries};
pub use verdict::{Check, Sample, check, effective_window, evaluate};
