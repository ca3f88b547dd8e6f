//! Custom resources of the cluster that hosts the hub: what is to be done about each, as which document it
//! is written, and what its status says.

mod admission;
mod document;
mod duty;
mod judgement;
mod status;

pub use admission::{Asked, webhooks};
pub use document::{author, document, is_written_by_user};
pub use duty::{Duty, Owned, Seen, adoption, deletion, duty};
pub use judgement::{Judgement, Words, judge};
pub use status::{hears_less, status};
