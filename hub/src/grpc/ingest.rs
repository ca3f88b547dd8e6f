//! Writes what agents say, in batches: statuses, acknowledgements, ends of sessions.
//!
//! Only the latest status of a unit waits; a busy agent costs no more than a quiet one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use bellwether_api::status::UnitStatus;
use bellwether_proto::wire;
use bellwether_store::{
    StoreError,
    sessions::{self, Ack},
    status::{self, StatusReport},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{refusal, slot::Slot};
use crate::{app::App, telemetry::chain};

/// Statuses of one session that may wait before no more is read from it.
pub(super) const MAX_WAITING_STATUSES: u32 = 2_000;
/// Rows of one transaction.
const MAX_ROWS: usize = 1_000;
/// Refusals that wait; more are dropped, since each is in the agent's own status too.
const MAX_NACKS: usize = 1_000;
/// Least time between two flushes, so that single reports gather.
const GATHER: Duration = Duration::from_millis(50);
/// Pause after a failed flush.
const RETRY: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Ingest {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    statuses: HashMap<(Uuid, String), WaitingStatus>,
    acks: HashMap<Uuid, Ack>,
    closed: Vec<(Uuid, u64, Timestamp)>,
    nacks: Vec<(Arc<Slot>, wire::Nack)>,
}

#[derive(Clone, Debug)]
struct WaitingStatus {
    slot: Arc<Slot>,
    sequence: u64,
    detail: Arc<UnitStatus>,
}

impl WaitingStatus {
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.slot.epoch, self.sequence) > (other.slot.epoch, other.sequence)
    }
}

impl Ingest {
    /// Takes the latest status of a unit.
    pub(super) fn status(&self, slot: &Arc<Slot>, key: String, sequence: u64, detail: UnitStatus) {
        let status = WaitingStatus {
            slot: Arc::clone(slot),
            sequence,
            detail: Arc::new(detail),
        };
        self.put(&mut self.waiting(), (slot.cluster, key), status);
    }

    fn put(&self, waiting: &mut Waiting, unit: (Uuid, String), status: WaitingStatus) {
        if waiting
            .statuses
            .get(&unit)
            .is_some_and(|held| !status.is_newer_than(held))
        {
            return;
        }
        status.slot.waiting_statuses.fetch_add(1, Ordering::Relaxed);
        if let Some(replaced) = waiting.statuses.insert(unit, status) {
            replaced
                .slot
                .waiting_statuses
                .fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes what an agent stored durably.
    pub(super) fn ack(&self, ack: Ack) {
        let mut waiting = self.waiting();
        match waiting.acks.get(&ack.cluster) {
            Some(held) if held.epoch > ack.epoch => {}
            _ => {
                waiting.acks.insert(ack.cluster, ack);
            }
        }
    }

    /// Takes note of a unit that the agent refused.
    pub(super) fn nack(&self, slot: &Arc<Slot>, nack: wire::Nack) {
        let mut waiting = self.waiting();
        if waiting.nacks.len() < MAX_NACKS {
            waiting.nacks.push((Arc::clone(slot), nack));
        }
    }

    /// Takes note of a session that ended.
    pub(super) fn closed(&self, slot: &Slot) {
        self.waiting()
            .closed
            .push((slot.cluster, slot.epoch, slot.last_heard()));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        waiting.statuses.is_empty()
            && waiting.acks.is_empty()
            && waiting.closed.is_empty()
            && waiting.nacks.is_empty()
    }
}

/// Writes until shutdown, and then what is left.
pub(super) async fn run(app: Arc<App>, ingest: Arc<Ingest>) {
    loop {
        tokio::select! {
            () = app.pokes.ingest.notified() => {}
            () = app.shutdown.cancelled() => break,
        }
        while !ingest.is_empty() {
            let started = Instant::now();
            let pause = if flush(&app, &ingest).await {
                GATHER.saturating_sub(started.elapsed())
            } else {
                RETRY
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = app.shutdown.cancelled() => break,
            }
        }
    }
    // The sessions end first, so that their ends are written too.
    app.sessions.drained().await;
    if !ingest.is_empty() {
        flush(&app, &ingest).await;
    }
}

/// Writes one batch of everything; gives whether the database took it.
async fn flush(app: &App, ingest: &Ingest) -> bool {
    let started = Instant::now();
    let nacks = std::mem::take(&mut ingest.waiting().nacks);
    for (slot, nack) in nacks {
        if let Some((key, detail)) = refusal::status_of(app, &slot, &nack).await {
            ingest.status(&slot, key, 0, detail);
        }
    }
    let done = flush_acks(app, ingest).await
        & flush_closed(app, ingest).await
        & flush_statuses(app, ingest).await;
    app.metrics
        .flush_seconds
        .observe(started.elapsed().as_secs_f64());
    done
}

async fn flush_acks(app: &App, ingest: &Ingest) -> bool {
    let acks: Vec<Ack> = ingest.waiting().acks.drain().map(|(_, ack)| ack).collect();
    if acks.is_empty() {
        return true;
    }
    match sessions::ack(&app.store, &acks).await {
        Ok(fenced) => {
            end_fenced(app, &fenced, |cluster| {
                acks.iter()
                    .find(|ack| ack.cluster == cluster)
                    .map(|ack| ack.epoch)
            });
            true
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "acknowledgements were not written");
            for ack in acks {
                let mut waiting = ingest.waiting();
                waiting.acks.entry(ack.cluster).or_insert(ack);
            }
            false
        }
    }
}

async fn flush_closed(app: &App, ingest: &Ingest) -> bool {
    let closed = std::mem::take(&mut ingest.waiting().closed);
    if closed.is_empty() {
        return true;
    }
    if let Err(error) = sessions::close_many(&app.store, &closed).await {
        tracing::warn!(error = %chain(&error), "ends of sessions were not written");
        ingest.waiting().closed.extend(closed);
        return false;
    }
    app.pokes.plan.notify_one();
    true
}

async fn flush_statuses(app: &App, ingest: &Ingest) -> bool {
    let batch: Vec<((Uuid, String), WaitingStatus)> = {
        let waiting = ingest.waiting();
        waiting
            .statuses
            .iter()
            .take(MAX_ROWS)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    if batch.is_empty() {
        return true;
    }
    let Err(error) = write(app, &batch).await else {
        remove(ingest, &batch);
        return true;
    };
    tracing::warn!(error = %chain(&error), rows = batch.len(), "statuses were not written");
    if error.is_transient() {
        return false;
    }
    // One row that the database cannot hold must not keep the others waiting for ever.
    for row in batch {
        let row = [row];
        if let Err(error) = write(app, &row).await {
            if error.is_transient() {
                return false;
            }
            let [((_, key), status)] = &row;
            tracing::error!(
                cluster.id = %status.slot.cluster,
                cluster.name = status.slot.cluster_name,
                unit.key = key,
                error = %chain(&error),
                "a status was dropped"
            );
        }
        remove(ingest, &row);
    }
    true
}

/// Takes rows out that are done with, unless a newer report took their place.
fn remove(ingest: &Ingest, batch: &[((Uuid, String), WaitingStatus)]) {
    let mut waiting = ingest.waiting();
    for (unit, status) in batch {
        let is_same = waiting
            .statuses
            .get(unit)
            .is_some_and(|held| !held.is_newer_than(status));
        if is_same {
            waiting.statuses.remove(unit);
            status.slot.waiting_statuses.fetch_sub(1, Ordering::Relaxed);
            status.slot.waker.wake();
        }
    }
}

async fn write(app: &App, batch: &[((Uuid, String), WaitingStatus)]) -> Result<(), StoreError> {
    let reports: Vec<StatusReport> = batch
        .iter()
        .filter_map(|((cluster, key), status)| {
            let mut detail = UnitStatus::clone(&status.detail);
            // Events have rows of their own.
            let events = std::mem::take(&mut detail.events);
            Some(StatusReport {
                cluster: *cluster,
                key: key.clone(),
                epoch: status.slot.epoch,
                sequence: status.sequence,
                detail: serde_json::to_value(detail).ok()?,
                events,
            })
        })
        .collect();
    let ingested = status::ingest(&app.store, &reports, app.clock.now()).await?;
    app.metrics
        .status_rows
        .inc_by(u64::try_from(ingested.acked.len()).unwrap_or_default());
    let slots: HashMap<(Uuid, &str), &Arc<Slot>> = batch
        .iter()
        .map(|((cluster, key), status)| ((*cluster, key.as_str()), &status.slot))
        .collect();
    for acked in ingested.acked {
        if let Some(slot) = slots.get(&(acked.cluster, acked.key.as_str())) {
            slot.confirm(wire::StatusAcked {
                key: acked.key.clone(),
                sequence: acked.sequence,
                event_sequence: acked.event_sequence.unwrap_or_default(),
            });
            slot.waker.wake();
        }
    }
    end_fenced(app, &ingested.fenced, |cluster| {
        batch
            .iter()
            .find(|((held, _), _)| *held == cluster)
            .map(|(_, status)| status.slot.epoch)
    });
    app.pokes.plan.notify_one();
    Ok(())
}

/// Ends the sessions here whose epoch is old.
fn end_fenced(app: &App, fenced: &[Uuid], epoch_of: impl Fn(Uuid) -> Option<u64>) {
    for cluster in fenced {
        if let Some(slot) = app.sessions.slot(*cluster)
            && Some(slot.epoch) == epoch_of(*cluster)
        {
            slot.end(
                "superseded",
                "a newer session of this cluster is open",
                Duration::ZERO,
            );
        }
    }
}
