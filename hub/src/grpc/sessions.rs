//! Which agents are connected to this hub now, and the cutting of those that may no longer be.
//!
//! Liveness is memory alone: a beat writes nothing to Postgres.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bellwether_api::fleet::MetricsDefaults;
use bellwether_proto::limits::SILENCE_LIMIT;
use bellwether_store::{clusters, tailer::SyncChange};
use jiff::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{samples::Samples, session::DRAINING, slot::Slot};
use crate::{app::App, clock::wall, pki::ClusterIdentity, telemetry::chain};

/// How often sessions are looked over for silence, ended certificates and revocation.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Deleted clusters are looked for once in so many sweeps.
const REFUSAL_ROUNDS: u32 = 2;
/// How long sessions may take to end once the hub stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection without a client certificate lives: enough to enrol.
const ANONYMOUS_LIFETIME: Duration = Duration::from_secs(60);
/// How long a connection outlives the end of its session, so that the last word arrives.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What is known of a cluster's connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Since when the session is open.
    pub connected_since: Timestamp,
    /// When the agent was last heard of.
    pub last_beat: Timestamp,
}

/// Agents connected to this hub; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_cluster: RwLock<HashMap<Uuid, Arc<Slot>>>,
    connections: Mutex<Connections>,
    /// The last that the tailer saw of each cluster.
    known: Mutex<HashMap<Uuid, SyncChange>>,
    samples: Samples,
    /// Where the metrics of each cluster are read; absent = it is not known yet.
    metrics: RwLock<Option<HashMap<Uuid, Arc<[MetricsDefaults]>>>>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// Absent = no client certificate.
    cluster: Option<Uuid>,
    /// When its certificate ends, by the wall clock; absent = it is not held by one.
    not_after: Option<Timestamp>,
    /// When it ends whatever its certificate says; absent = not by itself.
    ends_at: Option<Instant>,
    cut: Option<oneshot::Sender<()>>,
}

impl Connection {
    fn end_soon(&mut self) {
        let soon = Instant::now() + LAST_WORD;
        self.ends_at = Some(self.ends_at.map_or(soon, |at| at.min(soon)));
    }

    fn is_over(&self, wall: Timestamp, now: Instant) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
            || self.not_after.is_some_and(|at| at + LAST_WORD <= wall)
    }
}

impl Sessions {
    /// How a cluster is connected to this hub; absent = it is not, or to another one.
    #[must_use]
    pub fn liveness(&self, cluster: Uuid) -> Option<Liveness> {
        self.read().get(&cluster).map(|slot| slot.liveness())
    }

    /// Every cluster that is connected to this hub.
    #[must_use]
    pub fn all(&self) -> Vec<(Uuid, Liveness)> {
        self.read()
            .iter()
            .map(|(cluster, slot)| (*cluster, slot.liveness()))
            .collect()
    }

    /// The newest metric samples of each unit.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.inner.samples
    }

    /// Ends a cluster's session and connections to this hub at once, because its identity was
    /// taken away. Other hubs notice within a second by themselves.
    pub fn cut(&self, cluster: Uuid) {
        if let Some(slot) = self.slot(cluster) {
            slot.end("revoked", REVOKED, Duration::from_secs(60));
        }
        for connection in self.connections().open.values_mut() {
            if connection.cluster == Some(cluster) {
                connection.end_soon();
            }
        }
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.read().values().map(Arc::clone).collect()
    }

    pub(super) fn slot(&self, cluster: Uuid) -> Option<Arc<Slot>> {
        self.read().get(&cluster).map(Arc::clone)
    }

    /// Makes `slot` the cluster's session; one with a lower epoch ends. Gives whether the slot is
    /// the current one: a slower handshake may come too late.
    pub(super) fn enter(&self, slot: &Arc<Slot>) -> bool {
        let mut by_cluster = self
            .inner
            .by_cluster
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = by_cluster.get(&slot.cluster) {
            if former.epoch > slot.epoch {
                return false;
            }
            former.end(
                "superseded",
                "a newer session of this cluster is open",
                Duration::ZERO,
            );
            if former.connection != slot.connection {
                self.end_connection(former.connection);
            }
        }
        by_cluster.insert(slot.cluster, Arc::clone(slot));
        drop(by_cluster);
        // What the tailer saw between the opening and this moment.
        let known = self.known().get(&slot.cluster).cloned();
        if let Some(change) = known {
            self.take_change(slot, &change);
        }
        self.tell_metrics(slot);
        true
    }

    /// Says where the metrics of each cluster are read.
    pub(crate) fn aim_metrics(&self, sources: HashMap<Uuid, Arc<[MetricsDefaults]>>) {
        let mut known = self
            .inner
            .metrics
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(sources);
        drop(known);
        for slot in self.slots() {
            self.tell_metrics(&slot);
        }
    }

    fn tell_metrics(&self, slot: &Slot) {
        let known = self
            .inner
            .metrics
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(sources) = known.as_ref().and_then(|known| known.get(&slot.cluster)) {
            slot.aim_metrics(sources);
        }
    }

    /// Takes in what changed in the database: targets, newer sessions elsewhere, revocation.
    pub(super) fn take_changes(&self, changes: &[SyncChange]) {
        for change in changes {
            self.known().insert(change.cluster, change.clone());
            if let Some(slot) = self.slot(change.cluster) {
                self.take_change(&slot, change);
            }
        }
    }

    fn take_change(&self, slot: &Slot, change: &SyncChange) {
        if change.revoked {
            self.cut(change.cluster);
        } else if change.epoch > slot.epoch {
            slot.end(
                "superseded",
                "a newer session of this cluster is open",
                Duration::ZERO,
            );
            self.end_connection(slot.connection);
        } else {
            slot.aim(change.generation);
        }
    }

    /// Forgets `slot`; gives whether it was still the cluster's session.
    pub(super) fn leave(&self, slot: &Slot) -> bool {
        let mut by_cluster = self
            .inner
            .by_cluster
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let current = by_cluster
            .get(&slot.cluster)
            .is_some_and(|held| held.epoch == slot.epoch);
        if current {
            by_cluster.remove(&slot.cluster);
        }
        current
    }

    /// Takes note of a connection until the returned guard is dropped.
    pub(super) fn connected(&self, identity: Option<&ClusterIdentity>) -> Cut {
        let (cut, wait) = oneshot::channel();
        // A certificate that has ended already is good for one renewal, not for a connection that
        // stays.
        let held_by = identity.filter(|identity| !identity.is_expired(wall()));
        let ends_at = held_by
            .is_none()
            .then(|| Instant::now() + ANONYMOUS_LIFETIME);
        let not_after = held_by.map(|identity| identity.not_after);
        let cluster = identity.map(|identity| identity.cluster);
        let mut connections = self.connections();
        let id = connections.next;
        connections.next += 1;
        connections.open.insert(
            id,
            Connection {
                cluster,
                not_after,
                ends_at,
                cut: Some(cut),
            },
        );
        drop(connections);
        Cut {
            sessions: self.clone(),
            id,
            wait,
        }
    }

    fn end_connection(&self, id: u64) {
        if let Some(connection) = self.connections().open.get_mut(&id) {
            connection.end_soon();
        }
    }

    /// Looks every session and connection over once; `wall` = the wall clock's time.
    fn look_over(&self, wall: Timestamp) {
        for slot in self.slots() {
            if slot.not_after <= wall {
                slot.end(
                    "certificate-ended",
                    "the client certificate has ended",
                    Duration::ZERO,
                );
            } else if slot.silence() > SILENCE_LIMIT {
                slot.end(
                    "silent",
                    "the agent was silent for too long",
                    Duration::ZERO,
                );
                self.end_connection(slot.connection);
            }
        }
        for connection in self.connections().open.values_mut() {
            if connection.is_over(wall, Instant::now())
                && let Some(cut) = connection.cut.take()
            {
                // The connection may have ended by itself.
                let _ = cut.send(());
            }
        }
    }

    /// Waits until every session has ended, for a short time.
    pub(super) async fn drained(&self) {
        let deadline = Instant::now() + DRAIN_LIMIT;
        while !self.read().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Uuid, SyncChange>> {
        self.inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Uuid, Arc<Slot>>> {
        self.inner
            .by_cluster
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.inner
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What agents of a revoked cluster are told.
pub(super) const REVOKED: &str =
    "this cluster's identity was revoked; register the cluster again to bring it back";

/// Waits for the end of a connection that may no longer be.
pub(super) struct Cut {
    sessions: Sessions,
    id: u64,
    wait: oneshot::Receiver<()>,
}

impl Cut {
    /// The connection's number.
    pub(super) fn connection(&self) -> u64 {
        self.id
    }

    pub(super) async fn wait(&mut self) {
        // The sender lives as long as this guard.
        let _ = (&mut self.wait).await;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.sessions.connections().open.remove(&self.id);
    }
}

/// Looks sessions over until shutdown, then asks every agent to connect elsewhere.
pub(super) async fn sweep(app: Arc<App>) {
    let mut rounds = 0u32;
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
            () = app.shutdown.cancelled() => break,
        }
        app.sessions.look_over(wall());
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(REFUSAL_ROUNDS) {
            cut_refused(&app).await;
        }
    }
    for slot in app.sessions.slots() {
        slot.end(DRAINING, "the hub stops", Duration::ZERO);
    }
}

/// Finds clusters that were deleted, which no change tells of.
async fn cut_refused(app: &App) {
    let clusters: Vec<Uuid> = app
        .sessions
        .all()
        .into_iter()
        .map(|(cluster, _)| cluster)
        .collect();
    if clusters.is_empty() {
        return;
    }
    match clusters::refused_among(&app.store, &clusters).await {
        Ok(refused) => {
            for cluster in refused {
                app.sessions.cut(cluster);
            }
        }
        Err(error) => tracing::debug!(error = %chain(&error), "revocation could not be read"),
    }
}
