//! How many units are worked on at once. A pass takes as long as the API server lets it: where that is busy,
//! passes of ordinary units fill their lane and wait, and whatever gives requests back must not wait for them.

use std::pin::pin;

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
    /// Waits until there is room in the lane of a unit, which is kept until the permit is dropped. Which lane
    /// that is may change while it waits: `lane` tells it now, and `changed` returns once it may be another.
    /// A unit keeps its place as long as its lane stays the same.
    ///
    /// # Errors
    /// Never: lanes are not closed.
    pub async fn enter<Changed: Future<Output = ()>>(
        &self,
        lane: impl Fn() -> Lane,
        changed: impl Fn() -> Changed,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        loop {
            let waits_in = lane();
            let mut room = pin!(self.lane(waits_in).acquire());
            let permit = loop {
                tokio::select! {
                    permit = &mut room => break Some(permit?),
                    () = changed() => if lane() != waits_in { break None },
                }
            };
            if let Some(permit) = permit.filter(|_| lane() == waits_in) {
                return Ok(permit);
            }
        }
    }

    const fn lane(&self, lane: Lane) -> &Semaphore {
        match lane {
            Lane::Plain => &self.plain,
            Lane::Run => &self.runs,
            Lane::Back => &self.back,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending, time::Duration};

    use tokio::{sync::Notify, time::timeout};

    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    /// Lanes of which one is full, with the permits that fill it.
    async fn filled(lanes: &Lanes, lane: Lane) -> Vec<SemaphorePermit<'_>> {
        let mut permits = Vec::new();
        for _ in 0..AT_ONCE {
            let entered = lanes.enter(|| lane, pending).await;
            permits.push(entered.expect("lanes stay open"));
        }
        permits
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_has_to_go_back_leaves_the_lane_that_it_waits_in() {
        let lanes = Lanes::default();
        let (lane, changed) = (Cell::new(Lane::Plain), Notify::new());
        let _others = filled(&lanes, Lane::Plain).await;
        let mut entered = pin!(lanes.enter(|| lane.get(), || changed.notified()));
        changed.notify_one();
        let waits = timeout(LATER, &mut entered).await;
        assert!(waits.is_err(), "its lane is full, and still its own");
        lane.set(Lane::Back);
        changed.notify_one();
        let goes = timeout(LATER, &mut entered).await;
        assert!(goes.is_ok(), "nobody goes back");
        assert_eq!(lanes.back.available_permits(), AT_ONCE - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn room_in_a_lane_that_is_not_its_own_any_more_is_left_to_others() {
        let lanes = Lanes::default();
        let lane = Cell::new(Lane::Plain);
        let mut others = filled(&lanes, Lane::Plain).await;
        let mut entered = pin!(lanes.enter(|| lane.get(), pending));
        assert!(timeout(LATER, &mut entered).await.is_err());
        lane.set(Lane::Run);
        others.pop();
        let goes = timeout(LATER, &mut entered).await;
        assert!(goes.is_ok(), "nobody has a run");
        assert_eq!(lanes.plain.available_permits(), 1);
        assert_eq!(lanes.runs.available_permits(), AT_ONCE - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_is_woken_keeps_its_place() {
        let lanes = Lanes::default();
        let changed = Notify::new();
        let mut others = filled(&lanes, Lane::Plain).await;
        let mut first = pin!(lanes.enter(|| Lane::Plain, || changed.notified()));
        assert!(timeout(LATER, &mut first).await.is_err());
        let mut second = pin!(lanes.enter(|| Lane::Plain, pending));
        assert!(timeout(LATER, &mut second).await.is_err());
        changed.notify_one();
        assert!(timeout(LATER, &mut first).await.is_err());
        others.pop();
        assert!(timeout(LATER, &mut second).await.is_err(), "it came later");
        assert!(timeout(LATER, &mut first).await.is_ok());
    }
}
