//! Components that wait for others: what of a bundle is applied so far.

use std::collections::BTreeSet;

use bellwether_agent_core::component_order::{is_ordered, open, waiting};
use bellwether_api::{
    bundle::{Bundle, BundleRollout},
    command::AbortCause,
    duration::Dur,
    status::{Health, WaitReason},
    sync_record::{OpenedComponents, SyncUnit},
};

use super::{PassError, Unit, wait};
use crate::{
    rollout::{Run, Versions},
    sync::keep::{Care, Keeper, Wanted},
};

/// The components of one bundle that may be applied. What is open stays open, also for a process that
/// comes after this one: a run that has begun goes on when what came first is not healthy any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Opened {
    /// Digest of the bundle; empty = of none.
    digest: String,
    /// Their names.
    components: BTreeSet<String>,
}

impl Opened {
    /// Begins with what waits for nobody and what is remembered, unless it is about this bundle already.
    pub fn of(&mut self, digest: &str, bundle: &Bundle, unit: &SyncUnit) {
        if self.digest == digest {
            return;
        }
        digest.clone_into(&mut self.digest);
        self.components = open(&bundle.components, &BTreeSet::new());
        if let Some(known) = unit.opened.as_ref().filter(|one| one.digest == digest) {
            self.components.extend(known.components.iter().cloned());
        }
    }

    pub fn has(&self, component: &str) -> bool {
        self.components.contains(component)
    }

    fn is_whole(&self, bundle: &Bundle) -> bool {
        bundle.components.iter().all(|one| self.has(&one.name))
    }

    /// Opens what comes after components that are done; tells whether there was anything. What is open
    /// stays open.
    fn grow(&mut self, bundle: &Bundle, done: &BTreeSet<String>) -> bool {
        let before = self.components.len();
        self.components.extend(open(&bundle.components, done));
        self.components.len() > before
    }

    fn remembered(&self) -> OpenedComponents {
        OpenedComponents {
            digest: self.digest.clone(),
            components: self.components.iter().cloned().collect(),
        }
    }

    fn waits(&self, bundle: &Bundle, done: &BTreeSet<String>) -> Vec<WaitReason> {
        let closed = waiting(&bundle.components, &self.components, done);
        let sentence = |(name, before): (String, Vec<String>)| WaitReason {
            on: Some(format!("component/{name}")),
            ..wait(
                "DependsOn",
                format!("component {name} waits for {}", before.join(", ")),
            )
        };
        closed.into_iter().map(sentence).collect()
    }
}

impl Unit {
    /// Those of a bundle's objects whose turn has come.
    pub(super) fn in_turn(&self, wanted: &[Wanted]) -> Vec<Wanted> {
        let in_turn = wanted
            .iter()
            .filter(|want| self.opened.has(&want.part.name));
        in_turn.cloned().collect()
    }

    /// Opens what comes after components that are applied and healthy; tells whether there was any.
    pub(super) async fn open_more(
        &mut self,
        bundle: &Bundle,
        wanted: &[Wanted],
    ) -> Result<bool, PassError> {
        if self.opened.is_whole(bundle) {
            return Ok(false);
        }
        let done = done(bundle, wanted, &self.keeper);
        self.grow(bundle, &done).await
    }

    /// Remembers what is open before anything of it is written.
    async fn grow(&mut self, bundle: &Bundle, done: &BTreeSet<String>) -> Result<bool, PassError> {
        let mut opened = self.opened.clone();
        if !opened.grow(bundle, done) {
            return Ok(false);
        }
        let remembered = opened.remembered();
        self.remember(|unit| unit.opened = Some(remembered.clone()))
            .await?;
        self.opened = opened;
        Ok(true)
    }

    /// What is waited for: objects that are not healthy, and components that come after them.
    pub(super) fn waits_in_order(&self, bundle: &Bundle, wanted: &[Wanted]) -> Vec<WaitReason> {
        let mut waits = self.unhealthy();
        if !self.opened.is_whole(bundle) {
            let done = done(bundle, wanted, &self.keeper);
            waits.extend(self.opened.waits(bundle, &done));
        }
        waits
    }

    /// How long what was applied last may take to be healthy: the least of what components have that are
    /// applied and not done. Nobody is hurried by one that is done.
    pub(super) fn time_limit(&self, bundle: &Bundle, wanted: &[Wanted]) -> Dur {
        let done = done(bundle, wanted, &self.keeper);
        let at_work = bundle
            .components
            .iter()
            .filter(|one| self.opened.has(&one.name) && !done.contains(&one.name));
        let limits = at_work.map(|one| bundle.timeout_of(one));
        limits.min().unwrap_or_else(|| bundle.sync.timeout())
    }

    /// Whether everything of a bundle was applied.
    pub(super) fn is_whole(&self, bundle: &Bundle) -> bool {
        self.opened.is_whole(bundle)
    }

    /// Leaves alone what waits for its turn: it may be there already, from before or by a process that
    /// died since.
    pub(super) fn hold_order(&self, bundle: &Bundle, wanted: &mut [Wanted]) {
        if !is_ordered(&bundle.components) {
            return;
        }
        for want in wanted.iter_mut().filter(|want| {
            let part = &want.part.name;
            !self.opened.has(part) && bundle.components.iter().any(|one| one.name == *part)
        }) {
            want.care = Care::Frozen;
        }
    }

    /// Whether the run of a rollout may be opened: its component's turn has come, or everything ends.
    pub(super) fn may_run(&self, rollout: &BundleRollout, abort: Option<AbortCause>) -> bool {
        let component = rollout.spec.component.as_deref();
        abort.is_some() || component.is_none_or(|name| self.opened.has(name))
    }

    /// Whether an end was said to runs that are not open: those have to hear of it too.
    pub(super) fn is_closed_to_abort(
        &self,
        versions: &Versions,
        abort: Option<AbortCause>,
    ) -> bool {
        let closed = |rollout: &BundleRollout| {
            versions.changes(rollout) && !self.runs.contains_key(&rollout.name)
        };
        abort.is_some()
            && !self.opened.is_whole(&versions.new)
            && versions.new.rollouts.iter().any(closed)
    }

    /// As [`Self::open_more`], while runs are under way: a component with a run is done once that has
    /// brought its new version in.
    pub(super) async fn open_more_runs(&mut self, versions: &Versions) -> Result<bool, PassError> {
        if self.opened.is_whole(&versions.new) {
            return Ok(false);
        }
        let done = self.done_by_runs(versions);
        self.grow(&versions.new, &done).await
    }

    fn done_by_runs(&self, versions: &Versions) -> BTreeSet<String> {
        let Some(laid) = self.laid.as_ref().filter(|laid| laid.is_held()) else {
            return BTreeSet::new();
        };
        let mut done = done(&versions.new, laid.wanted(), &self.keeper);
        let brought_in = |run: &Run| run.is_over() && run.failure().is_none();
        for rollout in &versions.new.rollouts {
            let run = self.runs.get(&rollout.name);
            if versions.changes(rollout) && !run.is_some_and(brought_in) {
                let component = rollout.spec.component.as_deref().unwrap_or_default();
                done.remove(component);
            }
        }
        done
    }

    /// Whether nothing is left to open before the runs may end.
    pub(super) fn runs_may_end(&self, versions: &Versions, abort: Option<AbortCause>) -> bool {
        let failed = self.runs.values().any(|run| run.failure().is_some());
        abort.is_some() || failed || self.opened.is_whole(&versions.new)
    }

    /// What components wait for while runs are under way.
    pub(super) fn runs_wait_in_order(&self, versions: &Versions) -> Vec<WaitReason> {
        if self.opened.is_whole(&versions.new) {
            return Vec::new();
        }
        let done = self.done_by_runs(versions);
        let mut waits = self.opened.waits(&versions.new, &done);
        // With a run it is the run that says what it waits for.
        if self.runs.values().all(Run::is_over) {
            waits.extend(self.unhealthy());
        }
        waits
    }
}

/// The components all of whose objects are as they are wanted, and healthy.
fn done(bundle: &Bundle, wanted: &[Wanted], keeper: &Keeper) -> BTreeSet<String> {
    let is_done = |name: &str| {
        wanted
            .iter()
            .filter(|want| want.part.name == name)
            .all(|want| {
                keeper.holds(want) && keeper.health_of(&want.target) == Some(Health::Healthy)
            })
    };
    let names = bundle.components.iter().map(|one| &one.name);
    names.filter(|name| is_done(name)).cloned().collect()
}
