//! Reads from Postgres on behalf of sessions: together where many ask at once, and never more at a
//! time than leave room for the rest of the hub.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bellwether_api::sync_policy::{DeletionPolicies, DeletionPolicy};
use bellwether_proto::{
    limits::{INLINE_BLOB_BYTES, INLINE_BUDGET_BYTES, MAX_CHANGES},
    wire::{Deletion, Delta, UnitChange},
};
use bellwether_store::{
    Digest, StoreError, blobs,
    desired::{self, UnitVersion, WriteError},
    meta,
    sessions::{self, OpenSession, Session},
};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

use crate::app::App;

/// Sessions that are opened by one transaction at most.
const MAX_OPENS: usize = 256;
/// Reads at once.
const MAX_READS: usize = 8;
/// Packed contents that are kept for the next cluster that gets the same.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Contents that a delta looks up in order to send them along.
const MAX_INLINE_LOOKUPS: usize = 32;

/// A session that was let in, and the database's incarnation at that time.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) incarnation: u64,
}

/// What brings an agent to its target.
#[derive(Debug)]
pub(super) enum Delivery {
    Delta(Delta),
    Snapshot(Parts),
    /// The cluster is not registered any more.
    Gone,
}

/// A snapshot on its way, sent part by part.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) generation: u64,
    pub(super) root: Bytes,
    pub(super) units: VecDeque<UnitChange>,
    pub(super) next: u32,
}

type Opening = (OpenSession, oneshot::Sender<Option<Opened>>);

/// Reads for sessions.
pub(super) struct Fetcher {
    app: Arc<App>,
    openings: mpsc::Sender<Opening>,
    reads: Semaphore,
    cache: Mutex<Cache>,
}

impl Fetcher {
    pub(super) fn spawn(app: &Arc<App>) -> Arc<Self> {
        let (openings, queue) = mpsc::channel(MAX_OPENS * 4);
        app.tasks.spawn(open_sessions(Arc::clone(app), queue));
        Arc::new(Self {
            app: Arc::clone(app),
            openings,
            reads: Semaphore::new(MAX_READS),
            cache: Mutex::default(),
        })
    }

    /// Opens a session; absent when the cluster may not speak or the database does not answer.
    pub(super) async fn open(&self, session: OpenSession) -> Option<Opened> {
        let (answer, opened) = oneshot::channel();
        self.openings.send((session, answer)).await.ok()?;
        opened.await.ok().flatten()
    }

    /// What changed after `since`; a whole snapshot where that is too much for one message.
    pub(super) async fn delta(&self, cluster: Uuid, since: u64) -> Result<Delivery, StoreError> {
        let _turn = self.reads.acquire().await;
        let Some(delta) = desired::delta(&self.app.store, cluster, since).await? else {
            return Ok(Delivery::Gone);
        };
        if delta.changes.len() > MAX_CHANGES {
            return self.read_snapshot(cluster, None).await;
        }
        let inline = self.inline(&delta.changes).await?;
        Ok(Delivery::Delta(Delta {
            from: delta.from,
            to: delta.to,
            changes: unit_changes(delta.changes, inline),
            root: Bytes::copy_from_slice(delta.root.as_bytes()),
        }))
    }

    /// Everything.
    pub(super) async fn snapshot(&self, cluster: Uuid) -> Result<Delivery, StoreError> {
        let _turn = self.reads.acquire().await;
        self.read_snapshot(cluster, None).await
    }

    /// Everything, at a generation beyond `held`, for an agent that holds what the database never
    /// gave it. Every unit counts as changed there, so that the agent takes it.
    pub(super) async fn repair(&self, cluster: Uuid, held: u64) -> Result<Delivery, WriteError> {
        let _turn = self.reads.acquire().await;
        let mut tx = self.app.store.begin().await?;
        match desired::jump_past(&mut tx, cluster, held).await {
            Err(WriteError::UnknownCluster { .. }) => return Ok(Delivery::Gone),
            other => other?,
        };
        tx.commit().await?;
        Ok(self.read_snapshot(cluster, Some(held)).await?)
    }

    async fn read_snapshot(
        &self,
        cluster: Uuid,
        raise_above: Option<u64>,
    ) -> Result<Delivery, StoreError> {
        let Some(snapshot) = desired::snapshot(&self.app.store, cluster).await? else {
            return Ok(Delivery::Gone);
        };
        let mut units = unit_changes(snapshot.units, HashMap::new());
        if let Some(held) = raise_above {
            for unit in units.iter_mut().filter(|unit| unit.generation <= held) {
                unit.generation = snapshot.generation;
            }
        }
        Ok(Delivery::Snapshot(Parts {
            generation: snapshot.generation,
            root: Bytes::copy_from_slice(snapshot.root.as_bytes()),
            units: units.into(),
            next: 0,
        }))
    }

    /// One packed content; absent when nothing has it.
    pub(super) async fn blob(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        if let Some(held) = self.cache().get(&digest) {
            return Ok(Some(held));
        }
        let _turn = self.reads.acquire().await;
        let found = blobs::get_packed(&self.app.store, digest).await?;
        Ok(found.map(|blob| self.cache().put(digest, Bytes::from(blob.zstd))))
    }

    /// Small contents of changed units, each once.
    async fn inline(&self, changes: &[UnitVersion]) -> Result<HashMap<Digest, Bytes>, StoreError> {
        let mut found = HashMap::new();
        let mut absent = Vec::new();
        for digest in changes
            .iter()
            .filter_map(|change| change.digest)
            .take(MAX_INLINE_LOOKUPS)
        {
            match self.cache().get(&digest) {
                Some(held) => {
                    found.insert(digest, held);
                }
                None => absent.push(digest),
            }
        }
        if !absent.is_empty() {
            for blob in blobs::get_packed_many(&self.app.store, &absent).await? {
                let held = self.cache().put(blob.digest, Bytes::from(blob.zstd));
                found.insert(blob.digest, held);
            }
        }
        let mut budget = INLINE_BUDGET_BYTES;
        found.retain(|_, content| {
            let fits = content.len() <= INLINE_BLOB_BYTES.min(budget);
            budget -= if fits { content.len() } else { 0 };
            fits
        });
        Ok(found)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unit_changes(units: Vec<UnitVersion>, mut inline: HashMap<Digest, Bytes>) -> Vec<UnitChange> {
    units
        .into_iter()
        .map(|unit| UnitChange {
            deletion: deletion(unit.deletion.as_ref().map(|said| said.application)).into(),
            components: of_components(unit.deletion.as_ref()),
            key: unit.key,
            generation: unit.generation,
            digest: unit
                .digest
                .map(|digest| Bytes::copy_from_slice(digest.as_bytes()))
                .unwrap_or_default(),
            inline_blob: unit
                .digest
                .and_then(|digest| inline.remove(&digest))
                .unwrap_or_default(),
        })
        .collect()
}

fn of_components(said: Option<&DeletionPolicies>) -> HashMap<String, i32> {
    let components = said.into_iter().flat_map(|said| &said.components);
    components
        .map(|(name, own)| (name.clone(), deletion(*own).into()))
        .collect()
}

const fn deletion(policy: Option<DeletionPolicy>) -> Deletion {
    match policy {
        None => Deletion::Unspecified,
        Some(DeletionPolicy::Delete) => Deletion::Delete,
        Some(DeletionPolicy::Orphan) => Deletion::Orphan,
        Some(DeletionPolicy::SelectivelyOrphan) => Deletion::SelectivelyOrphan,
    }
}

/// Packed contents, the oldest forgotten first.
#[derive(Debug, Default)]
struct Cache {
    contents: HashMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Cache {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.contents.get(digest).cloned()
    }

    fn put(&mut self, digest: Digest, content: Bytes) -> Bytes {
        if content.len() > CACHE_BYTES / 4 || self.contents.contains_key(&digest) {
            return content;
        }
        self.bytes += content.len();
        self.order.push_back(digest);
        self.contents.insert(digest, content.clone());
        while self.bytes > CACHE_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self
                .contents
                .remove(&oldest)
                .map_or(0, |content| content.len());
        }
        content
    }
}

/// Opens sessions, many by one transaction when many agents come at once.
async fn open_sessions(app: Arc<App>, mut queue: mpsc::Receiver<Opening>) {
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            received = queue.recv_many(&mut batch, MAX_OPENS) => received,
            () = app.shutdown.cancelled() => return,
        };
        if received == 0 {
            return;
        }
        let (asked, answers): (Vec<OpenSession>, Vec<_>) = batch.drain(..).unzip();
        let opened = open_batch(&app, &asked).await.unwrap_or_else(|error| {
            tracing::warn!(error = %crate::telemetry::chain(&error), "sessions were not opened");
            HashMap::new()
        });
        // Of two requests for one cluster only the last got an epoch: the first one's answer would
        // be a second stream of the same epoch.
        let mut opened = opened;
        for (session, answer) in asked.iter().zip(answers).rev() {
            // The agent may have gone away.
            let _ = answer.send(opened.remove(&session.cluster));
        }
    }
}

async fn open_batch(app: &App, asked: &[OpenSession]) -> Result<HashMap<Uuid, Opened>, StoreError> {
    let incarnation = meta::incarnation(&app.store).await?;
    let opened = sessions::open_many(&app.store, asked, app.replica, app.clock.now()).await?;
    Ok(opened
        .into_iter()
        .map(|session| {
            (
                session.cluster,
                Opened {
                    session,
                    incarnation,
                },
            )
        })
        .collect())
}
