//! The agent of one member cluster.
//!
//! Data flow: [`link`] keeps the stream to the hub and commits desired state durably through
//! [`desired`] → [`sync`] applies objects and corrects drift → [`rollout`] runs the step machine of
//! `bellwether-agent-core` → [`report`] holds the latest status of every unit until the hub has it.
//! Beside them [`webhook`] holds workloads of others as they are written.

pub mod clock;
pub mod config;
pub mod connect;
pub mod desired;
pub mod hooks;
pub mod identity;
pub mod link;
pub mod metrics;
pub mod offline;
pub mod report;
pub mod rollout;
pub mod sync;
pub mod telemetry;
pub mod webhook;
