//! One session, as the rest of the hub sees it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bellwether_api::fleet::MetricsDefaults;
use bellwether_proto::wire;
use futures::task::AtomicWaker;
use jiff::Timestamp;
use uuid::Uuid;

use super::{clock::Clock, drift::Drift, metrics::MetricsLink, sessions::Liveness};
use crate::pki::ClusterIdentity;

/// Why a session ends, in the words that the agent gets.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) code: &'static str,
    pub(super) reason: String,
    pub(super) retry_after: Duration,
}

/// One session, as the rest of the hub sees it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) cluster: Uuid,
    pub(super) cluster_name: String,
    pub(super) epoch: u64,
    /// The connection's number.
    pub(super) connection: u64,
    pub(super) not_after: Timestamp,
    opened: Instant,
    opened_at: Timestamp,
    /// Milliseconds after `opened` at which the agent was last heard of.
    heard_ms: AtomicU64,
    /// Highest generation that is known to be wanted.
    target: AtomicU64,
    /// Statuses of this session that wait to be written.
    pub(super) waiting_statuses: AtomicU32,
    confirmed: Mutex<Vec<wire::StatusAcked>>,
    ending: OnceLock<Ending>,
    pub(super) recorded: Recorded,
    pub(super) metrics: MetricsLink,
    pub(super) waker: AtomicWaker,
}

/// What beats say that people see at the cluster.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) clock: Clock,
    pub(super) drift: Drift,
}

impl Slot {
    pub(super) fn new(
        identity: &ClusterIdentity,
        connection: u64,
        cluster_name: String,
        epoch: u64,
        recorded: Recorded,
        metrics: MetricsLink,
        now: Timestamp,
    ) -> Self {
        Self {
            cluster: identity.cluster,
            cluster_name,
            epoch,
            connection,
            not_after: identity.not_after,
            opened: Instant::now(),
            opened_at: now,
            heard_ms: AtomicU64::new(0),
            target: AtomicU64::new(0),
            waiting_statuses: AtomicU32::new(0),
            confirmed: Mutex::default(),
            ending: OnceLock::new(),
            recorded,
            metrics,
            waker: AtomicWaker::new(),
        }
    }

    /// Takes note that the agent spoke.
    pub(super) fn heard(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(elapsed, Ordering::Relaxed);
    }

    pub(super) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(heard)
    }

    /// When the agent was last heard of.
    pub(super) fn last_heard(&self) -> Timestamp {
        self.opened_at + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    pub(super) fn liveness(&self) -> Liveness {
        Liveness {
            connected_since: self.opened_at,
            last_beat: self.last_heard(),
        }
    }

    pub(super) fn target(&self) -> u64 {
        self.target.load(Ordering::Acquire)
    }

    /// Says that `generation` is wanted.
    pub(super) fn aim(&self, generation: u64) {
        if self.target.fetch_max(generation, Ordering::AcqRel) < generation {
            self.waker.wake();
        }
    }

    /// Says where the cluster's metrics are read.
    pub(super) fn aim_metrics(&self, sources: &Arc<[MetricsDefaults]>) {
        if self.metrics.aim(sources) {
            self.waker.wake();
        }
    }

    /// Ends the session with a last word; the first word counts.
    pub(super) fn end(&self, code: &'static str, reason: impl Into<String>, retry: Duration) {
        let ending = Ending {
            code,
            reason: reason.into(),
            retry_after: retry,
        };
        if self.ending.set(ending).is_ok() {
            self.waker.wake();
        }
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Says that statuses are committed, and how many were waited for.
    pub(super) fn confirm(&self, acked: wire::StatusAcked) {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(acked);
    }

    pub(super) fn take_confirmed(&self) -> Vec<wire::StatusAcked> {
        std::mem::take(
            &mut *self
                .confirmed
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
