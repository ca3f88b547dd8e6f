//! The agent: it takes updates over, drives their runs, and dies in between.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    admission::Governed,
    adopted::{Look, look, owed, pause, release, without_split},
    machine::{Overlay, RunState, Samples, Stage, decide},
};
use bellwether_api::status::FailureReason;
use jiff::Timestamp;
use rand::{Rng, rngs::StdRng};
use serde_json::Value;

use super::{
    run::{ROLLOUT, Run, grant, measure, proven},
    seen::governed_route,
    site::Site,
};
use crate::{
    Mutant,
    count::Counts,
    invariant::{Broken, follows},
    scenario::Quality,
};

/// The agent, with what it keeps in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Adopter {
    pub alive: bool,
    /// Requests in a hundred that are refused or whose answer is lost.
    pub bad: u32,
    /// The run under way; absent = none is.
    pub run: Option<Run>,
    /// Whether the workload was seen standing.
    known: bool,
    failed: BTreeSet<String>,
    runs: u64,
    manual: bool,
    samples: Option<Samples>,
    calm: bool,
}

impl Adopter {
    pub(super) const fn new(manual: bool) -> Self {
        Self {
            alive: true,
            bad: 0,
            run: None,
            known: false,
            failed: BTreeSet::new(),
            runs: 0,
            manual,
            samples: None,
            calm: false,
        }
    }

    pub(super) fn crash(&mut self) {
        self.alive = false;
        self.samples = None;
    }

    pub(super) fn restart(&mut self, now: Timestamp) {
        self.alive = true;
        if let Some(run) = &mut self.run {
            let deadline = run.spec.plan.progress_deadline;
            run.state = run.state.clone().taken_up(deadline, now);
        }
    }

    /// Nothing goes wrong any more.
    pub(super) const fn calm(&mut self) {
        (self.alive, self.bad, self.calm) = (true, 0, true);
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.run.is_some()
    }

    /// What the API server is told of the workload.
    pub(super) const fn governed(&self) -> Governed<'static> {
        Governed {
            rollout: ROLLOUT,
            is_known: self.known,
            is_running: self.run.is_some(),
        }
    }

    /// Tells whether nothing is left to do.
    pub(super) fn rests(&self, site: &Site) -> bool {
        let failed = self.failed.contains(&site.image());
        self.run.is_none()
            && match look(&site.sight(), self.known) {
                Look::Rest => site.sight().current_ready() == site.sight().replicas,
                Look::Stands => failed,
                // Kubernetes waits for ever for pods that never become ready, and so does its owner.
                Look::Bypassed => Quality::of(&site.image()) == Quality::Stuck,
                _ => false,
            }
    }

    /// Works for a second.
    ///
    /// # Errors
    /// A rule is broken.
    pub(super) fn work(
        &mut self,
        site: &mut Site,
        now: Timestamp,
        mutant: Mutant,
        rng: &mut StdRng,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        if !self.alive {
            return Ok(());
        }
        match self.run.take() {
            Some(run) => self.drive(run, site, now, mutant, rng, counts),
            None => {
                self.rest(site, now, rng, counts);
                Ok(())
            }
        }
    }

    /// Tells whether a write is taken.
    pub(super) fn goes_through(&self, rng: &mut StdRng, counts: &mut Counts) -> bool {
        let fails = rng.random_range(0..100) < self.bad;
        if fails {
            counts.one("adopted/refused-write");
        }
        !fails
    }

    /// Looks at the workload while no run is under way.
    fn rest(&mut self, site: &mut Site, now: Timestamp, rng: &mut StdRng, counts: &mut Counts) {
        let sight = site.sight();
        let found = look(&sight, self.known);
        let writes = !matches!(
            found,
            Look::Rest | Look::NotSettled | Look::PausedByOthers | Look::Settling
        );
        if writes && !self.goes_through(rng, counts) {
            return;
        }
        match found {
            Look::Rest => self.known |= site.stood,
            Look::Catch => {
                if let Some(patch) = pause(&sight, ROLLOUT) {
                    counts.one("adopted/caught");
                    site.patch_workload(&patch);
                }
            }
            Look::Undo { replica_set } => {
                counts.one("adopted/undone");
                site.scale_set(&replica_set, 0);
            }
            Look::Bypassed => {
                counts.one("adopted/bypassed");
                free(site);
            }
            Look::Release => free(site),
            Look::Completes => {
                if let Some(patch) = owed(&sight, ROLLOUT) {
                    counts.one("adopted/completed");
                    site.patch_workload(&patch);
                }
            }
            Look::Stands => self.begin(site, now, counts),
            Look::NotSettled | Look::PausedByOthers | Look::Settling => {}
        }
    }

    fn begin(&mut self, site: &Site, now: Timestamp, counts: &mut Counts) {
        let sight = site.sight();
        if self.failed.contains(&site.image()) {
            counts.one("adopted/kept-paused");
            return;
        }
        let Some(stable) = sight.others.first() else {
            return;
        };
        self.runs += 1;
        let spec = grant(self.runs, self.manual);
        self.run = Some(Run {
            state: RunState::new(&spec, now),
            spec,
            new: sight.template.clone(),
            old: stable.template.clone(),
            route: without_split(&governed_route(), &site.route),
        });
    }

    fn drive(
        &mut self,
        mut run: Run,
        site: &mut Site,
        now: Timestamp,
        mutant: Mutant,
        rng: &mut StdRng,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        run.note_template(site);
        let overlay = Overlay::of(&run.state);
        let over = run.state.is_terminal();
        let wrote = self.lay(&run, &overlay, site, mutant, rng, counts);
        if over {
            if wrote {
                self.run = Some(run);
            } else {
                self.conclude(&run, counts);
            }
            return Ok(());
        }
        let mut seen = site.observe(run.held(), &overlay);
        seen.samples = self.samples.take();
        let decision = decide(now, &run.spec, &run.state, &seen);
        follows(&run.state, &decision.next)?;
        proven(&run, &decision.next)?;
        // It may die before that is saved, and knows nothing of it then.
        if !self.calm && rng.random_range(0..200) == 0 {
            counts.one("adopted/crash");
            self.run = Some(run);
            self.crash();
            return Ok(());
        }
        run.state = decision.next;
        if let Some(request) = &decision.sample {
            self.samples = Some(measure(request, &run, site, now));
        }
        self.run = Some(run);
        Ok(())
    }

    /// Remembers how the run ended.
    fn conclude(&mut self, run: &Run, counts: &mut Counts) {
        let Stage::Failed { failure } = &run.state.stage else {
            counts.one("adopted/succeeded");
            return;
        };
        match failure.reason {
            FailureReason::Superseded => counts.one("adopted/superseded"),
            _ => {
                counts.one("adopted/failed");
                self.failed.insert(run.image());
            }
        }
    }
}

/// Lets a workload go on with the template that it has.
fn free(site: &mut Site) {
    if let Some(mut patch) = release(&site.sight()) {
        if let Some(spec) = patch.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("template");
        }
        site.patch_workload(&patch);
    }
}
