//! What a decision says.

use bellwether_api::{
    command::ExecutedCommand,
    reference::ObjectRef,
    status::{RunEvent, Severity, TrackSummary, WaitReason},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{overlay::Overlay, state::RunState};

/// What is to be saved, done and said. Save `next` (with `executed` in the same write) before
/// anything is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The state to save.
    pub next: RunState,
    /// What the cluster is to look like; see [`Overlay::of`].
    pub overlay: Overlay,
    /// Whether drift of the governed objects is corrected now; `false` while a human's edit is
    /// held: then only routes that take every request from the canary may be written.
    pub correct_drift: bool,
    /// Metrics to measure now; decide again with the answer.
    pub sample: Option<SampleRequest>,
    /// The next check, which may begin at its time without being asked for again, as long as no later
    /// decision plans another or none; absent = none is planned, or something else is asked before it.
    pub planned: Option<PlannedCheck>,
    /// Hooks whose answers are awaited: each is called once for its number, and its answer kept for
    /// as long as it stands here. Calls of others are of no use any more.
    pub hooks: Vec<HookRequest>,
    /// Names of the PostRollout hooks that are to be called now; they are named once.
    pub after: Vec<String>,
    /// What is waited for; empty in terminal states only.
    pub waiting_on: Vec<WaitReason>,
    /// When to decide again although nothing was observed; absent = not before something is.
    pub wake_at: Option<Timestamp>,
    /// What happened, oldest first.
    pub events: Vec<Happening>,
    /// One-shot commands that were answered just now.
    pub executed: Vec<ExecutedCommand>,
    /// Where the run stands, for people.
    pub summary: TrackSummary,
}

/// A request for one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRequest {
    /// To be repeated in the answer.
    pub check: u64,
    /// Since when the weight is in force: no window reaches back further.
    pub in_force_since: Timestamp,
}

/// A check that is not due yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCheck {
    /// What is measured.
    pub request: SampleRequest,
    /// When.
    pub due: Timestamp,
}

/// A request for one call of one hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HookRequest {
    /// The hook's name.
    pub hook: String,
    /// To be repeated in the answer.
    pub call: u64,
}

/// Something that happened; the shell numbers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// How bad it is.
    pub severity: Severity,
    /// A CamelCase word.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// AlertProviders that are told of it; empty = none.
    pub notify: Vec<String>,
}

impl Happening {
    /// Numbers it as an event of a unit.
    #[must_use]
    pub fn event(
        &self,
        seq: u64,
        at: Timestamp,
        run: Uuid,
        attempt: u32,
        object: Option<ObjectRef>,
    ) -> RunEvent {
        RunEvent {
            notify: self.notify.clone(),
            seq,
            at: at.to_string(),
            run,
            attempt,
            severity: self.severity,
            reason: self.reason.to_owned(),
            object,
            message: self.message.clone(),
        }
    }
}
