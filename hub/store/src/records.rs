//! What users wrote: Fleet, Application, Rollout, MetricTemplate, Repository, AlertProvider. Clusters have a table of their own.

mod dependencies;
mod read;
mod removal;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{StoreError, blobs::Secrecy};

pub use dependencies::lock_dependencies;
pub use read::{
    get, get_in, list, list_all, list_in, lock, rollouts_of, rollouts_of_in, standing_in,
};
pub use removal::{forget_removals, last_removal, note_removal};
pub use write::{apply, delete};

/// The kinds that lie here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// Global: its namespace is empty.
    Fleet,
    /// In a namespace.
    Application,
    /// In a namespace.
    Rollout,
    /// In a namespace.
    MetricTemplate,
    /// Global: its namespace is empty.
    Repository,
    /// In a namespace.
    AlertProvider,
}

/// Names one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The kind.
    pub kind: RecordKind,
    /// The namespace; empty for a Fleet and a Repository.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What a user wrote, with its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its name.
    pub key: RecordKey,
    /// Never used twice, not even by a later record of the same name.
    pub uid: Uuid,
    /// Rises with every change of the spec, from 1.
    pub generation: u64,
    /// Changes with every write, over all kinds; for optimistic concurrency.
    pub resource_version: u64,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// The spec as JSON, defaults filled in.
    pub spec: Value,
    /// Whether the spec holds a Secret, and was sealed at rest.
    pub secrecy: Secrecy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was written last.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Who wrote it last.
    pub updated_by: String,
    /// Why, in their words; empty when nothing was said.
    pub reason: String,
}

/// A record as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// Its name.
    pub key: RecordKey,
    /// The uid that it gets if it does not exist yet.
    pub uid: Uuid,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// The spec as JSON, defaults filled in.
    pub spec: Value,
    /// Whether the spec holds a Secret; it is then sealed at rest.
    pub secrecy: Secrecy,
    /// Who applies it.
    pub by: String,
    /// Why; empty when nothing was said.
    pub reason: String,
}

/// Who deleted the Rollout of an application that was deleted last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRemoval {
    /// Orders it among the writes of records.
    pub resource_version: u64,
    /// Who.
    pub by: String,
    /// Why; empty when nothing was said.
    pub reason: String,
}

/// What applying did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It did not exist.
    Created,
    /// It was something else.
    Configured,
    /// It was that already; nothing was written.
    Unchanged,
}

/// A record after it was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What was done.
    pub change: Change,
    /// The record as it is now.
    pub record: Record,
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is not at the expected version.
    #[error("failed to write: it changed in the meantime (expected version {expected}, is {})",
            actual.map_or_else(|| "gone".to_owned(), |version| version.to_string()))]
    Conflict {
        /// The version that the caller saw.
        expected: u64,
        /// The version now; absent = it does not exist.
        actual: Option<u64>,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// The kind.
    pub kind: RecordKind,
    /// Only this namespace; absent = all.
    pub namespace: Option<String>,
    /// Records at most; 0 = none.
    pub limit: u32,
    /// Only records behind this (namespace, name).
    pub after: Option<(String, String)>,
}

/// One page of records, by namespace and name.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Where the next page starts; absent = this is the last.
    pub next: Option<(String, String)>,
    /// A version that is not older than anything on the page. No cursor for changes: a lower one
    /// may be committed later.
    pub resource_version: u64,
}
