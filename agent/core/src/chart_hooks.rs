//! Hooks of charts: which are due, what is done about the one that is under way, and what is
//! remembered of it.
//!
//! Each runs at most once for a bundle and a moment. What is remembered is written before and after
//! every write to the cluster, and the object bears the mark of its bundle and moment, so that an
//! agent that is killed at any point finds out where it was.

mod order;
mod outcome;
mod record;
mod step;

pub use order::{account_of, due, moment, moments, occasion};
pub use outcome::{HookOutcome, is_awaited, outcome_of};
pub use record::{abandon, begin, failed, forget, made, over, passed, start};
pub use step::{HookSight, HookStep, is_marked, mark_of, marked, step};
