//! Agents that speak the real protocol and have no cluster: each with its own key, certificate and
//! TLS connection, all in this process.

mod agent;
mod batches;
mod fleet;
mod held;
mod identity;

pub use fleet::{Acknowledged, Fleet, cluster_name};
