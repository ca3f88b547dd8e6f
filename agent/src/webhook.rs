//! The admission webhook for workloads that somebody else delivers: the API server asks before it takes
//! a write that might make pods of a governed Deployment, and the answer holds it in the same write.
//!
//! Data flow: units of Rollouts in [`crate::desired`] → `keeper` makes the certificate, stores it in the
//! Secret [`SECRET_NAME`], and writes which workloads are asked about into the one configuration that
//! `register cluster` made → `server` answers by `bellwether_agent_core::admission`. Where any of it is
//! not to be had, [`State`] says so and the agent's watch is what holds workloads, a moment late.

mod certificate;
mod configuration;
mod governed;
mod keeper;
mod secret;
mod server;
mod state;

pub use keeper::{Settings, run};
pub use secret::SECRET_NAME;
pub use state::{State, Status};

/// The Service that leads to the agent, in its namespace.
const SERVICE: &str = "bellwether-agent-webhook";
/// The configuration that the agent may change, and no other.
const CONFIGURATION: &str = "bellwether-agent";
/// The path that is served.
const PATH: &str = "/admit";
