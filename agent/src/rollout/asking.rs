//! What a run asks beside its unit's loop, and whose answer wakes the unit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use crate::sync::watch::Poke;

/// Something that is being asked. It breaks off when it is dropped.
pub(super) struct Asking<T> {
    answer: Arc<Mutex<Option<T>>>,
    task: JoinHandle<()>,
}

/// A task ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("failed to get an answer: what asked for it died")]
pub(super) struct Died;

impl<T: Send + 'static> Asking<T> {
    /// Asks. Whoever is woken finds the answer: it is there before.
    pub(super) fn start(
        poke: &Arc<Poke>,
        question: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let answer = Arc::new(Mutex::new(None));
        let (given, poke) = (Arc::clone(&answer), Arc::clone(poke));
        let task = tokio::spawn(async move {
            let found = question.await;
            *lock(&given) = Some(found);
            poke.wake();
        });
        Self { answer, task }
    }

    /// Tells whether there is nothing more to wait for.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.answer).is_some() || self.task.is_finished()
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// It did not come, or was taken.
    pub(super) fn take(&self) -> Result<T, Died> {
        lock(&self.answer).take().ok_or(Died)
    }
}

impl<T> Drop for Asking<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(answer: &Mutex<Option<T>>) -> MutexGuard<'_, Option<T>> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_woken_finds_the_answer() {
        let poke = Arc::<Poke>::default();
        for number in 0..100 {
            let asking = Asking::start(&poke, std::future::ready(number));
            poke.woken().await;
            assert!(asking.has_ended());
            assert_eq!(asking.take().ok(), Some(number));
            assert!(asking.take().is_err());
        }
    }
}
