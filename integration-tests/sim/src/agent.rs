//! One agent: its stream, its durable state in the member cluster, and the run that it drives.

mod api;
mod calls;
mod drive;
mod durable;
mod link;
mod measure;
mod process;
mod report;
mod sharing;
mod unguarded;
mod work;

pub use api::Api;
pub use durable::{Durable, Track};
pub use process::{Agent, POINTS};
pub use report::is_unfinished;
pub use work::MAX_EVENTS;
