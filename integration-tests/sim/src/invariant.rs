//! What must hold after every event.

mod bounds;
mod broken;
mod capacity;
mod deletion;
mod edge;
mod history;
mod rest;
mod time;
mod watch;

pub use bounds::bounds;
pub use broken::Broken;
pub use capacity::capacity;
pub use edge::Edge;
pub use history::follows;
pub use rest::at_rest;
pub use time::{Soaks, deadline_was_kept};
pub use watch::Watch;
