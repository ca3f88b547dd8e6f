//! Workloads that somebody else delivers: what is seen of them, when an update is taken over, and how
//! a run's overlay lies on objects that others write.
//!
//! At rest nothing of such an object is touched. A run changes single fields by merge patches, each
//! with what it takes to take it back on the object itself, so that whoever dies in between, or writes
//! the object meanwhile, loses nothing.

mod applied;
mod hold;
pub mod in_place;
mod laid;
mod marks;
mod sight;
mod takeover;

pub use applied::ROLLOUT_MANAGER;
pub use hold::{Held, WorkloadHold, decision_view, owed, pause, release, workload_hold};
pub use in_place::PARTITION_ANNOTATION;
pub use laid::{Laid, SPLIT_ANNOTATION, Unlayable, laid, without_split};
pub use marks::{HELD_ANNOTATION, Marks, WRITTEN_ANNOTATION};
pub use sight::{PodSet, Sight, without_hash};
pub use takeover::{Look, look};

#[cfg(test)]
mod tests;
