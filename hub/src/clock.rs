//! The times that a hub knows: the steady one that all hubs of a database go by, and the wall
//! clock, by which certificates are judged.

use std::time::{Duration, Instant};

use bellwether_api::steady::SteadyTime;
use bellwether_hub_core::clock::agree;
use bellwether_store::{Store, StoreError, clock};
use jiff::Timestamp;

/// How often a starting hub looks whether another one renews its lease.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The steady time of one hub process; copies are the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    time: SteadyTime,
    began: Instant,
}

impl Clock {
    /// Begins at an instant.
    #[must_use]
    pub fn begin(at: Timestamp) -> Self {
        Self {
            time: SteadyTime::begin(at, None),
            began: Instant::now(),
        }
    }

    /// Begins by the time of the database and of the hubs that are there already. That takes a
    /// moment; some seconds when the database's clock and the leases of other hubs say different
    /// things.
    ///
    /// # Errors
    /// The database fails.
    pub async fn of_database(store: &Store) -> Result<Self, StoreError> {
        let started = Instant::now();
        let first = clock::read(store).await?;
        let (mut latest, mut began) = (first.clone(), Instant::now());
        loop {
            if let Some(time) = agree(&first, &latest, started.elapsed()) {
                return Ok(Self { time, began });
            }
            tokio::time::sleep(LOOK_EVERY).await;
            latest = clock::read(store).await?;
            began = Instant::now();
        }
    }

    /// Tells the time.
    #[must_use]
    pub fn now(self) -> Timestamp {
        self.time.at(self.began.elapsed())
    }
}

/// Tells the wall clock's time. Nothing that lasts is counted in it, since it may be set.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the wall clock is read"
)]
pub fn wall() -> Timestamp {
    Timestamp::now()
}
