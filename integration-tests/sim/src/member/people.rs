//! What people do in the cluster by hand.

use bellwether_agent_core::provider::Split;
use bellwether_api::number::Weight;

use super::Member;

/// What somebody changed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditKind {
    /// The workload is released in the middle of a run, or its partition is.
    Release,
    /// The Service selects every pod.
    Selector,
    /// The route gives the canary another share.
    Route,
}

/// A change by hand, until it is taken back or overruled.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What was changed.
    pub kind: EditKind,
    /// When it is taken back.
    until: i64,
    paused: bool,
    partition: Option<u32>,
    pin: Option<String>,
    split: Split,
}

impl Member {
    /// Changes something of a run for some seconds. Tells whether that changed anything.
    pub fn edit(&mut self, kind: EditKind, seconds: i64, weight: Weight) -> bool {
        if self.edit.is_some() || self.image.is_empty() {
            return false;
        }
        let edit = Edit {
            kind,
            until: self.clock + seconds,
            paused: self.paused,
            partition: self.ordered.as_ref().and_then(|ordered| ordered.partition),
            pin: self.pin.clone(),
            split: self.split.clone(),
        };
        let changes = match kind {
            EditKind::Release => self.release_all(false, None),
            EditKind::Selector => self.pin.take().is_some(),
            EditKind::Route => self.ordered.is_none() && self.route(Split::by_weight(weight)),
        };
        if changes {
            if kind == EditKind::Route {
                self.excuse_route();
            }
            self.edit = Some(edit);
            self.excuse();
        }
        changes
    }

    fn release_all(&mut self, paused: bool, partition: Option<u32>) -> bool {
        let changes = match &mut self.ordered {
            Some(ordered) if ordered.partition != partition => {
                ordered.partition = partition;
                true
            }
            Some(_) => false,
            None => std::mem::replace(&mut self.paused, paused) != paused,
        };
        self.generation += i64::from(changes);
        changes
    }

    /// People take back what they changed.
    pub(super) fn take_back(&mut self) {
        let Some(edit) = self.edit.take_if(|edit| edit.until <= self.clock) else {
            return;
        };
        match edit.kind {
            EditKind::Release => {
                self.release_all(edit.paused, edit.partition);
            }
            EditKind::Selector => self.pin = edit.pin,
            EditKind::Route => {
                self.route(edit.split);
                self.excuse_route();
            }
        }
        self.excuse();
    }

    /// Writes the route; the gateway takes it over some seconds later. Tells whether that changed it.
    pub(super) fn route(&mut self, split: Split) -> bool {
        let changes = self.split != split;
        if changes {
            self.split = split;
            self.lag = self.next_lag;
        }
        changes
    }

    /// Rolls the canary to another image. Tells whether there is one.
    pub fn edit_canary(&mut self, image: &str) -> bool {
        let Some(canary) = &mut self.canary else {
            return false;
        };
        image.clone_into(&mut canary.image);
        canary.generation += 1;
        self.excuse();
        true
    }

    /// Deletes pods of other versions that are not ready, for which the controller of a workload that
    /// is updated in order waits for ever.
    pub fn delete_broken_pods(&mut self) {
        let image = self.image.clone();
        if let Some(ordered) = &mut self.ordered {
            ordered.clear(&image);
        }
    }

    /// Scales the workload. Tells whether that changed anything.
    pub fn scale_by_hand(&mut self, replicas: u32) -> bool {
        let scales = self.scaler.is_none() && !self.image.is_empty() && self.resize(replicas);
        self.share_is_scaled |= scales && self.shared_from.is_some();
        scales
    }

    /// Changes what an autoscaler sees. Tells whether there is one.
    pub fn change_load(&mut self, load: u32) -> bool {
        let scaler = self.scaler.as_mut().filter(|scaler| scaler.load != load);
        scaler.map(|scaler| scaler.load = load).is_some()
    }

    /// Deletes the workload. Tells whether there was one.
    pub fn delete_by_hand(&mut self) -> bool {
        if self.image.is_empty() {
            return false;
        }
        let (config, shard) = (self.config.clone(), self.shard.clone());
        self.remove();
        (self.config, self.shard) = (config, shard);
        self.deleted_by_hand = true;
        true
    }
}
