//! The admission webhook for workloads that somebody else delivers: which writes the API server asks the
//! agent about, what the agent answers, and when its certificate is made anew.
//!
//! What a governed Deployment is written is held in the same write: it is paused with our mark on it, as
//! [`crate::adopted::pause`] would pause it a moment later. Of a workload that is updated in place the field
//! is held that keeps its pods back. Without the webhook, or where it was not asked, what comes a moment
//! later is all there is.

mod certificate;
mod configuration;
mod decision;
mod in_place;

pub use certificate::{AUTHORITY_LIFETIME, CERTIFICATE_LIFETIME, Step, Validity, is_expired, step};
pub use configuration::{FailurePolicy, Resource, Target, Wanted, webhooks};
pub use decision::{Governed, Hold, Update, admit};
pub use in_place::admit_in_place;
