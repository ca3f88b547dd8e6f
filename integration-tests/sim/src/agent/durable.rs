//! What survives the agent's process: it lies in the member cluster.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::machine::RunState;
use bellwether_api::{
    root::Root,
    status::{RunEvent, Severity, TrackSummary, UnitOutcome},
    track::RolloutTrackSpec,
};
use bellwether_store::{Digest, desired::UnitVersion};
use jiff::Timestamp;
use uuid::Uuid;

use crate::scenario::unit_key;

/// What survives the agent's process.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    /// The highest epoch that it has seen.
    pub epoch: u64,
    /// The generation that it holds.
    pub generation: u64,
    /// Unit → (generation, digest or tombstone).
    pub units: BTreeMap<String, (u64, Option<Digest>)>,
    /// Contents by digest.
    pub(super) blobs: BTreeMap<[u8; 32], Vec<u8>>,
    /// The bundle that was decided on.
    pub(super) decided: Option<Digest>,
    /// What became of it.
    pub(super) outcome: Option<UnitOutcome>,
    pub(super) reason: String,
    /// The release that was finished last.
    pub(super) applied_release: Option<String>,
    /// The image of that release; empty = none.
    pub applied_image: String,
    /// Images that failed here.
    pub(super) failed: BTreeSet<String>,
    /// Every (run, attempt) that it finished.
    pub finished: BTreeSet<(Uuid, u32)>,
    /// The run under way or finished last.
    pub track: Option<Track>,
    /// Events that the hub may not have, oldest first.
    pub(super) events: Vec<RunEvent>,
    /// The number of the last event; 0 = there was none.
    pub last_event: u64,
}

/// A RolloutTrack.
#[derive(Clone, Debug)]
pub struct Track {
    /// The grant.
    pub spec: RolloutTrackSpec,
    /// The machine's state.
    pub state: RunState,
    /// The image of the old template.
    pub old: String,
    /// The image of the new template.
    pub new: String,
    pub(super) summary: Option<TrackSummary>,
    /// Rises with every write, whoever writes it.
    pub version: u64,
    /// Whether the run writes what it holds; not while a human's edit is held.
    pub(super) corrects: bool,
    /// Whether how it ended is remembered.
    pub closed: bool,
}

impl Track {
    /// What it waits for.
    #[must_use]
    pub fn waits(&self) -> Vec<&str> {
        let waits = self.summary.iter().flat_map(|summary| &summary.waiting_on);
        waits.map(|wait| wait.message.as_str()).collect()
    }
}

impl Durable {
    /// The root of what is held.
    #[must_use]
    pub fn root(&self) -> Root {
        let live = self.units.iter();
        Root::of(live.filter_map(|(key, (_, digest))| Some((key.as_str(), &digest.as_ref()?.0))))
    }

    /// Takes units in; gives whether what is held has the root that was promised then. Otherwise
    /// nothing was taken in.
    pub(super) fn take(
        &mut self,
        to: u64,
        root: Root,
        units: &[UnitVersion],
        blobs: &BTreeMap<[u8; 32], Vec<u8>>,
        unchecked: bool,
    ) -> bool {
        let before = self.clone();
        for unit in units {
            let known = self
                .units
                .get(&unit.key)
                .map_or(0, |(generation, _)| *generation);
            if unit.generation >= known {
                self.units
                    .insert(unit.key.clone(), (unit.generation, unit.digest));
            }
        }
        self.blobs
            .extend(blobs.iter().map(|(digest, bytes)| (*digest, bytes.clone())));
        self.generation = to;
        let fits = self.root() == root || unchecked;
        if !fits {
            *self = before;
        }
        fits
    }

    /// Tells what the application's unit says: absent = nothing was ever heard of it.
    pub(super) fn granted(&self) -> Option<(u64, Option<Digest>)> {
        self.units.get(&unit_key()).copied()
    }

    /// Tells whether a run is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.track.as_ref().is_some_and(|track| !track.closed)
    }

    /// Remembers that something happened.
    pub(super) fn push_event(
        &mut self,
        of: (Uuid, u32),
        at: Timestamp,
        (severity, reason, message): (Severity, &str, &str),
    ) {
        self.last_event += 1;
        self.events.push(RunEvent {
            notify: Vec::new(),
            seq: self.last_event,
            at: at.to_string(),
            run: of.0,
            attempt: of.1,
            severity,
            reason: reason.to_owned(),
            object: None,
            message: message.to_owned(),
        });
    }
}
