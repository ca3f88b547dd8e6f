//! Decisions of the runs of a bundle.

use std::{collections::BTreeSet, sync::Arc};

use bellwether_api::reference::ObjectRef;

use super::{Laid, hand_on_checks};
use crate::{
    rollout::{Live, Notes, Reading, Run, Seen, Tick, Versions},
    sync::{
        cluster::{Cluster, SYNC_MANAGER},
        foreign,
        keep::{Care, Keeper},
        shell::Shell,
        unit::{PassError, Unit},
        watch::Poke,
    },
};

/// Objects that somebody else changed: none.
static NOTHING: BTreeSet<ObjectRef> = BTreeSet::new();

/// One round of decisions.
struct Round<'a> {
    shell: &'a Shell,
    key: &'a str,
    notes: &'a Arc<Notes>,
    poke: &'a Arc<Poke>,
    keeper: &'a mut Keeper,
    versions: &'a Versions,
    laid: &'a Laid,
    reading: Reading<'a>,
}

impl Unit {
    /// Lets every run decide that has anything to decide; tells whether the cluster is to look
    /// different now.
    pub(super) async fn decide_runs(&mut self, versions: &Versions) -> Result<bool, PassError> {
        let config_held_by = self.config_holders();
        let Some(laid) = self.laid.take() else {
            return Ok(true);
        };
        let mut round = Round {
            shell: &self.shell,
            key: &self.key,
            notes: &self.notes,
            poke: &self.poke,
            keeper: &mut self.keeper,
            versions,
            laid: &laid,
            reading: Reading::new(&self.shell.cluster),
        };
        let mut moved = false;
        for (name, run) in &mut self.runs {
            let held_by = config_held_by.get(name).map_or(&[][..], Vec::as_slice);
            if run.is_due(held_by, self.shell.clock.now()) {
                moved |= round.decide(run, held_by).await? == Tick::Moved;
            }
        }
        if !laid.held {
            // It is listened to what was held: no watch may tell of what was refused.
            self.runs.values_mut().for_each(Run::forget_look);
        }
        if !moved {
            self.laid = Some(laid);
        }
        Ok(moved)
    }
}

impl Round<'_> {
    async fn decide(&mut self, run: &mut Run, held_by: &[String]) -> Result<Tick, PassError> {
        self.shell.figures.decisions.inc();
        let now = self.shell.clock.now();
        let counted = run.count(&self.seen(&NOTHING, held_by), now).await?;
        let tick = match counted {
            Some(tick) => tick,
            None => Box::pin(self.decide_on_live(run, held_by)).await?,
        };
        hand_on_checks(self.shell, self.key, run);
        Ok(tick)
    }

    /// Decides on what is read for it.
    async fn decide_on_live(
        &mut self,
        run: &mut Run,
        held_by: &[String],
    ) -> Result<Tick, PassError> {
        let cluster = &self.shell.cluster;
        let live = run.look(&self.reading).await?;
        let edited = self.edited(run, &live).await?;
        let now = self.shell.clock.now();
        let seen = self.seen(&edited, held_by);
        let mut tick = Box::pin(run.decide(&live, seen, now)).await?;
        let now = self.shell.clock.now();
        run.clear_the_way(cluster, &live, now).await?;
        if !run.holds_edit() && !edited.is_empty() {
            self.write_back(run, &live, &edited).await?;
            run.mark_due();
            tick = Tick::Moved;
        }
        if let (Some(least), Some(workload)) = (run.overlay().least_replicas, &live.workload) {
            let target = &run.scene.workload;
            let cluster = self.acting(run);
            cluster.grow(SYNC_MANAGER, target, workload, least).await?;
        }
        Ok(tick)
    }

    /// The objects that somebody else changed although the run looks after them.
    async fn edited(&mut self, run: &Run, live: &Live) -> Result<BTreeSet<ObjectRef>, PassError> {
        let mut edited = BTreeSet::new();
        let looked_after = self.laid.wanted.iter();
        for want in looked_after.filter(|want| want.care != Care::Policy) {
            let Some(object) = run.scene.live_of(live, &want.target) else {
                continue;
            };
            let added_to = want.target == run.scene.workload
                && foreign::edited_since(object, &want.object, run.began_at());
            if added_to
                || self
                    .keeper
                    .is_edited(&self.shell.cluster, want, object)
                    .await?
            {
                edited.insert(want.target.clone());
            }
        }
        Ok(edited)
    }

    async fn write_back(
        &mut self,
        run: &Run,
        live: &Live,
        edited: &BTreeSet<ObjectRef>,
    ) -> Result<(), PassError> {
        let wanted = self.laid.wanted.iter();
        for want in wanted.filter(|want| edited.contains(&want.target)) {
            self.keeper.forget_one(&want.target);
            if want.target == run.scene.workload
                && let Some(object) = run.scene.live_of(live, &want.target)
            {
                self.acting(run)
                    .restore_template(&want.target, object, &want.object)
                    .await?;
            }
        }
        Ok(())
    }

    /// The cluster, spoken to in the name of whoever the workload of a run is applied as.
    fn acting(&self, run: &Run) -> Cluster {
        let mut wanted = self.laid.wanted.iter();
        let workload = wanted.find(|want| want.target == run.scene.workload);
        match workload {
            // It may have turned back since objects were held.
            Some(want) if !run.goes_back() => self.keeper.acting(&self.shell.cluster, want),
            _ => self.shell.cluster.acting_as(None),
        }
    }

    fn seen<'b>(&'b self, edited: &'b BTreeSet<ObjectRef>, held_by: &'b [String]) -> Seen<'b> {
        Seen {
            workload: None,
            bundle: &self.versions.new,
            edited,
            delivered: &self.laid.targets,
            applied: &self.laid.applied,
            config_held_by: held_by,
            untaken: &self.laid.untaken,
            clock: self.shell.clock,
            meter: &self.shell.meter,
            cluster: &self.shell.cluster,
            hooks: &self.shell.hooks,
            notes: self.notes,
            poke: self.poke,
            route_settle: self.shell.route_settle,
        }
    }
}
