//! The latest status of every unit, held until the hub has it.
//!
//! One value a unit, whatever happens to it: a slow or absent hub costs no memory. A status that
//! says nothing new is not sent; one whose phase or outcome is new goes out at once, others at
//! most once a second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_api::status::UnitStatus;
use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use crate::desired::digest_of;

/// How long a status without news of phase or outcome waits after the one before.
const QUIET: Duration = Duration::from_secs(1);

/// One status on its way to the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The unit's key.
    pub key: String,
    /// Rises with every report of the key while the process lives.
    pub sequence: u64,
    /// JSON of [`UnitStatus`].
    pub detail_json: Bytes,
}

/// The latest statuses; clones share them.
#[derive(Clone, Default)]
pub struct Reports {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    slots: Mutex<BTreeMap<String, Slot>>,
    wake: Notify,
}

#[derive(Default)]
struct Slot {
    detail_json: Bytes,
    digest: [u8; 32],
    urgency: Urgency,
    sequence: u64,
    sent: bool,
    sent_at: Option<Instant>,
    acked_event: u64,
}

/// What of a status is news that does not wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Urgency(String);

impl Urgency {
    fn of(status: &UnitStatus) -> Self {
        use std::fmt::Write as _;
        let mut text = format!("{} {:?} {:?}", status.digest, status.outcome, status.health);
        for rollout in &status.rollouts {
            let last = rollout
                .checks
                .iter()
                .map(|check| check.verdict)
                .collect::<Vec<_>>();
            let _ = write!(
                text,
                " {} {:?} {:?} {} {} {} {last:?}",
                rollout.name,
                rollout.phase,
                rollout.step,
                rollout.weight,
                rollout.observed_weight,
                rollout.failed_checks
            );
        }
        Self(text)
    }
}

impl Reports {
    /// Takes the latest status of a unit; it replaces one that was not sent yet.
    pub fn publish(&self, key: &str, status: &UnitStatus) {
        let detail_json = match serde_json::to_vec(status) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                tracing::error!(unit.key = key, %error, "status cannot be written as JSON");
                return;
            }
        };
        let digest = digest_of(&detail_json);
        let mut slots = self.slots();
        let slot = slots.entry(key.to_owned()).or_default();
        if slot.sequence > 0 && slot.digest == digest {
            return;
        }
        let urgency = Urgency::of(status);
        if slot.urgency != urgency {
            slot.urgency = urgency;
            slot.sent_at = None;
        }
        slot.detail_json = detail_json;
        slot.digest = digest;
        slot.sequence += 1;
        slot.sent = false;
        drop(slots);
        self.inner.wake.notify_one();
    }

    /// Waits until a status is due.
    pub async fn changed(&self) {
        loop {
            let woken = self.inner.wake.notified();
            let now = Instant::now();
            let next = self
                .slots()
                .values()
                .filter_map(|slot| slot.due_at(now))
                .min();
            match next {
                Some(at) if at <= now => return,
                Some(at) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep_until(at) => return,
                    }
                }
                None => woken.await,
            }
        }
    }

    /// Takes up to `max` statuses that are due, in the order of their keys.
    #[must_use]
    pub fn next_batch(&self, max: usize) -> Vec<Report> {
        let now = Instant::now();
        let mut batch = Vec::new();
        for (key, slot) in self.slots().iter_mut() {
            if batch.len() == max {
                break;
            }
            if slot.due_at(now).is_some_and(|at| at <= now) {
                slot.sent = true;
                slot.sent_at = Some(now);
                batch.push(Report {
                    key: key.clone(),
                    sequence: slot.sequence,
                    detail_json: slot.detail_json.clone(),
                });
            }
        }
        batch
    }

    /// Takes the hub's word that a status is committed, and up to which event.
    pub fn acked(&self, key: &str, sequence: u64, event_sequence: u64) {
        if let Some(slot) = self.slots().get_mut(key) {
            slot.acked_event = slot.acked_event.max(event_sequence);
            tracing::trace!(
                unit.key = key,
                sequence,
                event_sequence,
                "status is committed"
            );
        }
    }

    /// The highest event of a unit that the hub has committed; 0 = none.
    #[must_use]
    pub fn acked_event(&self, key: &str) -> u64 {
        self.slots().get(key).map_or(0, |slot| slot.acked_event)
    }

    /// Makes every status due again: a new session knows nothing of what an old one was sent.
    pub fn resend_all(&self) {
        for slot in self.slots().values_mut() {
            slot.sent = false;
            slot.sent_at = None;
        }
        self.inner.wake.notify_one();
    }

    /// Forgets a unit that is gone for good.
    pub fn forget(&self, key: &str) {
        self.slots().remove(key);
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// When it may be sent; absent = it was.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        (!self.sent).then(|| self.sent_at.map_or(now, |at| at + QUIET))
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        reference::NamespacedName,
        status::{Health, UnitOutcome},
    };

    use super::*;

    const KEY: &str = "application/default/shop";

    fn status(outcome: UnitOutcome, message: &str) -> UnitStatus {
        UnitStatus {
            application: NamespacedName {
                namespace: "default".into(),
                name: "shop".into(),
            },
            digest: "d".into(),
            generation: 1,
            run: uuid::Uuid::nil(),
            attempt: 1,
            release: "r".into(),
            outcome,
            reason: message.into(),
            applied_release: None,
            health: Health::Healthy,
            objects: Vec::new(),
            object_count: 0,
            rollouts: Vec::new(),
            waiting_on: Vec::new(),
            events: Vec::new(),
            executed: Vec::new(),
            orphans: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn same_status_is_sent_once_and_small_news_waits() {
        let reports = Reports::default();
        reports.publish(KEY, &status(UnitOutcome::Progressing, "a"));
        reports.changed().await;
        assert_eq!(reports.next_batch(10).len(), 1);
        reports.publish(KEY, &status(UnitOutcome::Progressing, "a"));
        assert!(reports.next_batch(10).is_empty());

        reports.publish(KEY, &status(UnitOutcome::Progressing, "b"));
        reports.publish(KEY, &status(UnitOutcome::Progressing, "c"));
        assert!(reports.next_batch(10).is_empty());
        let before = Instant::now();
        reports.changed().await;
        assert!(before.elapsed() >= QUIET);
        let batch = reports.next_batch(10);
        assert_eq!(
            batch
                .iter()
                .map(|report| report.sequence)
                .collect::<Vec<_>>(),
            [3]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn new_outcome_goes_at_once() {
        let reports = Reports::default();
        reports.publish(KEY, &status(UnitOutcome::Progressing, ""));
        assert_eq!(reports.next_batch(10).len(), 1);
        reports.publish(KEY, &status(UnitOutcome::Failed, ""));
        assert_eq!(reports.next_batch(10).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn new_session_is_told_everything_again() {
        let reports = Reports::default();
        reports.publish(KEY, &status(UnitOutcome::Progressing, ""));
        assert_eq!(reports.next_batch(10).len(), 1);
        reports.acked(KEY, 1, 7);
        reports.resend_all();
        reports.changed().await;
        assert_eq!(reports.next_batch(10)[0].sequence, 1);
        assert_eq!(reports.acked_event(KEY), 7);
    }
}
