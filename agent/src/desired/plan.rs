//! What a commit makes of what is held; pure.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::pruning::hear_deletion;
use bellwether_api::{
    bundle::{Bundle, TooLarge, UnitKey},
    chart_hook::ChartHookRecord,
    command::Command,
    reference::NamespacedName,
    root::Root,
    standing_grant::StandingGrant,
    status::UnitOutcome,
    sync_policy::{DeletionPolicies, DeletionPolicy},
    sync_record::SyncUnit,
};

use super::shard::Records;

/// One unit's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The unit's key.
    pub key: String,
    /// The generation of the change.
    pub generation: u64,
    /// Digest of the new content; absent = tombstone.
    pub digest: Option<[u8; 32]>,
    /// What becomes of the objects of a tombstone; absent = as the content that was taken up last says.
    pub deletion: Option<DeletionPolicies>,
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

/// Unpacked contents by digest, or why one cannot be read.
pub(super) type Contents = BTreeMap<[u8; 32], Result<Vec<u8>, String>>;

/// Contents that were refused when they came, so that they are not stored: by digest in hex.
pub(super) type Unread = BTreeSet<String>;

/// Finds the contents that were refused when they came; `holds` tells what is stored.
pub(super) fn unread(records: &Records, holds: impl Fn(&str) -> bool) -> Unread {
    records
        .units()
        .into_values()
        .filter(|unit| unit.outcome == Some(UnitOutcome::Refused))
        .filter_map(|unit| unit.digest)
        .filter(|digest| !holds(digest))
        .collect()
}

/// The generation from which the hub is to send again, so that what an agent before this one could not
/// read comes once more.
pub(super) fn resume_from(records: &Records, unread: &Unread) -> u64 {
    records
        .units()
        .into_values()
        .filter(|unit| is_unread(unit, unread))
        .map(|unit| unit.generation.saturating_sub(1))
        .min()
        .map_or(records.generation, |first| records.generation.min(first))
}

fn is_unread(unit: &SyncUnit, unread: &Unread) -> bool {
    unit.outcome == Some(UnitOutcome::Refused)
        && unit
            .digest
            .as_ref()
            .is_some_and(|digest| unread.contains(digest))
}

/// Tells whether a change is stored already.
pub(super) fn is_known(records: &Records, change: &Change, unread: &Unread) -> bool {
    records.unit(&change.key).is_some_and(|unit| {
        unit.generation == change.generation
            && unit.digest == change.digest.map(hex::encode)
            && !is_unread(unit, unread)
    })
}

/// Plans a commit; `contents` are its blobs. What is `unread` is read anew if it comes.
pub(super) fn plan(
    held: &Records,
    commit: &Commit,
    contents: &Contents,
    unread: &Unread,
) -> Result<Planned, PlanError> {
    if commit.epoch < held.epoch {
        return Err(PlanError::LowerEpoch {
            held: held.epoch,
            given: commit.epoch,
        });
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
        take(&mut planned, change, same_database, (contents, unread))?;
    }
    if commit.snapshot {
        mark_orphans(&mut planned.records, commit);
    }
    planned.records.incarnation = commit.incarnation;
    planned.records.epoch = commit.epoch;
    // A delta that comes late never takes the generation back; another database starts anew.
    planned.records.generation = if same_database {
        held.generation.max(commit.to)
    } else {
        commit.to
    };
    let late = same_database && commit.to < held.generation;
    if !late && planned.records.root() != Root::from_bytes(commit.root) {
        return Err(PlanError::RootMismatch {
            generation: commit.to,
        });
    }
    Ok(planned)
}

fn take(
    planned: &mut Planned,
    change: &Change,
    same_database: bool,
    (contents, unread): (&Contents, &Unread),
) -> Result<(), PlanError> {
    let held = planned.records.unit(&change.key).cloned();
    let digest = change.digest.map(hex::encode);
    let again = held
        .as_ref()
        .is_some_and(|unit| unit.digest == digest && is_unread(unit, unread));
    if let Some(unit) = &held
        && !unit.orphan
        && !again
        && (unit.digest == digest || (same_database && change.generation <= unit.generation))
    {
        // The same content at another generation is only a new number.
        if unit.digest == digest
            && let Some(unit) = planned.records.unit_mut(&change.key)
            && (!same_database || change.generation > unit.generation)
        {
            unit.generation = change.generation;
        }
        planned.nacks.extend(refused_before(unit, change, contents));
        return Ok(());
    }
    let refusal = match change.digest {
        None => {
            forget_command(planned, &change.key);
            None
        }
        Some(digest) => inspect(planned, change, digest, contents)?,
    };
    let mut unit = held.unwrap_or_else(|| new_unit(&change.key));
    unit.generation = change.generation;
    unit.orphan = false;
    if unit.digest != digest || again {
        unit.digest = digest;
        unit.outcome = refusal.as_ref().map(|_| UnitOutcome::Refused);
        unit.reason = refusal.clone().unwrap_or_default();
    }
    if let (None, Some(said)) = (change.digest, &change.deletion) {
        hear_deletion(&mut unit, said);
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

/// That a content was refused when it came, for a hub that may not have heard: whoever asked for it may have gone.
/// One that is stored, and refused as it was taken up, is reported as every unit is.
fn refused_before(unit: &SyncUnit, change: &Change, contents: &Contents) -> Option<Nack> {
    let digest = change
        .digest
        .filter(|digest| !contents.contains_key(digest))?;
    let refused =
        unit.outcome == Some(UnitOutcome::Refused) && unit.digest == Some(hex::encode(digest));
    refused.then(|| Nack {
        key: change.key.clone(),
        generation: change.generation,
        error: unit.reason.clone(),
    })
}

/// Reads a content; gives why it is refused, if it is.
fn inspect(
    planned: &mut Planned,
    change: &Change,
    digest: [u8; 32],
    contents: &Contents,
) -> Result<Option<String>, PlanError> {
    let content = contents
        .get(&digest)
        .ok_or_else(|| PlanError::MissingBlob {
            digest: hex::encode(digest),
        })?;
    let content = match content {
        Ok(content) => content,
        Err(why) => return Ok(Some(why.clone())),
    };
    let refusal = match change.key.parse() {
        Ok(UnitKey::Application(application)) => read_bundle(content, &application).err(),
        Ok(UnitKey::Command(application)) => match serde_json::from_slice::<Command>(content) {
            Ok(command) => {
                planned.commands.insert(application, Some(command));
                None
            }
            Err(error) => Some(format!("the command cannot be read: {error}")),
        },
        Ok(UnitKey::Rollout(rollout)) => read_grant(content, &rollout).err(),
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
        return Err(format!(
            "the bundle is of application {}",
            bundle.application
        ));
    }
    TooLarge::check_objects(&bundle).map_err(|error| error.to_string())?;
    let hooks = bundle.components.iter().flat_map(|one| &one.hooks);
    for object in bundle
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .chain(hooks.map(|hook| &hook.object))
    {
        let named = ["/apiVersion", "/kind", "/metadata/name"]
            .iter()
            .all(|path| {
                object
                    .pointer(path)
                    .is_some_and(serde_json::Value::is_string)
            });
        if !named {
            return Err("an object of the bundle lacks apiVersion, kind or name".to_owned());
        }
    }
    Ok(())
}

fn read_grant(content: &[u8], rollout: &NamespacedName) -> Result<(), String> {
    let grant: StandingGrant = serde_json::from_slice(content)
        .map_err(|error| format!("the grant cannot be read: {error}"))?;
    if grant.rollout != *rollout {
        return Err(format!("the grant is of rollout {}", grant.rollout));
    }
    Ok(())
}

fn forget_command(planned: &mut Planned, key: &str) {
    if let Ok(UnitKey::Command(application)) = key.parse() {
        planned.commands.insert(application, None);
    }
}

pub(super) fn new_unit(key: &str) -> SyncUnit {
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
        packed_objects: None,
        removing: false,
        deletion: DeletionPolicy::default(),
        next_event: 1,
        events: Vec::new(),
        dropped_events: 0,
        finished_rollouts: Vec::new(),
        live_states: Vec::new(),
        track_cursors: Vec::new(),
        chart_hooks: ChartHookRecord::default(),
        opened: None,
        orphan: false,
    }
}

/// Absence never deletes: a live unit that a snapshot lacks is kept and shown.
fn mark_orphans(records: &mut Records, commit: &Commit) {
    let named: BTreeSet<&str> = commit
        .changes
        .iter()
        .map(|change| change.key.as_str())
        .collect();
    for unit in records.units_mut() {
        if unit.digest.is_some() && !named.contains(unit.key.as_str()) {
            unit.orphan = true;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
