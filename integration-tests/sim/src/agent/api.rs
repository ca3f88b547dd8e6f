//! The API server of the member cluster, as the agent meets it: it refuses, does not answer, is busy,
//! and shows what was there a while ago.

use bellwether_agent_core::machine::Overlay;
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, seq::SliceRandom};

use super::process::Agent;
use crate::{
    Mutant,
    count::Counts,
    member::{EditKind, Member, Part, Wanted},
};

/// Looks that are kept to be shown late, in seconds.
const KEPT: usize = 3;

/// How the API server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Api {
    /// Requests in a hundred that go wrong.
    pub bad: u32,
    /// Until when the agent has to leave it alone; absent = it has not.
    pub(super) busy_until: Option<Timestamp>,
}

/// What became of one write, as far as the agent knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there.
    Done,
    /// It may be there or not.
    Unknown,
    /// The API server cannot convert it.
    Unconverted,
    /// The process died.
    Died,
}

impl Agent {
    /// Keeps what is there now, to be shown late.
    pub fn keep_look(&mut self) {
        self.past.push_back(self.member.clone());
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
    }

    fn goes_wrong(&mut self) -> bool {
        let percent = if self.calm { 0 } else { self.api.bad };
        self.rng.random_range(0..100) < percent
    }

    /// Tells whether the agent was asked to leave the API server alone for now.
    pub(super) fn must_wait(&self, truth: Timestamp) -> bool {
        self.api.busy_until.is_some_and(|until| truth < until)
    }

    /// Reads what is there, or what was a moment ago: together with whether that is known to be newer
    /// than the agent's own last write. Absent = there was no answer.
    pub(super) fn look(&mut self, counts: &mut Counts) -> Option<(Member, bool)> {
        if self.goes_wrong() {
            counts.one("api/read-failed");
            return None;
        }
        let late = !self.calm && self.twin.is_none() && self.rng.random_range(0..100) < 8;
        let number = self.rng.random_range(0..KEPT);
        let Some(look) = self.past.get(number).filter(|_| late) else {
            return Some((self.member.clone(), true));
        };
        counts.one("api/stale-read");
        let fresh = self.volatile.wrote_at.is_some_and(|at| look.clock >= at);
        Some((look.clone(), fresh))
    }

    /// Writes one object.
    pub(super) fn write(
        &mut self,
        part: Part,
        want: &Wanted<'_>,
        truth: Timestamp,
        counts: &mut Counts,
    ) -> Written {
        if self.goes_wrong() {
            match self.rng.random_range(0..4) {
                0 => counts.one("api/409"),
                1 => {
                    counts.one("api/429");
                    let seconds = self.rng.random_range(1..6);
                    self.api.busy_until = Some(truth + SignedDuration::from_secs(seconds));
                }
                2 => counts.one("api/500"),
                _ if !self.member.refuses(part, want)
                    && (part != Part::Shard || self.member.converts()) =>
                {
                    counts.one("api/lost-reply");
                    self.put(part, want);
                }
                _ => {}
            }
            return Written::Unknown;
        }
        if part == Part::Shard && !self.member.converts() {
            counts.one("api/unconverted");
            return Written::Unconverted;
        }
        if self.member.refuses(part, want) {
            counts.one("api/scaled-meanwhile");
            return Written::Unknown;
        }
        self.put(part, want);
        if self.dies("crash/agent/write-after", counts) {
            return Written::Died;
        }
        Written::Done
    }

    fn put(&mut self, part: Part, want: &Wanted<'_>) {
        let changed = self.put_in(part, want);
        self.volatile.known_changes += u64::from(changed);
        if changed {
            self.volatile.wrote_at = Some(self.member.clock);
        }
    }

    /// Makes objects what is wanted, in any order. Tells whether all of them are known to be.
    pub(super) fn put_all(
        &mut self,
        parts: &[Part],
        want: &Wanted<'_>,
        truth: Timestamp,
        mutant: Mutant,
        counts: &mut Counts,
    ) -> Written {
        if self.volatile.known_changes != self.member.changes {
            // Somebody else wrote something: everything is looked at again.
            self.volatile.holds.clear();
            self.volatile.known_changes = self.member.changes;
        }
        let mut parts = parts.to_vec();
        parts.shuffle(&mut self.rng);
        let mut all = Written::Done;
        for part in parts {
            let trusted = match mutant {
                Mutant::TrustOwnWrites => true,
                Mutant::ForgetRefusedWrite => part == Part::Config,
                _ => false,
            };
            let held = (part, want.fingerprint(part));
            if self.volatile.holds.contains(&held) {
                continue;
            }
            self.volatile.holds.retain(|(other, _)| *other != part);
            match self.write(part, want, truth, counts) {
                Written::Unconverted if want.passes_by => {}
                Written::Unknown | Written::Unconverted if !trusted => all = Written::Unknown,
                Written::Died => return Written::Died,
                _ => self.volatile.holds.push(held),
            }
        }
        all
    }

    /// The objects that a run may write: not those that a human holds.
    pub(super) fn may_write(
        &self,
        overrules: bool,
        corrects: bool,
        overlay: &Overlay,
    ) -> Vec<Part> {
        let mut all = Part::ALL.to_vec();
        all.extend(self.member.particulars.shards.then_some(Part::Shard));
        let Some(edit) = self.member.edit.as_ref().filter(|_| !overrules) else {
            return all;
        };
        let held = match edit.kind {
            EditKind::Release => Part::Workload,
            EditKind::Selector => Part::Service,
            EditKind::Route => Part::Route,
        };
        let takes_away = overlay.split.is_none();
        let may = |part: &Part| match part {
            Part::Route if takes_away => true,
            part => corrects && *part != held,
        };
        all.retain(may);
        all
    }

    /// What the API server has not taken of what is held, as a run is told; empty = nothing.
    pub(super) fn untaken(&self) -> String {
        let mut held = self.volatile.holds.iter();
        if self.member.particulars.shards && !held.any(|(part, _)| *part == Part::Shard) {
            return "the API server has not taken Shard/shop/web".to_owned();
        }
        String::new()
    }
}
