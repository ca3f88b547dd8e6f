//! The agents' side of the hub, over real TLS and a real Postgres, with an agent of the tests' own.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "tests tell the time themselves")]

mod agent;
mod clones;
mod delivery;
mod enrolment;
mod flapping;
mod fleet_hooks;
mod harness;
mod hubs;
mod keeping;
mod limits;
mod metrics;
mod properties;
mod statuses;
mod storm;
mod validity;
