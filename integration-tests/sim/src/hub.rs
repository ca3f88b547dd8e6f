//! One hub process: streams to agents, and the planning loop split where a crash may fall.

mod link;
mod plan;
mod pretend;
mod process;
mod rendering;
mod restore;
mod write;

pub use plan::Judges;
pub use process::{Hub, POINTS};
