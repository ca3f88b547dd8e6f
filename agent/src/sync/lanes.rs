//! How many units are worked on at once. A pass takes as long as the API server lets it: where that is busy,
//! passes of ordinary units fill their lane and wait, and whatever gives requests back must not wait for them.

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Units of one lane that are worked on at once.
pub const AT_ONCE: usize = 4;

/// What a unit is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Objects are applied and held.
    Plain,
    /// A run is under way: it may find out that it has to go back.
    Run,
    /// It goes back, or may do so.
    Back,
}

/// Bounds the work at once, lane by lane.
#[derive(Debug)]
pub struct Lanes {
    plain: Semaphore,
    runs: Semaphore,
    back: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        let lane = || Semaphore::new(AT_ONCE);
        Self {
            plain: lane(),
            runs: lane(),
            back: lane(),
        }
    }
}

impl Lanes {
    /// Waits until there is room in a lane, which is kept until the permit is dropped.
    ///
    /// # Errors
    /// Never: lanes are not closed.
    pub async fn enter(&self, lane: Lane) -> Result<SemaphorePermit<'_>, AcquireError> {
        let lane = match lane {
            Lane::Plain => &self.plain,
            Lane::Run => &self.runs,
            Lane::Back => &self.back,
        };
        lane.acquire().await
    }
}
