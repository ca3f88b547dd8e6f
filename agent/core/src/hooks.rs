//! Hooks: which are due, what they are told, and what their answers mean.

mod outcome;
mod payload;

pub use outcome::{Effect, HookOutcome, due, effect, outcome};
pub use payload::{HookEvent, HookScene, PayloadError, body, signature};
