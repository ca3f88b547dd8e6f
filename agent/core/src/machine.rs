//! The run of one governed workload: observations in, the wanted overlay out.
//!
//! The shell observes the cluster, calls [`decide()`], saves `next` by compare-and-set, and then makes
//! the cluster match `overlay`. An overlay names the whole wanted state, never a change, so that a
//! shell that dies anywhere starts again by observing. Every stage changes one thing and waits until
//! that thing is observed.

mod adapted;
mod approvals;
mod awaits;
mod by_pods;
mod by_revision;
mod checks;
mod commands;
mod counting;
mod decide;
mod decision;
mod first_share;
mod gate;
mod gathering;
mod hook_memory;
mod hooking;
mod in_place;
mod judging;
mod notify;
mod observations;
mod overlay;
mod per_node;
mod progress;
mod promotion;
mod released;
mod replacing;
mod resume;
mod rollback;
mod scaling;
mod sizing;
mod stage;
mod start;
mod state;
mod steps;
mod summary;
mod turn;

pub use by_revision::Revisions;
pub use decide::decide;
pub use decision::{Decision, Happening, HookRequest, PlannedCheck, SampleRequest};
pub use first_share::FirstShare;
pub use hook_memory::{Approvals, Approved, HookMemory, Round};
pub use notify::Told;
pub use observations::{
    CanaryView, Endpoints, HookAnswer, InPlaceView, MetricSample, Observations, RevisionsView,
    RouteView, Samples, ServiceView,
};
pub use overlay::{CanaryWant, InPlaceWant, Overlay, RevisionsWant, ServicePin};
pub use stage::{
    Failure, Judged, PromotionPart, RollbackPart, Shift, Stage, StepPart, StepVerdict,
};
pub use state::{
    Answered, Apart, Apex, Clock, InPlace, MAX_EXECUTED, ReadStateError, RunState, STATE_VERSION,
};

#[cfg(test)]
mod tests;
