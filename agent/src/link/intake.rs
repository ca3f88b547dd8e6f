//! Puts together what the hub sends: parts of a snapshot, pieces of blobs. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bellwether_api::sync_policy::{DeletionPolicies, DeletionPolicy};
use bellwether_proto::{
    limits::{MAX_BLOB_BYTES, MAX_CHANGES},
    wire::{Blob, BlobRange, Deletion, Delta, Snapshot, UnitChange},
};
use bytes::Bytes;

use crate::desired::{Change, Commit, CommitBlob};

/// Blobs that are asked for at once.
const MAX_ASKED: usize = 16;
/// Units of one snapshot; a hub that sends more is none of ours.
const MAX_SNAPSHOT_UNITS: usize = 200_000;

/// What the hub sent does not fit together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum IntakeError {
    #[error("a digest has {0} bytes")]
    Digest(usize),
    #[error("a root has {0} bytes")]
    Root(usize),
    #[error("part {got} of a snapshot came where part {expected} was due")]
    Part { expected: u32, got: u32 },
    #[error("a message carries {0} changes")]
    TooMany(usize),
    #[error("a piece of a blob came that was not asked for")]
    Unasked,
    #[error("a piece of a blob came at {got} where {expected} was due")]
    Offset { expected: usize, got: u64 },
    #[error("a blob has {0} bytes")]
    BlobSize(u64),
    #[error("the hub does not have a blob that it named")]
    UnknownBlob,
}

/// Batches that came and are not stored yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Intake {
    batches: VecDeque<Batch>,
    snapshot: Option<(u32, Batch)>,
}

/// A delta or a whole snapshot, with the contents that came for it.
#[derive(Debug, Default)]
struct Batch {
    to: u64,
    root: [u8; 32],
    is_snapshot: bool,
    changes: Vec<Change>,
    blobs: Vec<CommitBlob>,
    /// Contents still to be asked for; set once the batch is first in line.
    missing: Option<BTreeSet<[u8; 32]>>,
    asked: BTreeMap<[u8; 32], Vec<u8>>,
}

impl Batch {
    fn take(&mut self, units: Vec<UnitChange>) -> Result<(), IntakeError> {
        if units.len() > MAX_CHANGES || self.changes.len() > MAX_SNAPSHOT_UNITS {
            return Err(IntakeError::TooMany(units.len()));
        }
        for unit in units {
            let digest = match unit.digest.len() {
                0 => None,
                _ => Some(digest(&unit.digest)?),
            };
            if let Some(digest) = digest
                && !unit.inline_blob.is_empty()
            {
                self.blobs.push(CommitBlob {
                    digest,
                    zstd: unit.inline_blob.to_vec(),
                });
            }
            self.changes.push(Change {
                key: unit.key,
                generation: unit.generation,
                digest,
                deletion: said(unit.deletion, unit.components),
            });
        }
        Ok(())
    }
}

/// What becomes of the objects of a tombstone, by component; absent = nothing is said.
fn said(application: i32, components: HashMap<String, i32>) -> Option<DeletionPolicies> {
    let application = deletion(application)?;
    let components = components.into_iter();
    Some(DeletionPolicies {
        application,
        components: components
            .map(|(name, own)| (name, deletion(own)))
            .collect(),
    })
}

/// What becomes of objects; absent = nothing is said. A policy that this agent does not know deletes nothing.
fn deletion(policy: i32) -> Option<DeletionPolicy> {
    match Deletion::try_from(policy) {
        Ok(Deletion::Unspecified) => None,
        Ok(Deletion::Delete) => Some(DeletionPolicy::Delete),
        Ok(Deletion::SelectivelyOrphan) => Some(DeletionPolicy::SelectivelyOrphan),
        Ok(Deletion::Orphan) | Err(_) => Some(DeletionPolicy::Orphan),
    }
}

fn digest(bytes: &Bytes) -> Result<[u8; 32], IntakeError> {
    bytes
        .as_ref()
        .try_into()
        .map_err(|_| IntakeError::Digest(bytes.len()))
}

fn root(bytes: &Bytes) -> Result<[u8; 32], IntakeError> {
    bytes
        .as_ref()
        .try_into()
        .map_err(|_| IntakeError::Root(bytes.len()))
}

/// What is to be done for the batch that is first in line.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing came, or pieces are on their way.
    Wait,
    /// Ask for these.
    Ask(Vec<BlobRange>),
    /// Store this.
    Commit(Box<Commit>),
}

impl Intake {
    pub(super) fn delta(&mut self, delta: Delta) -> Result<(), IntakeError> {
        let mut batch = Batch {
            to: delta.to,
            root: root(&delta.root)?,
            ..Batch::default()
        };
        batch.take(delta.changes)?;
        self.batches.push_back(batch);
        Ok(())
    }

    /// Takes a part of a snapshot. What waited before it is part of it.
    pub(super) fn part(&mut self, part: Snapshot) -> Result<(), IntakeError> {
        let (expected, mut batch) = match self.snapshot.take() {
            Some(under_way) if part.part != 0 => under_way,
            _ => (
                0,
                Batch {
                    is_snapshot: true,
                    to: part.generation,
                    ..Batch::default()
                },
            ),
        };
        if part.part != expected {
            return Err(IntakeError::Part {
                expected,
                got: part.part,
            });
        }
        batch.take(part.units)?;
        if part.complete {
            batch.root = root(&part.root)?;
            self.batches.clear();
            self.batches.push_back(batch);
        } else {
            self.snapshot = Some((expected + 1, batch));
        }
        Ok(())
    }

    /// Takes a piece of a blob.
    pub(super) fn piece(&mut self, piece: Blob) -> Result<(), IntakeError> {
        let digest = digest(&piece.digest)?;
        let batch = self.batches.front_mut().ok_or(IntakeError::Unasked)?;
        let held = batch.asked.get_mut(&digest).ok_or(IntakeError::Unasked)?;
        let total = usize::try_from(piece.total_bytes).unwrap_or(usize::MAX);
        if total == 0 {
            return Err(IntakeError::UnknownBlob);
        }
        if total > MAX_BLOB_BYTES {
            return Err(IntakeError::BlobSize(piece.total_bytes));
        }
        if u64::try_from(held.len()) != Ok(piece.offset) || held.len() + piece.data.len() > total {
            return Err(IntakeError::Offset {
                expected: held.len(),
                got: piece.offset,
            });
        }
        held.extend_from_slice(&piece.data);
        if held.len() == total {
            let zstd = std::mem::take(held);
            batch.asked.remove(&digest);
            batch.blobs.push(CommitBlob { digest, zstd });
        }
        Ok(())
    }

    /// What to do now; `lacking` tells which contents of changes are not stored here.
    pub(super) fn next(
        &mut self,
        incarnation: u64,
        epoch: u64,
        lacking: impl FnOnce(&[Change]) -> Vec<[u8; 32]>,
    ) -> Next {
        let Some(batch) = self.batches.front_mut() else {
            return Next::Wait;
        };
        let missing = batch.missing.get_or_insert_with(|| {
            let mut missing: BTreeSet<[u8; 32]> = lacking(&batch.changes).into_iter().collect();
            for blob in &batch.blobs {
                missing.remove(&blob.digest);
            }
            missing
        });
        if !batch.asked.is_empty() {
            return Next::Wait;
        }
        if !missing.is_empty() {
            let mut ranges = Vec::new();
            while ranges.len() < MAX_ASKED
                && let Some(digest) = missing.pop_first()
            {
                batch.asked.insert(digest, Vec::new());
                ranges.push(BlobRange {
                    digest: Bytes::copy_from_slice(&digest),
                    offset: 0,
                });
            }
            return Next::Ask(ranges);
        }
        let Some(batch) = self.batches.pop_front() else {
            return Next::Wait;
        };
        Next::Commit(Box::new(Commit {
            incarnation,
            epoch,
            to: batch.to,
            changes: batch.changes,
            blobs: batch.blobs,
            snapshot: batch.is_snapshot,
            root: batch.root,
        }))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ROOT: Bytes = Bytes::from_static(&[0; 32]);

    fn unit(key: &str, digest: u8, inline: &'static [u8]) -> UnitChange {
        UnitChange {
            key: key.to_owned(),
            generation: 1,
            digest: Bytes::from(vec![digest; 32]),
            inline_blob: Bytes::from_static(inline),
            deletion: Deletion::Unspecified.into(),
            components: HashMap::new(),
        }
    }

    fn everything(changes: &[Change]) -> Vec<[u8; 32]> {
        changes.iter().filter_map(|change| change.digest).collect()
    }

    fn piece(digest: u8, offset: u64, total: u64, data: &'static [u8]) -> Blob {
        Blob {
            digest: Bytes::from(vec![digest; 32]),
            offset,
            total_bytes: total,
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn asks_for_what_did_not_come_inline() {
        let mut intake = Intake::default();
        let changes = vec![unit("a", 1, b"one"), unit("b", 2, b"")];
        intake
            .delta(Delta {
                from: 0,
                to: 5,
                changes,
                root: ROOT,
            })
            .unwrap();
        let Next::Ask(ranges) = intake.next(1, 1, everything) else {
            panic!("nothing asked")
        };
        assert_eq!(ranges.len(), 1);
        assert!(matches!(intake.next(1, 1, everything), Next::Wait));
        intake.piece(piece(2, 0, 4, b"tw")).unwrap();
        assert!(matches!(intake.next(1, 1, everything), Next::Wait));
        let early = intake.piece(piece(2, 3, 4, b"o"));
        assert_eq!(
            early,
            Err(IntakeError::Offset {
                expected: 2,
                got: 3
            })
        );
        intake.piece(piece(2, 2, 4, b"oo")).unwrap();
        let Next::Commit(commit) = intake.next(1, 1, everything) else {
            panic!("no commit")
        };
        assert_eq!(
            (commit.to, commit.changes.len(), commit.blobs.len()),
            (5, 2, 2)
        );
        assert_eq!(commit.blobs[1].zstd, b"twoo");
        assert!(matches!(intake.next(1, 1, everything), Next::Wait));
    }

    #[test]
    fn a_tombstone_brings_its_policy_and_one_that_is_not_known_deletes_nothing() {
        let newer = 99;
        let tombstone = |deletion| UnitChange {
            digest: Bytes::new(),
            deletion,
            components: HashMap::from([
                ("db".to_owned(), deletion),
                ("web".to_owned(), Deletion::Unspecified.into()),
            ]),
            ..unit("a", 1, b"")
        };
        for (said, expected) in [
            (Deletion::Unspecified.into(), None),
            (Deletion::Delete.into(), Some(DeletionPolicy::Delete)),
            (
                Deletion::SelectivelyOrphan.into(),
                Some(DeletionPolicy::SelectivelyOrphan),
            ),
            (Deletion::Orphan.into(), Some(DeletionPolicy::Orphan)),
            (newer, Some(DeletionPolicy::Orphan)),
        ] {
            let mut intake = Intake::default();
            let changes = vec![tombstone(said)];
            let delta = Delta {
                from: 0,
                to: 5,
                changes,
                root: ROOT,
            };
            intake.delta(delta).unwrap();
            let Next::Commit(commit) = intake.next(1, 1, everything) else {
                panic!("no commit")
            };
            assert_eq!(commit.changes[0].digest, None);
            let expected = expected.map(|policy| DeletionPolicies {
                application: policy,
                components: BTreeMap::from([
                    ("db".to_owned(), Some(policy)),
                    ("web".to_owned(), None),
                ]),
            });
            assert_eq!(commit.changes[0].deletion, expected, "{said}");
        }
    }

    #[test]
    fn snapshot_comes_in_parts_and_replaces_what_waits() {
        let mut intake = Intake::default();
        let delta = Delta {
            from: 0,
            to: 1,
            changes: vec![unit("x", 9, b"x")],
            root: ROOT,
        };
        intake.delta(delta).unwrap();
        let part = |part, complete, units| Snapshot {
            generation: 7,
            part,
            complete,
            units,
            root: ROOT,
        };
        intake
            .part(part(0, false, vec![unit("a", 1, b"a")]))
            .unwrap();
        let skipped = intake.part(part(2, true, vec![]));
        assert_eq!(
            skipped,
            Err(IntakeError::Part {
                expected: 1,
                got: 2
            })
        );
        intake
            .part(part(0, false, vec![unit("a", 1, b"a")]))
            .unwrap();
        intake
            .part(part(1, true, vec![unit("b", 2, b"b")]))
            .unwrap();
        let Next::Commit(commit) = intake.next(1, 1, everything) else {
            panic!("no commit")
        };
        assert!(commit.snapshot);
        assert_eq!(
            commit
                .changes
                .iter()
                .map(|c| c.key.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(matches!(intake.next(1, 1, everything), Next::Wait));
    }

    #[test]
    fn refuses_what_no_hub_sends() {
        let mut intake = Intake::default();
        assert_eq!(
            intake.piece(piece(1, 0, 1, b"a")),
            Err(IntakeError::Unasked)
        );
        let mut wrong = unit("a", 1, b"");
        wrong.digest = Bytes::from_static(b"short");
        let delta = Delta {
            from: 0,
            to: 1,
            changes: vec![wrong],
            root: ROOT,
        };
        assert_eq!(intake.delta(delta), Err(IntakeError::Digest(5)));
        let delta = Delta {
            from: 0,
            to: 1,
            changes: vec![unit("a", 1, b"")],
            root: ROOT,
        };
        intake.delta(delta).unwrap();
        assert!(matches!(intake.next(1, 1, everything), Next::Ask(_)));
        let bomb = piece(1, 0, u64::MAX, b"a");
        assert_eq!(intake.piece(bomb), Err(IntakeError::BlobSize(u64::MAX)));
        assert_eq!(
            intake.piece(piece(1, 0, 0, b"")),
            Err(IntakeError::UnknownBlob)
        );
    }
}
