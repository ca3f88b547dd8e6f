//! A deterministic simulation: the shipped decisions of hub and agent, linked with a simulated
//! network, database and clusters, under injected faults.
//!
//! [`simulate`] plays one seed: two hubs on one [`database`], a handful of [`agent`]s each with its
//! own [`member`] cluster, a [`network`] that drops, repeats, delays and reorders, and humans who
//! act. Faults stop after a while; then everything must come to rest. [`invariant`]s are checked
//! after every event. The same seed plays the same events, always.

pub mod adopted;
pub mod agent;
pub mod count;
pub mod database;
pub mod hub;
pub mod invariant;
pub mod member;
pub mod mutant;
pub mod network;
pub mod play;
pub mod scenario;
pub mod transport;

pub use mutant::Mutant;
pub use play::{Outcome, simulate};
