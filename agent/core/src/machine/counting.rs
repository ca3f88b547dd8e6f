//! Which decisions do no more than count.

use super::{
    decision::Decision,
    overlay::Overlay,
    stage::{PromotionPart, Stage, StepPart},
    state::RunState,
};

/// A place in which a run stays while its checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Analysing(u32),
    Gate(u32),
    Gathering,
}

impl RunState {
    /// Tells whether a weight is in force and nothing but checks, gates and other rollouts are waited
    /// for.
    #[must_use]
    pub const fn is_judged(&self) -> bool {
        self.judged().is_some()
    }

    const fn judged(&self) -> Option<Judged> {
        match &self.stage {
            Stage::Step {
                index,
                part: StepPart::Analysing { .. },
            } => Some(Judged::Analysing(*index)),
            Stage::Step {
                index,
                part: StepPart::Gate { .. },
            } => Some(Judged::Gate(*index)),
            Stage::Promoting {
                part: PromotionPart::Gathering { judged: Some(_) },
            } => Some(Judged::Gathering),
            _ => None,
        }
    }
}

impl Decision {
    /// Tells whether the decision asks for, plans or counts checks, and changes nothing else: the run
    /// stays where it is, the cluster as it is to be, and no command was answered. `corrects` is what
    /// the decision before said of drift.
    ///
    /// Only these may be made on what was read a while ago: whatever else follows from what is seen
    /// is to be decided on what is there now.
    #[must_use]
    pub fn only_counts(&self, before: &RunState, corrects: bool) -> bool {
        before.is_judged()
            && self.next.judged() == before.judged()
            && self.overlay == Overlay::of(before)
            && self.correct_drift == corrects
            && self.executed.is_empty()
            && self.after.is_empty()
    }
}
