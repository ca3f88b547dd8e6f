//! Measures a canary: a Prometheus that scrapes the gateway, or the agent's own probe.

mod measure;
mod probe;
mod prometheus;

pub use measure::{Measurement, Meter, Subject};
pub use probe::{Probe, Window};
pub use prometheus::{Prometheus, QueryError};
