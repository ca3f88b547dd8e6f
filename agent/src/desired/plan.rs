//! What a commit makes of what is held; pure.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    bundle::{Bundle, UnitKey},
    command::Command,
    reference::NamespacedName,
    root::Root,
    status::UnitOutcome,
    sync_record::SyncUnit,
};

use super::{blob::MAX_PACKED_BYTES, shard::Records};

/// One unit's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The unit's key.
    pub key: String,
    /// The generation of the change.
    pub generation: u64,
    /// Digest of the new content; absent = tombstone.
    pub digest: Option<[u8; 32]>,
}

/// A content as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitBlob {
    /// SHA-256 of the unpacked content.
    pub digest: [u8; 32],
    /// The packed content.
    pub zstd: Vec<u8>,
}

/// A delta, or a whole snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The incarnation of the hub's database.
    pub incarnation: u64,
    /// The session's epoch.
    pub epoch: u64,
    /// The generation that is held after it.
    pub to: u64,
    /// What changed; of a snapshot every unit, tombstones included.
    pub changes: Vec<Change>,
    /// Contents that [`Desired::missing`](super::Desired::missing) asked for.
    pub blobs: Vec<CommitBlob>,
    /// Whether `changes` is everything.
    pub snapshot: bool,
    /// The root at `to`, least significant byte first.
    pub root: [u8; 32],
}

/// A unit whose content is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The unit's key.
    pub key: String,
    /// The generation of the change.
    pub generation: u64,
    /// Why, for people.
    pub error: String,
}

/// Why a commit does not fit what is held.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The session is not the newest.
    #[error("failed to accept session epoch {given}: {held} was seen")]
    LowerEpoch {
        /// The highest that was seen.
        held: u64,
        /// The one that was given.
        given: u64,
    },
    /// A delta belongs to another database.
    #[error("failed to accept a delta of incarnation {given}: {held} is held")]
    OtherIncarnation {
        /// The one that is held.
        held: u64,
        /// The one that was given.
        given: u64,
    },
    /// The root does not come out.
    #[error("failed to reach the root at generation {generation}")]
    RootMismatch {
        /// The generation that was to be reached.
        generation: u64,
    },
    /// A content was neither sent nor stored.
    #[error("failed to find the content {digest}")]
    MissingBlob {
        /// The digest in hex.
        digest: String,
    },
}

/// What is to be stored.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) records: Records,
    pub(super) nacks: Vec<Nack>,
    /// Blobs that are worth storing.
    pub(super) stores: BTreeSet<[u8; 32]>,
    pub(super) commands: BTreeMap<NamespacedName, Option<Command>>,
}

/// Tells whether a change is stored already.
pub(super) fn is_known(records: &Records, change: &Change) -> bool {
    records.unit(&change.key).is_some_and(|unit| {
        unit.generation == change.generation && unit.digest == change.digest.map(hex::encode)
    })
}

/// Plans a commit; `contents` are the unpacked blobs by digest.
pub(super) fn plan(
    held: &Records,
    commit: &Commit,
    contents: &BTreeMap<[u8; 32], Vec<u8>>,
) -> Result<Planned, PlanError> {
    if commit.epoch < held.epoch {
        return Err(PlanError::LowerEpoch { held: held.epoch, given: commit.epoch });
    }
    let same_database = held.incarnation == commit.incarnation;
    if !same_database && !commit.snapshot && held.incarnation != 0 {
        return Err(PlanError::OtherIncarnation {
            held: held.incarnation,
            given: commit.incarnation,
        });
    }
    let mut planned = Planned {
        records: held.clone(),
        nacks: Vec::new(),
        stores: BTreeSet::new(),
        commands: BTreeMap::new(),
    };
    for change in &commit.changes {
        take(&mut planned, change, same_database, commit, contents)?;
    }
    if commit.snapshot {
        mark_orphans(&mut planned.records, commit);
    }
    planned.records.incarnation = commit.incarnation;
    planned.records.epoch = commit.epoch;
    // A delta that comes late never takes the generation back; another database starts anew.
    planned.records.generation =
        if same_database { held.generation.max(commit.to) } else { commit.to };
    let late = same_database && commit.to < held.generation;
    if !late && planned.records.root() != Root::from_bytes(commit.root) {
        return Err(PlanError::RootMismatch { generation: commit.to });
    }
    Ok(planned)
}

fn take(
    planned: &mut Planned,
    change: &Change,
    same_database: bool,
    commit: &Commit,
    contents: &BTreeMap<[u8; 32], Vec<u8>>,
) -> Result<(), PlanError> {
    let held = planned.records.unit(&change.key).cloned();
    let digest = change.digest.map(hex::encode);
    if let Some(unit) = &held
        && !unit.orphan
        && (unit.digest == digest || (same_database && change.generation <= unit.generation))
    {
        // The same content at another generation is only a new number.
        if unit.digest == digest
            && let Some(unit) = planned.records.unit_mut(&change.key)
            && (!same_database || change.generation > unit.generation)
        {
            unit.generation = change.generation;
        }
        return Ok(());
    }
    let refusal = match change.digest {
        None => {
            forget_command(planned, &change.key);
            None
        }
        Some(digest) => inspect(planned, change, digest, commit, contents)?,
    };
    let mut unit = held.unwrap_or_else(|| new_unit(&change.key));
    unit.generation = change.generation;
    unit.orphan = false;
    if unit.digest != digest {
        unit.digest = digest;
        unit.outcome = refusal.as_ref().map(|_| UnitOutcome::Refused);
        unit.reason = refusal.clone().unwrap_or_default();
    }
    planned.records.put(unit);
    if let Some(error) = refusal {
        planned.nacks.push(Nack {
            key: change.key.clone(),
            generation: change.generation,
            error,
        });
    }
    Ok(())
}

/// Reads a content; gives why it is refused, if it is.
fn inspect(
    planned: &mut Planned,
    change: &Change,
    digest: [u8; 32],
    commit: &Commit,
    contents: &BTreeMap<[u8; 32], Vec<u8>>,
) -> Result<Option<String>, PlanError> {
    let content = contents
        .get(&digest)
        .ok_or_else(|| PlanError::MissingBlob { digest: hex::encode(digest) })?;
    let packed_bytes =
        commit.blobs.iter().find(|blob| blob.digest == digest).map_or(0, |blob| blob.zstd.len());
    if packed_bytes > MAX_PACKED_BYTES {
        return Ok(Some(format!(
            "the content is {packed_bytes} bytes when packed; at most {MAX_PACKED_BYTES} can be stored"
        )));
    }
    let refusal = match change.key.parse() {
        Ok(UnitKey::Application(application)) => read_bundle(content, &application).err(),
        Ok(UnitKey::Command(application)) => match serde_json::from_slice::<Command>(content) {
            Ok(command) => {
                planned.commands.insert(application, Some(command));
                None
            }
            Err(error) => Some(format!("the command cannot be read: {error}")),
        },
        Err(error) => Some(error.to_string()),
    };
    if refusal.is_none() {
        planned.stores.insert(digest);
    }
    Ok(refusal)
}

fn read_bundle(content: &[u8], application: &NamespacedName) -> Result<(), String> {
    let bundle: Bundle = serde_json::from_slice(content)
        .map_err(|error| format!("the bundle cannot be read: {error}"))?;
    if bundle.application != *application {
        return Err(format!("the bundle is of application {}", bundle.application));
    }
    for object in bundle.components.iter().flat_map(|component| &component.objects) {
        let named = ["/apiVersion", "/kind", "/metadata/name"]
            .iter()
            .all(|path| object.pointer(path).is_some_and(serde_json::Value::is_string));
        if !named {
            return Err("an object of the bundle lacks apiVersion, kind or name".to_owned());
        }
    }
    Ok(())
}

fn forget_command(planned: &mut Planned, key: &str) {
    if let Ok(UnitKey::Command(application)) = key.parse() {
        planned.commands.insert(application, None);
    }
}

fn new_unit(key: &str) -> SyncUnit {
    SyncUnit {
        key: key.to_owned(),
        generation: 0,
        digest: None,
        applied_digest: None,
        running_digest: None,
        outcome: None,
        reason: String::new(),
        failed_templates: Vec::new(),
        objects: Vec::new(),
        next_event: 1,
        events: Vec::new(),
        finished_rollouts: Vec::new(),
        track_cursors: Vec::new(),
        orphan: false,
    }
}

/// Absence never deletes: a live unit that a snapshot lacks is kept and shown.
fn mark_orphans(records: &mut Records, commit: &Commit) {
    let named: BTreeSet<&str> = commit.changes.iter().map(|change| change.key.as_str()).collect();
    for unit in records.units_mut() {
        if unit.digest.is_some() && !named.contains(unit.key.as_str()) {
            unit.orphan = true;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::digest_of;

    const KEY: &str = "application/default/shop";

    fn bundle(release: &str) -> Vec<u8> {
        serde_json::to_vec(&json!({
            "application": {"namespace": "default", "name": "shop"},
            "release": release, "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
            "mode": "Plain", "targetNamespace": "shop", "createNamespace": true,
            "components": [], "rollouts": [], "sync": {}, "metrics": null,
        }))
        .unwrap()
    }

    struct Wire {
        contents: BTreeMap<[u8; 32], Vec<u8>>,
        commit: Commit,
    }

    fn wire(to: u64, units: &[(&str, u64, Option<&[u8]>)], live: &[(&str, &[u8])]) -> Wire {
        let mut contents = BTreeMap::new();
        let changes = units
            .iter()
            .map(|(key, generation, content)| {
                let digest = content.map(|content| {
                    contents.insert(digest_of(content), content.to_vec());
                    digest_of(content)
                });
                Change { key: (*key).to_owned(), generation: *generation, digest }
            })
            .collect();
        let digests: Vec<_> = live.iter().map(|(key, content)| (*key, digest_of(content))).collect();
        let root = Root::of(digests.iter().map(|(key, digest)| (*key, digest)));
        let commit = Commit {
            incarnation: 1,
            epoch: 1,
            to,
            changes,
            blobs: Vec::new(),
            snapshot: false,
            root: *root.as_bytes(),
        };
        Wire { contents, commit }
    }

    fn run(held: &Records, wire: &Wire) -> Result<Planned, PlanError> {
        plan(held, &wire.commit, &wire.contents)
    }

    #[test]
    fn delta_is_taken_once_and_repeats_change_nothing() {
        let one = bundle("one");
        let first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
        let planned = run(&Records::empty(), &first).unwrap();
        assert_eq!(planned.records.generation, 1);
        assert_eq!(planned.stores.len(), 1);
        let again = run(&planned.records, &first).unwrap();
        assert_eq!(again.records, planned.records);
        assert!(again.stores.is_empty());
    }

    #[test]
    fn older_change_does_not_undo_a_newer_one() {
        let (one, two) = (bundle("one"), bundle("two"));
        let newer = wire(5, &[(KEY, 5, Some(&two))], &[(KEY, &two)]);
        let held = run(&Records::empty(), &newer).unwrap().records;
        let late = wire(3, &[(KEY, 3, Some(&one))], &[(KEY, &one)]);
        assert_eq!(run(&held, &late).unwrap().records, held);
    }

    #[test]
    fn wrong_root_commits_nothing() {
        let one = bundle("one");
        let mut bad = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
        bad.commit.root = [9; 32];
        assert_eq!(
            run(&Records::empty(), &bad).unwrap_err(),
            PlanError::RootMismatch { generation: 1 }
        );
    }

    #[test]
    fn lower_epoch_is_refused() {
        let one = bundle("one");
        let mut first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
        first.commit.epoch = 7;
        let held = run(&Records::empty(), &first).unwrap().records;
        first.commit.epoch = 6;
        assert_eq!(
            run(&held, &first).unwrap_err(),
            PlanError::LowerEpoch { held: 7, given: 6 }
        );
    }

    #[test]
    fn new_content_opens_the_outcome_anew_and_keeps_what_runs() {
        let (one, two) = (bundle("one"), bundle("two"));
        let mut held =
            run(&Records::empty(), &wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)])).unwrap().records;
        let unit = held.unit_mut(KEY).unwrap();
        unit.outcome = Some(UnitOutcome::Succeeded);
        unit.applied_digest.clone_from(&unit.digest.clone());
        let next = run(&held, &wire(2, &[(KEY, 2, Some(&two))], &[(KEY, &two)])).unwrap().records;
        let unit = next.unit(KEY).unwrap();
        assert_eq!(unit.outcome, None);
        assert_eq!(unit.applied_digest, Some(hex::encode(digest_of(&one))));
    }

    #[test]
    fn broken_content_is_nacked_and_blocks_no_other() {
        let (one, broken) = (bundle("one"), b"{\"no\": \"bundle\"}".to_vec());
        let other = "application/default/other";
        let units: &[(&str, u64, Option<&[u8]>)] = &[(KEY, 1, Some(&one)), (other, 2, Some(&broken))];
        let planned =
            run(&Records::empty(), &wire(2, units, &[(KEY, &one), (other, &broken)])).unwrap();
        assert_eq!(planned.nacks.iter().map(|nack| nack.key.as_str()).collect::<Vec<_>>(), [other]);
        assert_eq!(planned.records.unit(other).unwrap().outcome, Some(UnitOutcome::Refused));
        assert_eq!(planned.records.unit(KEY).unwrap().outcome, None);
        assert_eq!(planned.stores.len(), 1);
    }

    #[test]
    fn snapshot_keeps_what_it_lacks_as_an_orphan_outside_the_root() {
        let one = bundle("one");
        let held =
            run(&Records::empty(), &wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)])).unwrap().records;
        let mut empty = wire(9, &[], &[]);
        empty.commit.snapshot = true;
        empty.commit.incarnation = 2;
        let after = run(&held, &empty).unwrap().records;
        assert!(after.unit(KEY).unwrap().orphan);
        assert!(after.unit(KEY).unwrap().digest.is_some());
        assert_eq!(after.root(), Root::EMPTY);
        assert_eq!((after.incarnation, after.generation), (2, 9));
    }

    #[test]
    fn tombstone_takes_the_unit_out_of_the_root_and_keeps_its_memory() {
        let one = bundle("one");
        let held =
            run(&Records::empty(), &wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)])).unwrap().records;
        let after = run(&held, &wire(2, &[(KEY, 2, None)], &[])).unwrap().records;
        assert_eq!(after.unit(KEY).unwrap().digest, None);
        assert_eq!(after.root(), Root::EMPTY);
    }

    #[test]
    fn missing_content_is_asked_for_not_guessed() {
        let one = bundle("one");
        let mut bare = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
        bare.contents.clear();
        assert!(matches!(run(&Records::empty(), &bare), Err(PlanError::MissingBlob { .. })));
    }
}
