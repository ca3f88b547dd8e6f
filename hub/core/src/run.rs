//! One run: a release on its way through the waves of its frozen plan.
//!
//! [`decide()`] folds what was seen since the last decision into the persisted [`RunState`] and says
//! what to write: grants, commands, answers to actions, events. The caller saves all of it in one
//! transaction by compare-and-set, so that nothing is granted or answered twice.

mod act;
mod cluster;
mod command;
mod deadline;
mod decide;
mod decision;
mod gate;
mod grant;
mod input;
mod observe;
mod state;
mod waiting;
mod wave;

pub use cluster::{ClusterPhase, ClusterRun};
pub use decide::{decide, explain, gates};
pub use decision::{
    ActionOutcome, AnsweredAction, ClusterAnswer, CommandChange, Decision, Grant, GrantRelease,
    HubEvent,
};
pub use gate::{AskedGate, GateVerdict, asked};
pub use input::{
    ActionKind, ClusterSeen, FRESH_FOR, Input, NamedRelease, PendingAction, Reach, Reading,
    RunFacts, Supersession, Unrendered,
};
pub use state::{
    Approval, Ending, GateState, KeptReading, ReadingOutcome, RunState, RunStatus, Stop, WavePhase,
    WaveState,
};
pub(crate) use waiting::answer;

#[cfg(test)]
pub(crate) mod tests;
