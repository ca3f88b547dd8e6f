//! The first time that the old version gives pods to a total which both versions share.

use serde::{Deserialize, Serialize};

/// Counts that are remembered; a request that is older is not under way any more.
const MAX_ASKED: usize = 4;

/// Pods that the old version is to give away, as long as it is not known to have done so. Somebody may
/// scale the workload between that decision and its first write: what both versions share is then
/// another total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstShare {
    /// The count of the workload on which it was decided, and over which alone it may be written.
    pub over: u32,
    /// Counts that were asked for since, newest last.
    #[serde(default)]
    pub asked: Vec<u32>,
}

impl FirstShare {
    pub(super) const fn over(live: u32) -> Self {
        Self {
            over: live,
            asked: Vec::new(),
        }
    }

    /// Remembers a count that is asked for.
    pub(super) fn ask(&mut self, pods: u32) {
        if self.asked.last() != Some(&pods) {
            self.asked.push(pods);
        }
        let surplus = self.asked.len().saturating_sub(MAX_ASKED);
        self.asked.drain(..surplus);
    }
}
