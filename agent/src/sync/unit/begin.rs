//! Bundles that are looked at for the first time.

mod rights;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_agent_core::pruning;
use bellwether_api::{
    bundle::Bundle,
    reference::ObjectRef,
    status::{Severity, UnitOutcome},
    sync_record::SyncUnit,
};

use super::{Pass, PassError, Unit, Wanted, memory, run_of, targets, wait};
use crate::{
    desired::chain,
    rollout,
    sync::{
        admit::{Admission, Admitted},
        events::News,
        goal::{Beginning, TemplateChange, beginning},
    },
};

pub(super) use rights::Awaiting;

/// How long until a unit that goes is looked at again.
const HOLDER_PAUSE: Duration = Duration::from_secs(1);

impl Unit {
    /// Looks at a bundle for the first time and decides how it comes in.
    pub(super) async fn begin(&mut self, unit: &SyncUnit, digest: &str) -> Result<Pass, PassError> {
        let bundle = self.bundle(digest).await?;
        if let Some(pass) = self.hooks_before(unit, digest, &bundle).await? {
            return Ok(pass);
        }
        let of = run_of(&bundle);
        let found = self.find_workloads(unit, &bundle).await?;
        let wanted = self.wanted_with(&bundle, &found).await?;
        let taken = self.taken();
        if let Some(key) = self.leaving_holder(&wanted, &taken) {
            return Ok(Pass {
                waiting_on: vec![wait(
                    "HeldByAnother",
                    format!("{key} lets its objects go first"),
                )],
                wake_in: Some(HOLDER_PAUSE),
                ..Pass::default()
            });
        }
        let previous = match &unit.applied_digest {
            Some(applied) => Some(self.bundle(applied).await?),
            None => None,
        };
        let Admitted {
            mut refusals,
            lacks,
            adopts,
            unchanged,
        } = self
            .review(unit, &bundle, &wanted, &taken, previous.as_deref())
            .await?;
        if refusals.is_empty()
            && let Some(pass) = self.await_rights(unit, digest, &bundle, &lacks).await
        {
            return Ok(pass);
        }
        refusals.extend(lacks);
        let changes =
            rollout::template_changes(&self.shell.cluster, &bundle, previous.as_deref()).await?;
        let beginning = beginning(unit, bundle.mode, bundle.attempt, &changes);
        if beginning == Beginning::ByRollout {
            refusals.extend(rollout::refusals(&bundle, previous.as_deref(), &changes));
        }
        let comes_in = refusals.is_empty() && !matches!(beginning, Beginning::Held(_));
        if comes_in
            && self
                .begin_hooks(unit, digest, &bundle, previous.as_deref())
                .await?
        {
            return Ok(Pass::again());
        }
        if comes_in && let Err(error) = self.adopt(&bundle, &adopts, &found, &unchanged).await {
            match error {
                PassError::Originals(error) => refusals.push(chain(&error)),
                error => return Err(error),
            }
        }
        if !refusals.is_empty() {
            let why = refusals.join("; ");
            self.tell(of, News::error("Refused", why.clone()), |unit| {
                memory::note_deletion(unit, digest, &bundle);
                memory::end(unit, digest, UnitOutcome::Refused, &why);
            })
            .await?;
            return Ok(Pass::again());
        }
        self.plain_since = None;
        if let (true, Some(applied)) = (comes_in, &unit.applied_digest) {
            self.keep_live_state(applied, &bundle).await?;
        }
        self.enter(&bundle, digest, beginning, &changes, &wanted)
            .await?;
        if comes_in {
            self.try_metrics(&bundle).await?;
        }
        Ok(Pass::again())
    }

    /// Finds out whether a bundle may come in, its charts' hooks included.
    async fn review(
        &self,
        unit: &SyncUnit,
        bundle: &Bundle,
        wanted: &[Wanted],
        taken: &BTreeMap<ObjectRef, String>,
        previous: Option<&Bundle>,
    ) -> Result<Admitted, PassError> {
        let objects = components_of(wanted);
        if let Some(why) = self.shell.desired.no_room_for(&self.key, &objects).await? {
            return Ok(Admitted {
                refusals: vec![why],
                ..Admitted::default()
            });
        }
        let admission = Admission {
            cluster: &self.shell.cluster,
            access: &self.shell.access,
            own: &unit.objects,
            taken,
            hooks: &self.hook_targets(bundle, previous).await?,
            left: &unit.chart_hooks.left,
            settled: &self.settled(bundle, wanted),
        };
        Ok(admission.review(bundle, wanted).await?)
    }

    /// The objects that are as a bundle wants them already. What comes in somebody's name is none of them: that one
    /// may have lost its rights since.
    fn settled(&self, bundle: &Bundle, wanted: &[Wanted]) -> BTreeSet<ObjectRef> {
        let settled = wanted.iter().filter(|want| {
            let account = bundle.brought_in_by(want.part.account.as_ref());
            account.is_none() && self.keeper.is_settled(want, &self.dirty)
        });
        settled.map(|want| want.target.clone()).collect()
    }

    /// A unit that goes and still holds what this one wants.
    fn leaving_holder(
        &self,
        wanted: &[Wanted],
        taken: &BTreeMap<ObjectRef, String>,
    ) -> Option<String> {
        let goes = |key: &&String| {
            let unit = self.shell.desired.unit(key);
            unit.is_some_and(|unit| unit.digest.is_none())
        };
        let mut holders = wanted.iter().filter_map(|want| taken.get(&want.target));
        holders.find(goes).cloned()
    }

    /// Says at once if the checks of a bundle could not be read.
    async fn try_metrics(&self, bundle: &Bundle) -> Result<(), PassError> {
        let Some(why) = self.shell.meter.unreachable(bundle).await else {
            return Ok(());
        };
        let news = News {
            severity: Severity::Warn,
            ..News::info(
                "MetricsUnreachable",
                format!(
                    "{why}; checks are Unknown and hold the weight until the address or Secret of \
                     the cluster's or fleet's metrics is right"
                ),
            )
        };
        self.tell(run_of(bundle), news, |_| {}).await?;
        Ok(())
    }

    /// Remembers how a bundle comes in.
    async fn enter(
        &self,
        bundle: &Bundle,
        digest: &str,
        beginning: Beginning,
        changes: &[TemplateChange],
        wanted: &[Wanted],
    ) -> Result<(), PassError> {
        let of = run_of(bundle);
        let objects = &targets(wanted);
        let components = components_of(wanted);
        match beginning {
            Beginning::Plain => {
                let news = News::info("Applying", format!("applying revision {}", bundle.revision));
                self.tell(of, news, |unit| {
                    memory::note_deletion(unit, digest, bundle);
                    if memory::begin(unit, digest, objects, false) {
                        pruning::note(unit, bundle, &components);
                    }
                })
                .await?;
            }
            Beginning::ByRollout => {
                let news = News::info(
                    "RolloutStarted",
                    format!("revision {} comes in by its rollout", bundle.revision),
                );
                let retried = |failed: &String| changes.iter().any(|one| one.digest == *failed);
                self.tell(of, news, |unit| {
                    memory::note_deletion(unit, digest, bundle);
                    if memory::begin(unit, digest, objects, true) {
                        pruning::note(unit, bundle, &components);
                        unit.failed_templates.retain(|failed| !retried(failed));
                    }
                })
                .await?;
            }
            Beginning::Held(rollouts) => {
                let why = format!(
                    "the template of {} failed here before and has not changed; change it or retry",
                    rollouts.join(", ")
                );
                self.tell(of, News::error("FailedRevisionHeld", why.clone()), |unit| {
                    memory::note_deletion(unit, digest, bundle);
                    memory::end(unit, digest, UnitOutcome::Failed, &why);
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Objects of all other applications.
    pub(super) fn taken(&self) -> BTreeMap<ObjectRef, String> {
        self.shell
            .desired
            .units()
            .into_iter()
            .filter(|(key, _)| *key != self.key)
            .flat_map(|(key, unit)| {
                unit.objects
                    .into_iter()
                    .map(move |held| (held.object(), key.clone()))
            })
            .collect()
    }
}

/// The component of every object.
fn components_of(wanted: &[Wanted]) -> BTreeMap<ObjectRef, String> {
    wanted
        .iter()
        .map(|want| (want.target.clone(), want.part.name.clone()))
        .collect()
}
