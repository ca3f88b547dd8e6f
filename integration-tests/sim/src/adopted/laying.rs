//! What a run makes of live objects.

use bellwether_agent_core::{
    adopted::{laid, workload_hold},
    machine::{Overlay, Stage},
    merge_patch::{difference, merged},
};
use rand::rngs::StdRng;
use serde_json::Value;

use super::{
    agent::Adopter,
    run::Run,
    seen::governed_route,
    site::{Pods, Site, hash_of},
};
use crate::{Mutant, count::Counts};

impl Adopter {
    /// Makes live objects what the run wants, by the least of writes. Tells whether it wrote or could
    /// not.
    pub(super) fn lay(
        &self,
        run: &Run,
        overlay: &Overlay,
        site: &mut Site,
        mutant: Mutant,
        rng: &mut StdRng,
        counts: &mut Counts,
    ) -> bool {
        let mut wrote = false;
        let hold = workload_hold(&site.sight(), run.held(), overlay);
        if let Some(patch) = &hold.patch {
            wrote = true;
            if self.goes_through(rng, counts) {
                site.patch_workload(patch);
            }
        }
        if let Some(name) = &hold.undo {
            wrote = true;
            if self.goes_through(rng, counts) {
                site.scale_set(name, 0);
            }
        }
        let pin = overlay.pins.first().map(|pin| pin.hash.clone());
        let early =
            mutant == Mutant::PinFirst && matches!(run.state.stage, Stage::Promoting { .. });
        let pin = pin.or_else(|| early.then(|| hash_of(&run.image())));
        if pin != site.pin {
            wrote = true;
            if self.goes_through(rng, counts) {
                site.pin = pin;
            }
        }
        if let Some(patch) = route_patch(run, overlay, site, mutant) {
            wrote = true;
            if self.goes_through(rng, counts) {
                site.patch_route(&patch);
            }
        }
        wrote | self.hold_canary(run, overlay, site, rng, counts)
    }

    fn hold_canary(
        &self,
        run: &Run,
        overlay: &Overlay,
        site: &mut Site,
        rng: &mut StdRng,
        counts: &mut Counts,
    ) -> bool {
        let wanted = overlay.canary.map(|canary| canary.replicas);
        let there = site.canary.as_ref().map(|canary| canary.wanted);
        if wanted == there {
            return false;
        }
        if self.goes_through(rng, counts) {
            site.canary = wanted.map(|wanted| Pods {
                image: run.image(),
                wanted,
                ready: site.canary_ready().min(wanted),
            });
        }
        true
    }
}

/// What the route lacks of what a run wants; absent = nothing.
fn route_patch(run: &Run, overlay: &Overlay, site: &Site, mutant: Mutant) -> Option<Value> {
    let route = governed_route();
    if mutant == Mutant::KeepOldRoute {
        let laid = laid(&route, &run.route, &overlay.split).ok()?;
        let wanted = laid
            .patch
            .map_or_else(|| run.route.clone(), |patch| merged(&run.route, &patch));
        return difference(&site.route, &wanted);
    }
    laid(&route, &site.route, &overlay.split).ok()?.patch
}
