//! What a simulated agent was sent and cannot take in yet: contents that did not travel inside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Result, ensure};
use bellwether_proto::wire::{Blob, BlobRange, UnitChange};
use bytes::{Bytes, BytesMut};

/// Changes that are taken in together.
pub struct Batch {
    /// The changes, each with its content inside.
    pub units: Vec<UnitChange>,
    /// What is held then.
    pub generation: u64,
    /// Its root digest.
    pub root: Bytes,
}

/// Batches in the order in which they came.
#[derive(Default)]
pub struct Batches {
    waiting: VecDeque<Batch>,
    /// Pieces of contents, by digest; those that are whole stay until their batch is taken in.
    pieces: BTreeMap<Bytes, BytesMut>,
    whole: BTreeSet<Bytes>,
    asked: BTreeSet<Bytes>,
}

impl Batches {
    /// Takes a batch.
    pub fn push(&mut self, units: Vec<UnitChange>, generation: u64, root: Bytes) {
        self.waiting.push_back(Batch {
            units,
            generation,
            root,
        });
    }

    /// What is to be asked for, each once.
    pub fn next_to_ask(&mut self) -> Vec<BlobRange> {
        let mut ranges = Vec::new();
        for unit in self.waiting.iter().flat_map(|batch| &batch.units) {
            if lacks(unit) && self.asked.insert(unit.digest.clone()) {
                ranges.push(BlobRange {
                    digest: unit.digest.clone(),
                    offset: 0,
                });
            }
        }
        ranges
    }

    /// Takes a piece of a content.
    ///
    /// # Errors
    /// When the hub does not have it.
    pub fn piece(&mut self, piece: Blob) -> Result<()> {
        ensure!(piece.total_bytes > 0, "the hub lacks what it named");
        let content = self.pieces.entry(piece.digest.clone()).or_default();
        content.extend_from_slice(&piece.data);
        if content.len() as u64 >= piece.total_bytes {
            self.whole.insert(piece.digest);
        }
        Ok(())
    }

    /// The next batch, if all of its contents are there.
    pub fn whole(&mut self) -> Option<Batch> {
        let next = self.waiting.front()?;
        let lacking = |unit: &&UnitChange| lacks(unit) && !self.whole.contains(&unit.digest);
        if next.units.iter().find(lacking).is_some() {
            return None;
        }
        let mut batch = self.waiting.pop_front()?;
        for unit in batch.units.iter_mut().filter(|unit| lacks(unit)) {
            if let Some(content) = self.pieces.get(&unit.digest) {
                unit.inline_blob = content.clone().freeze();
            }
        }
        if self.waiting.is_empty() {
            self.pieces.clear();
            self.whole.clear();
            self.asked.clear();
        }
        Some(batch)
    }
}

/// Tells whether a change is an application's whose content did not travel inside.
fn lacks(unit: &UnitChange) -> bool {
    !unit.digest.is_empty() && unit.inline_blob.is_empty() && unit.key.starts_with("application/")
}
