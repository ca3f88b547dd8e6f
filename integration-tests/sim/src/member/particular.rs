//! What is particular about some clusters: an API server that does not take every object, and a gateway
//! that has to know a Service before it gives it anything.

use bellwether_agent_core::provider::Split;

use super::{Member, RECOVERS};

/// Tells whether a route names the canary.
pub(super) fn names(split: &Split) -> bool {
    split.announced || !split.is_none()
}

impl Member {
    /// Takes the conversion webhook of shards away for some seconds. Tells whether there are any, and it was
    /// there.
    pub const fn lose_conversion(&mut self, seconds: i64) -> bool {
        let loses = self.particulars.shards && self.converts();
        if loses {
            self.unconverted_until = self.clock + seconds;
        }
        loses
    }

    /// Tells whether the API server can convert shards.
    #[must_use]
    pub const fn converts(&self) -> bool {
        self.clock >= self.unconverted_until
    }

    /// Tells whether the API server does not have everything that a release of this image brings; an empty
    /// one brings nothing.
    #[must_use]
    pub fn lacks(&self, image: &str) -> bool {
        self.particulars.shards && !image.is_empty() && self.shard != image
    }

    /// Lets no further pod of a version that comes in become ready for some seconds. Tells whether some of
    /// its pods are ready and others are not.
    pub fn stall(&mut self, seconds: i64) -> bool {
        let image = self.image.clone();
        let ready = self.pods_of(&image).1;
        if ready == 0 || ready >= self.replicas {
            return false;
        }
        let until = self.clock + seconds;
        self.broken = Some((image, until));
        self.excuse();
        self.excused_until = self.excused_until.max(until + RECOVERS);
        true
    }

    /// What the gateway is about to carry, it has to know the Service for.
    pub(super) fn learn(&mut self) {
        let is_new = !names(&self.carried) && !self.split.is_none();
        let is_ours = self.edit.is_none() && self.clock >= self.route_excused_until;
        self.gave_unknown |= self.particulars.learns && is_new && is_ours;
    }

    /// Tells whether the gateway was given a share for a Service that it did not know.
    #[must_use]
    pub const fn gave_unknown(&self) -> bool {
        self.gave_unknown
    }

    /// Tells whether the gateway's route names a canary whose Service is not there.
    #[must_use]
    pub fn names_nobody(&self) -> bool {
        names(&self.carried) && self.canary.is_none()
    }

    /// People write the route: what the gateway carries meanwhile is theirs.
    pub(super) fn excuse_route(&mut self) {
        self.route_excused_until = self.clock + RECOVERS;
    }
}
