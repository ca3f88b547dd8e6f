//! What must hold after every event.

mod broken;
mod deletion;
mod edge;
mod rest;
mod time;
mod watch;

pub use broken::Broken;
pub use edge::Edge;
pub use rest::at_rest;
pub use time::{Soaks, deadline_was_kept};
pub use watch::Watch;
