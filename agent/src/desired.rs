//! What the hub wants of this cluster, stored durably in the cluster itself.
//!
//! Units are spread over [`SyncRecord`](bellwether_api::sync_record::SyncRecord) shards, their
//! contents lie in Secrets named by digest. A commit writes blobs, then units, then the generation
//! of shard 0: a crash in between leaves a lower generation, from which the hub sends again what
//! was lost, and units that are stored already are recognised by their own generation.

mod blob;
mod change;
mod commit;
#[cfg(test)]
pub(crate) mod double;
mod fence;
mod memory;
mod packed;
mod plan;
mod room;
mod shard;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

pub use bellwether_api::bundle::MAX_PACKED_BYTES;
use bellwether_api::{
    bundle::Bundle, command::Command, reference::NamespacedName, standing_grant::StandingGrant,
    sync_record::SyncUnit,
};
use tokio::sync::{Mutex, watch};

pub use blob::{BlobError, digest_of, pack};
pub use fence::Fence;
pub use packed::PackedError;
pub use plan::{Change, Commit, CommitBlob, Nack, PlanError};
pub use shard::StoreError;

use blob::BlobStore;
use memory::Writing;
use shard::{Records, ShardStore};

/// What the agent tells the hub that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The incarnation of the hub's database that `generation` belongs to; 0 = holds nothing.
    pub incarnation: u64,
    /// The generation up to which everything is stored.
    pub generation: u64,
    /// The root over all live units, least significant byte first.
    pub root: [u8; 32],
    /// The highest session epoch seen.
    pub epoch: u64,
}

/// What a commit has made of the changes that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What is held now.
    pub held: Held,
    /// Units whose content is refused; they are stored as refused and the rest is not blocked.
    pub nacks: Vec<Nack>,
}

/// Why nothing, or not everything, was committed. Sending the same again is safe.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The changes do not fit what is held.
    #[error("failed to fit the changes to what is held")]
    Plan(#[from] PlanError),
    /// The member cluster did not take the write.
    #[error("failed to store desired state in the cluster")]
    Store(#[from] StoreError),
}

/// Why a unit's content is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// No Secret holds it.
    #[error("failed to find the stored blob {digest}")]
    Absent {
        /// The digest in hex.
        digest: String,
    },
    /// The blob is broken.
    #[error("failed to read a stored blob")]
    Blob(#[from] BlobError),
    /// The API server did not answer.
    #[error("failed to fetch a stored blob")]
    Kube(#[from] kube::Error),
    /// It is no bundle or command.
    #[error("failed to read a blob's document")]
    Document(#[from] serde_json::Error),
}

/// What was read, or nothing where it can never be. What the API server did not answer is no fact: nobody may go
/// on as if there were none.
pub(crate) fn readable<T>(read: Result<T, ContentError>) -> Result<Option<T>, ContentError> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error @ ContentError::Kube(_)) => Err(error),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "a stored content is lost");
            Ok(None)
        }
    }
}

/// The durable desired state; clones share it.
#[derive(Clone)]
pub struct Desired {
    inner: Arc<Inner>,
}

struct Inner {
    shards: ShardStore,
    blobs: BlobStore,
    records: RwLock<Records>,
    commands: RwLock<BTreeMap<NamespacedName, Command>>,
    /// What an agent before this one could not read, until something was committed by this one.
    unread: RwLock<plan::Unread>,
    fence: Fence,
    writing: Mutex<Writing>,
    changed: watch::Sender<u64>,
}

impl Desired {
    /// Reads everything that is held from `namespace` and drops blobs that nothing names.
    ///
    /// # Errors
    /// The API server does not answer, or a stored record cannot be read.
    pub async fn load(client: kube::Client, namespace: &str) -> Result<Self, CommitError> {
        let shards = ShardStore::new(client.clone(), namespace);
        let records = shards.load().await?;
        let blobs = BlobStore::load(client, namespace)
            .await
            .map_err(StoreError::from)?;
        let desired = Self {
            inner: Arc::new(Inner {
                shards,
                blobs,
                fence: Fence::new(records.epoch),
                records: RwLock::new(records),
                commands: RwLock::default(),
                unread: RwLock::default(),
                writing: Mutex::default(),
                changed: watch::Sender::new(0),
            }),
        };
        let records = desired.read().clone();
        let commands = desired.read_commands(&records).await?;
        *desired.commands() = commands;
        desired.note_unread();
        desired.collect_blobs().await;
        Ok(desired)
    }

    /// What is held now.
    #[must_use]
    pub fn held(&self) -> Held {
        self.read().held()
    }

    /// What the agent tells the hub at first that it holds: less than that where an agent before this one
    /// refused what this one may be able to read.
    #[must_use]
    pub fn held_at_first(&self) -> Held {
        let generation = plan::resume_from(&self.read(), &self.unread());
        Held {
            generation,
            ..self.held()
        }
    }

    fn note_unread(&self) {
        let holds = |digest: &str| {
            shard::digest_bytes(digest).is_some_and(|bytes| self.inner.blobs.holds(&bytes))
        };
        let unread = plan::unread(&self.read(), holds);
        *self.unread() = unread;
    }

    /// Fires with every commit and with every change of a unit.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// One unit as it is held; absent = never heard of.
    #[must_use]
    pub fn unit(&self, key: &str) -> Option<SyncUnit> {
        self.read().unit(key).cloned()
    }

    /// Says something of a unit; absent = there is none.
    pub fn look_at<T>(&self, key: &str, say: impl FnOnce(&SyncUnit) -> T) -> Option<T> {
        self.read().unit(key).map(say)
    }

    /// All units, sorted by key, tombstones and orphans included.
    #[must_use]
    pub fn units(&self) -> BTreeMap<String, SyncUnit> {
        self.read().units()
    }

    /// The units whose keys begin so, sorted by key, tombstones and orphans included.
    #[must_use]
    pub fn units_under(&self, prefix: &str) -> Vec<SyncUnit> {
        self.read().units_under(prefix)
    }

    /// The hub's commands for an application's run; absent = there are none.
    #[must_use]
    pub fn command(&self, application: &NamespacedName) -> Option<Command> {
        self.commands().get(application).cloned()
    }

    /// Reads a stored bundle.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    pub async fn bundle(&self, digest: &str) -> Result<Bundle, ContentError> {
        self.content(digest).await
    }

    /// Reads a stored grant for a workload that somebody else delivers.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    pub async fn grant(&self, digest: &str) -> Result<StandingGrant, ContentError> {
        self.content(digest).await
    }

    /// Reads what is stored of objects as they were before they were adopted, or before a release
    /// came in.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    pub async fn originals(&self, digest: &str) -> Result<Vec<serde_json::Value>, ContentError> {
        self.content(digest).await
    }

    async fn content<T: serde::de::DeserializeOwned>(
        &self,
        digest: &str,
    ) -> Result<T, ContentError> {
        let absent = || ContentError::Absent {
            digest: digest.to_owned(),
        };
        let bytes = shard::digest_bytes(digest).ok_or_else(absent)?;
        let zstd = self.inner.blobs.fetch(&bytes).await?.ok_or_else(absent)?;
        Ok(serde_json::from_slice(&blob::unpack(&bytes, &zstd)?)?)
    }

    /// Drops blobs that no unit names: as granted, running, applied, or as what was there before.
    async fn collect_blobs(&self) {
        let named = self.read().named_digests();
        self.inner.blobs.collect(&named).await;
    }

    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.inner
            .records
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.inner
            .records
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn unread(&self) -> RwLockWriteGuard<'_, plan::Unread> {
        self.inner
            .unread
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn commands(&self) -> RwLockWriteGuard<'_, BTreeMap<NamespacedName, Command>> {
        self.inner
            .commands
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints an error with its causes, for logs.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let line = source.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = source.source();
    }
    text
}
