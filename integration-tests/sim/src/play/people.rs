//! People and autoscalers in the member clusters, beside the agents.

use bellwether_agent_core::machine::{PromotionPart, Stage};
use bellwether_api::number::Weight;
use rand::{Rng, seq::IndexedRandom};

use super::Play;
use crate::{member::EditKind, scenario::Theme};

impl Play {
    /// Pods of what runs may break in every second.
    fn break_versions(&mut self) {
        if !self.scenario.world.theme.breaks_versions() || !self.rng.random_bool(0.05) {
            return;
        }
        let number = self.rng.random_range(0..self.agents.len());
        let (left, seconds) = (self.rng.random_range(0..4), self.rng.random_range(30..200));
        if self.agents[number].member.break_version(left, seconds) {
            self.counts.one("fault/version-broke");
        }
    }

    /// A conversion webhook may go away in every second, and what replaces a version that broke may get no
    /// further.
    fn be_particular(&mut self) {
        if self.scenario.world.theme != Theme::Particular {
            return;
        }
        let number = self.rng.random_range(0..self.agents.len());
        let (without, stalled) = (
            self.rng.random_range(20..150),
            self.rng.random_range(120..200),
        );
        let chance = self.rng.random_range(0..100);
        let agent = &mut self.agents[number];
        if chance < 3 && agent.member.lose_conversion(without) {
            self.counts.one("api/conversion-lost");
        }
        let track = agent.durable.track.as_ref();
        let replaces = track.is_some_and(|track| {
            let part = PromotionPart::Replacing { begun: true };
            track.state.stage == Stage::Promoting { part }
        });
        if replaces && chance >= 50 && agent.member.stall(stalled) {
            self.counts.one("fault/replacing-stalled");
        }
    }

    /// Something may be changed by hand in every second.
    pub(super) fn change_clusters(&mut self) {
        self.break_versions();
        self.be_particular();
        let number = self.rng.random_range(0..self.agents.len());
        let (size, seconds) = (self.rng.random_range(2..8), self.rng.random_range(5..40));
        let weight = Weight::new(self.rng.random_range(0..=100)).unwrap_or_default();
        let kinds = [EditKind::Release, EditKind::Selector, EditKind::Route];
        let kind = kinds.choose(&mut self.rng).copied().unwrap_or(kinds[0]);
        let chance = self.rng.random_range(0..400);
        let agent = &mut self.agents[number];
        let tests = agent
            .durable
            .track
            .as_ref()
            .is_some_and(|track| matches!(track.state.stage, Stage::Step { .. }));
        let busy = agent.durable.is_busy() && self.scenario.world.theme == Theme::Total;
        let member = &mut agent.member;
        let what = match chance {
            0..8 if member.change_load(size) => "cluster/load-changed",
            8..12 if member.scale_by_hand(size) => "human/scaled",
            40..80 if busy && member.scale_by_hand(size) => "human/scaled",
            12..18 if tests && member.edit(kind, seconds, weight) => match kind {
                EditKind::Release => "human/edited-workload",
                EditKind::Selector => "human/edited-service",
                EditKind::Route => "human/edited-route",
            },
            18..22 if member.edit_canary("shop:by-hand-good") => "human/edited-canary",
            22 if member.delete_by_hand() => "human/deleted-workload",
            _ => return,
        };
        self.counts.one(what);
    }
}
