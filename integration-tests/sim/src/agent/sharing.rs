//! Over which count of the workload a total was first shared, as a judge remembers it.

use std::collections::BTreeSet;

use super::process::Agent;
use crate::{
    invariant::Broken,
    member::{Part, Wanted},
};

/// What was decided of the total that both versions share, and what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharing {
    /// Every count that the old version was to have in the run under way.
    asked: BTreeSet<u32>,
    /// The count of the workload that the last saved decision was made on; absent = nothing was to be
    /// shared, or the count may have been one that was asked for.
    over: Option<u32>,
    /// The count over which something else was written, with the one that it was decided on.
    blind: Option<(u32, u32)>,
}

impl Sharing {
    /// Remembers a decision that was saved: `live` is the count that it was made on.
    pub(super) fn decided(&mut self, live: u32, pods: Option<u32>) {
        // Nobody can tell a count that somebody wrote from the same one that was asked for.
        let is_clear = pods.is_some() && !self.asked.contains(&live);
        self.over = is_clear.then_some(live);
        self.asked.extend(pods);
    }
}

impl Agent {
    /// Writes one object of the cluster. Tells whether that changed it.
    pub(super) fn put_in(&mut self, part: Part, want: &Wanted<'_>) -> bool {
        let before = self.member.shared_total();
        let changed = self.member.write(part, want);
        if let (None, Some(total), Some(over)) =
            (before, self.member.shared_total(), self.sharing.over)
            && total != over
            && want.overlay.replicas != Some(total)
        {
            self.sharing.blind = Some((total, over));
        }
        changed
    }

    /// I1: the total that both versions share is the one on which it was decided to share it; whoever
    /// scaled the workload since is not written over.
    ///
    /// # Errors
    /// Somebody was.
    pub fn shared_what_it_saw(&self) -> Result<(), Broken> {
        self.sharing.blind.map_or(Ok(()), |(total, over)| {
            let detail = format!("{total} pods were shared as if they were {over}");
            Err(Broken::new("I1-total", detail))
        })
    }
}
