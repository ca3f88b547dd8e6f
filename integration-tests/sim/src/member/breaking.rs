//! Versions whose pods break by themselves: a dependency goes away, an image cannot be pulled any more.

use super::{Member, RECOVERS, starts};

impl Member {
    /// Leaves some pods of the version that runs ready, and lets no other of them become ready for some
    /// seconds. Tells whether that changed anything.
    pub fn break_version(&mut self, left: u32, seconds: i64) -> bool {
        let image = self.image.clone();
        let current = self.sets.iter_mut().find(|set| set.image == image);
        let Some(set) = current.filter(|set| self.broken.is_none() && set.ready > left) else {
            return false;
        };
        set.ready = left;
        let until = self.clock + seconds;
        self.broken = Some((image, until));
        self.excuse();
        self.excused_until = self.excused_until.max(until + RECOVERS);
        true
    }

    /// Whatever was missing comes back in its time.
    pub(super) fn heal(&mut self) {
        let broken = self.broken.take();
        self.broken = broken.filter(|(_, until)| *until > self.clock);
    }

    /// Tells whether pods of an image become ready now.
    pub(super) fn works(&self, image: &str) -> bool {
        let broken = self.broken.as_ref().is_some_and(|(one, _)| one == image);
        starts(image) && !broken
    }
}
