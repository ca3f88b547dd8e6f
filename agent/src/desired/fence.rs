//! Which of several agents of one cluster may write.
//!
//! The hub gives each session a higher epoch than any before. An agent writes its own into shard 0 before
//! it acts on anything that it hears in the session, and every agent watches what stands there: whoever
//! sees a higher epoch than its own writes nothing any more, until a new session gives it a higher one.

use std::{sync::Arc, time::Duration};

use bellwether_api::sync_record::SyncRecord;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
    core::PartialObjectMeta,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Desired, chain, shard};

/// Annotation on shard 0: its epoch, so that whoever watches need not read the units.
pub(super) const EPOCH_ANNOTATION: &str = "bellwether.dev/session-epoch";
/// How long the API server is asked to keep a watch open, in seconds.
const WATCH_S: u32 = 50;
/// How long a watch may stay silent beyond that.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a watch that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The epochs that decide who writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    own: u64,
    seen: u64,
}

/// Whether a newer agent of this cluster has taken over; clones share it.
#[derive(Clone, Debug)]
pub struct Fence(Arc<watch::Sender<Epochs>>);

impl Default for Fence {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Fence {
    /// The fence of an agent that starts with what is held at an epoch.
    pub(super) fn new(own: u64) -> Self {
        Self(Arc::new(watch::Sender::new(Epochs { own, seen: own })))
    }

    /// The epoch of the newer agent; absent = there is none, and this one writes.
    #[must_use]
    pub fn newer(&self) -> Option<u64> {
        let Epochs { own, seen } = *self.0.borrow();
        (seen > own).then_some(seen)
    }

    /// Fires whenever a newer agent takes over, and when this one does again.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Epochs> {
        self.0.subscribe()
    }

    /// Takes note of an epoch that stands in the cluster.
    pub(super) fn note(&self, seen: u64) {
        let before = self.newer();
        self.0.send_if_modified(|epochs| {
            let rises = seen > epochs.seen;
            epochs.seen = epochs.seen.max(seen);
            rises
        });
        if let (None, Some(newer)) = (before, self.newer()) {
            tracing::warn!(
                session.epoch = newer,
                "a newer agent of this cluster has taken over: this one writes nothing any more"
            );
        }
    }

    /// This agent's own epoch stands in the cluster.
    pub(super) fn enter(&self, own: u64) {
        let before = self.newer();
        self.0.send_modify(|epochs| {
            epochs.own = epochs.own.max(own);
            epochs.seen = epochs.seen.max(own);
        });
        if before.is_some() && self.newer().is_none() {
            tracing::info!(session.epoch = own, "this agent has taken over again");
        }
    }
}

impl Desired {
    /// Whether a newer agent of this cluster has taken over.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.inner.fence.clone()
    }

    /// Watches which epoch stands in the cluster, until `shutdown`.
    pub async fn watch_epoch(
        self,
        client: kube::Client,
        namespace: String,
        shutdown: CancellationToken,
    ) {
        let api: Api<SyncRecord> = Api::namespaced(client, &namespace);
        let watching = async {
            loop {
                if let Err(error) = follow(&api, &self.inner.fence).await {
                    tracing::debug!(error = %chain(&error), "the watch of the session's epoch ended");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        shutdown.run_until_cancelled(watching).await;
    }
}

/// Follows shard 0 until the watch ends.
async fn follow(api: &Api<SyncRecord>, fence: &Fence) -> Result<(), kube::Error> {
    let selector = format!("metadata.name={}", shard::record_name(0));
    let listed = api
        .list_metadata(&ListParams::default().fields(&selector))
        .await?;
    listed.items.iter().for_each(|record| see(fence, record));
    let params = WatchParams::default().fields(&selector).timeout(WATCH_S);
    let version = listed.metadata.resource_version.unwrap_or_default();
    let mut events = api.watch_metadata(&params, &version).await?.boxed();
    let longest = Duration::from_secs(WATCH_S.into()) + PATIENCE;
    let followed = tokio::time::timeout(longest, async {
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(record) | WatchEvent::Modified(record) => see(fence, &record),
                WatchEvent::Error(_) => break,
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            }
        }
        Ok(())
    });
    // A peer that went away without a word is asked anew.
    followed.await.unwrap_or(Ok(()))
}

fn see(fence: &Fence, record: &PartialObjectMeta<SyncRecord>) {
    let annotations = record.metadata.annotations.as_ref();
    let epoch = annotations.and_then(|all| all.get(EPOCH_ANNOTATION)?.parse().ok());
    if let Some(epoch) = epoch {
        fence.note(epoch);
    }
}

#[cfg(test)]
mod tests;
