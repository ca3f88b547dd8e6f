//! The shell around a run: observe, decide, save, make the cluster match, and again.
//!
//! A decision is saved in the RolloutTrack before anything follows from it, and what the cluster is
//! to look like depends on the saved state alone: an agent that dies anywhere goes on from there.

mod adapted;
mod adopted;
mod asking;
mod begin;
mod beside;
mod by_node;
mod calls;
mod canary;
mod config;
mod in_place;
mod jobs;
mod loads;
mod objects;
mod observe;
mod own_routes;
mod per_node;
mod reading;
mod revisions;
mod run;
mod saved;
mod scene;
mod telling;
mod track;
mod views;

pub use adopted::{
    as_users, captured, disown, patch_in_place, patch_workload, recorded, sighted, stored, undo,
    workload_view,
};
pub use begin::{refusals, remove_left_track, template_changes};
pub use config::hold_config;
pub use in_place::pod_selector;
pub use objects::{Used, Versions, governed_by, overlaid, stamped, using_configuration};
pub use observe::Seen;
pub use reading::Reading;
pub use run::{Measured, Run, RunError, Tick};
pub use saved::latest_saved;
pub use scene::{Known, Live, Scene};
pub use telling::Notes;
pub use views::{is_deleting, targets, uid};
