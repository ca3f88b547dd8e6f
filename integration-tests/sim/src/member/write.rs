//! What the agent writes, object by object.

use bellwether_agent_core::{machine::Overlay, settled::TemplateVersion};

use super::{Canary, Member};

const SERVICE: &str = "web";

/// One object that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The user's workload.
    Workload,
    /// Its configuration.
    Config,
    /// Its shard, in clusters where releases bring one.
    Shard,
    /// Its Service.
    Service,
    /// Its route.
    Route,
    /// The canary.
    Canary,
}

impl Part {
    /// Every part that each cluster has.
    pub const ALL: [Self; 5] = [
        Self::Workload,
        Self::Config,
        Self::Service,
        Self::Route,
        Self::Canary,
    ];
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What a run wants; that of no run for a plain release.
    pub overlay: &'a Overlay,
    /// The image of the old template.
    pub old: &'a str,
    /// The image of the new template.
    pub new: &'a str,
    /// The image of the release whose other objects are held.
    pub config: &'a str,
    /// Whether nobody waits for what cannot be converted: the run goes back.
    pub passes_by: bool,
    /// Whether a canary that somebody changed is let be: a guard that a mutant removes.
    pub leaves_canary: bool,
}

/// What one object is to be, to be compared.
pub type Fingerprint = (String, [u32; 4]);

impl Wanted<'_> {
    /// What one object is to be.
    #[must_use]
    pub fn fingerprint(&self, part: Part) -> Fingerprint {
        let overlay = self.overlay;
        let count = |count: Option<u32>| count.map_or(u32::MAX, |count| count);
        match part {
            Part::Workload => {
                let image = match overlay.template {
                    TemplateVersion::Old => self.old,
                    TemplateVersion::New => self.new,
                    TemplateVersion::Other => "",
                };
                let counts = [
                    u32::from(overlay.paused),
                    count(overlay.replicas),
                    count(overlay.least_replicas),
                    count(overlay.in_place.partition),
                ];
                (image.to_owned(), counts)
            }
            Part::Config | Part::Shard => (self.config.to_owned(), [0; 4]),
            Part::Service => {
                let pin = overlay.pins.iter().find(|pin| pin.service == SERVICE);
                (pin.map(|pin| pin.hash.clone()).unwrap_or_default(), [0; 4])
            }
            Part::Route => (format!("{:?}", overlay.split), [0; 4]),
            Part::Canary => {
                let size = count(overlay.canary.map(|canary| canary.replicas));
                (self.new.to_owned(), [size, 0, 0, 0])
            }
        }
    }
}

impl Member {
    /// Tells whether the API server refuses a write, since somebody has scaled the workload in between.
    #[must_use]
    pub fn refuses(&self, part: Part, want: &Wanted<'_>) -> bool {
        let overlay = want.overlay;
        let known = |over| self.replicas == over || overlay.replicas == Some(self.replicas);
        part == Part::Workload && overlay.replicas_over.is_some_and(|over| !known(over))
    }

    /// Makes one object what is wanted. Tells whether that changed it.
    pub fn write(&mut self, part: Part, want: &Wanted<'_>) -> bool {
        let changes = self.put(part, want);
        self.changes += u64::from(changes);
        changes
    }

    fn put(&mut self, part: Part, want: &Wanted<'_>) -> bool {
        let overlay = want.overlay;
        match part {
            Part::Workload => self.write_workload(want),
            Part::Config => {
                let changes = self.config != want.config;
                want.config.clone_into(&mut self.config);
                changes
            }
            Part::Shard => {
                let changes = self.shard != want.config;
                want.config.clone_into(&mut self.shard);
                changes
            }
            Part::Service => {
                let pin = overlay.pins.iter().find(|pin| pin.service == SERVICE);
                let pin = pin.map(|pin| pin.hash.clone());
                std::mem::replace(&mut self.pin, pin.clone()) != pin
            }
            Part::Route => self.route(overlay.split.clone()),
            Part::Canary => self.write_canary(want),
        }
    }

    fn write_workload(&mut self, want: &Wanted<'_>) -> bool {
        let overlay = want.overlay;
        let image = match overlay.template {
            TemplateVersion::Old => want.old,
            TemplateVersion::New => want.new,
            TemplateVersion::Other => &*self.image,
        }
        .to_owned();
        let mut changes = self.image != image || self.paused != overlay.paused;
        if self.image.is_empty() {
            self.excuse();
        }
        self.deleted_by_hand = false;
        (self.image, self.paused) = (image, overlay.paused);
        if let Some(ordered) = &mut self.ordered {
            let partition = overlay.in_place.partition;
            changes |= std::mem::replace(&mut ordered.partition, partition) != partition;
        }
        // What shares a fixed total is written; what the user left out stays as somebody scaled it.
        if let Some(shared) = overlay.replicas {
            self.end_scaling();
            changes |= self.share(shared);
        } else if let Some(whole) = self.shared_from.take() {
            self.end_scaling();
            self.replicas = whole;
            changes = true;
        }
        if let Some(least) = overlay
            .least_replicas
            .filter(|least| *least > self.replicas)
        {
            self.replicas = least;
            self.excuse();
            changes = true;
        }
        self.generation += i64::from(changes);
        changes
    }

    /// What somebody scaled is written over: pods may be missing a while longer.
    fn end_scaling(&mut self) {
        if std::mem::take(&mut self.share_is_scaled) {
            self.excuse();
        }
    }

    fn share(&mut self, shared: u32) -> bool {
        self.shared_from.get_or_insert(self.replicas);
        std::mem::replace(&mut self.replicas, shared) != shared
    }

    /// Deletes pods for which the controller would wait for ever, once it has seen the template.
    pub fn clear_the_way(&mut self, overlay: &Overlay, old: &str) {
        let seen = self.observed == self.generation && self.image == old;
        if let Some(ordered) = self.ordered.as_mut().filter(|_| seen)
            && overlay.in_place.replaces.is_some()
        {
            ordered.clear(old);
        }
    }

    fn write_canary(&mut self, want: &Wanted<'_>) -> bool {
        match (&mut self.canary, want.overlay.canary) {
            (Some(canary), Some(size)) => {
                let sized = canary.replicas != size.replicas;
                let right = canary.image == want.new || want.leaves_canary;
                canary.replicas = size.replicas;
                canary.ready = canary.ready.min(size.replicas);
                if !right {
                    want.new.clone_into(&mut canary.image);
                    canary.ready = 0;
                }
                canary.generation += i64::from(sized || !right);
                if !right {
                    // Its pods are made anew.
                    self.excuse();
                }
                sized || !right
            }
            (none @ None, Some(size)) => {
                *none = Some(Canary {
                    image: want.new.to_owned(),
                    replicas: size.replicas,
                    ready: 0,
                    least: self.replicas,
                    generation: 1,
                    observed: 0,
                });
                true
            }
            (canary, None) => canary.take().is_some(),
        }
    }
}
