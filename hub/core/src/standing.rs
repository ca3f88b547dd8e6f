//! Rollouts of workloads that the hub does not deliver: what clusters are granted, what humans say to
//! their runs, and what is shown of them.
//!
//! There is no release and no run of the hub's: whoever changes the workload in a cluster starts a run
//! there. The grant stands until its record goes; commands travel with it.

mod act;
mod condition;
mod grant;
mod parting;
mod view;

pub use act::{Refusal, Said, act};
pub use condition::conditions;
pub use grant::{GrantInput, grant};
pub use parting::{Parting, part};
pub use view::{STALLED, StandingCluster, view};

#[cfg(test)]
mod tests;
