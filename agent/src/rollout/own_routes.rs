//! The objects that a traffic provider needs beside the user's: made before a route names them,
//! taken away after none does.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    names::RUN_LABEL,
    provider::{Split, own},
};
use bellwether_api::{
    application::DriftPolicy, bundle::Bundle, reference::ObjectRef, track::RolloutTrack,
};
use serde_json::json;

use super::{
    canary::{owned, remove_own},
    objects::carries,
    run::RunError,
    scene::{Scene, find, get_own},
};
use crate::sync::{
    cluster::{Cluster, ClusterError, ROLLOUT_MANAGER},
    keep::{FirstLook, Keeper, Wanted},
    watch::Dirty,
};

/// What is known of a run's own routes.
pub struct OwnRoutes {
    keeper: Keeper,
    wanted: BTreeSet<ObjectRef>,
    /// What the split needed before and that may still be there.
    leaving: BTreeSet<ObjectRef>,
    /// Everything that is wanted was applied.
    held: bool,
    /// Nothing that is not wanted and acts by itself exists.
    clean: bool,
    /// Nothing that is not wanted and that a route has named exists.
    tidy: bool,
}

impl Default for OwnRoutes {
    fn default() -> Self {
        Self {
            keeper: Keeper::new(ROLLOUT_MANAGER),
            wanted: BTreeSet::new(),
            leaving: BTreeSet::new(),
            held: false,
            clean: false,
            tidy: false,
        }
    }
}

impl OwnRoutes {
    /// Tells whether everything that the split needs was applied, and nothing that it does not need
    /// acts any more: what is left of another split may still send requests to the canary. What acts
    /// only where a route names it may be there.
    pub fn are_held(&self) -> bool {
        self.held && self.clean
    }

    /// What the split needs, and what it does not need any more and may still be there.
    pub fn watched(&self) -> impl Iterator<Item = &ObjectRef> {
        self.wanted.union(&self.leaving)
    }

    /// Makes what the split needs, and brings it up to date.
    pub async fn hold(
        &mut self,
        cluster: &Cluster,
        scene: &Scene,
        track: &RolloutTrack,
        bundle: &Bundle,
        split: &Split,
        dirty: &Dirty,
    ) -> Result<(), RunError> {
        self.held = false;
        // Most providers need none.
        self.clean |= scene.own_routes.is_empty();
        self.tidy |= scene.named_own_routes.is_empty();
        let mut wanted = Vec::new();
        for route in &scene.routes {
            let Some(object) = find(bundle, &route.target) else {
                continue;
            };
            // Routes are written all or none; which one cannot be is observed and told.
            if !carries(route, object, split) {
                return Ok(());
            }
            let beside = own(route.provider, object, &route.names, split).unwrap_or_default();
            for mut object in beside {
                object["metadata"]["namespace"] = json!(scene.namespace);
                object["metadata"]["labels"][RUN_LABEL] = json!(scene.label);
                wanted.extend(Wanted::new(owned(object, track)));
            }
        }
        // Several routes may name one.
        wanted.sort_by(|a: &Wanted, b| a.target.cmp(&b.target));
        wanted.dedup_by(|a, b| a.target == b.target);
        let targets: BTreeSet<ObjectRef> = wanted.iter().map(|want| want.target.clone()).collect();
        for unused in self.wanted.difference(&targets) {
            if scene.named_own_routes.contains(unused) {
                self.tidy = false;
            } else {
                self.clean = false;
            }
        }
        self.leaving
            .extend(self.wanted.difference(&targets).cloned());
        self.leaving.retain(|target| !targets.contains(target));
        self.wanted = targets;
        let mut ours = Vec::new();
        for want in wanted {
            if !self.keeper.holds(&want) {
                // Another's object of that name is never taken over; the run sees it and says so.
                let live = cluster.get(&want.target).await?;
                if live.is_some_and(|live| !scene.is_own(&live)) {
                    continue;
                }
            }
            ours.push(want);
        }
        let policy = DriftPolicy::Correct;
        self.keeper
            .keep(cluster, &ours, dirty, policy, FirstLook::Apply)
            .await
            .map_err(ClusterError::from)?;
        self.held = ours.len() == self.wanted.len();
        Ok(())
    }

    /// Takes away what the split does not need any more: at once what acts by itself, and once the
    /// split is `in_force` what a route has named, which a gateway may use until then.
    pub async fn remove_unused(
        &mut self,
        cluster: &Cluster,
        scene: &Scene,
        in_force: bool,
    ) -> Result<(), ClusterError> {
        let named = |target: &ObjectRef| scene.named_own_routes.contains(target);
        let mut leaving = BTreeSet::new();
        for target in &scene.own_routes {
            if self.wanted.contains(target) {
                continue;
            }
            let (gone, due) = if named(target) {
                (self.tidy, in_force)
            } else {
                (self.clean, true)
            };
            if gone || get_own(cluster, target).await?.is_none() {
                continue;
            }
            // Most are gone at once; where something holds them, it is seen when they go.
            if !due
                || (!remove_own(cluster, scene, target).await?
                    && get_own(cluster, target).await?.is_some())
            {
                leaving.insert(target.clone());
            }
        }
        self.clean = !leaving.iter().any(|target| !named(target));
        self.tidy = !leaving.iter().any(named);
        self.leaving = leaving;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
