//! Runs that begin with a change that somebody made in the cluster.

use std::sync::Arc;

use bellwether_agent_core::{
    adopted::in_place::{as_owners, set},
    template_digest::template_digest,
    tracked_config::Revision,
};
use bellwether_api::{
    application::SyncPolicy,
    bundle::{Bundle, BundleComponent, BundleMode, BundleRollout},
    reference::ObjectRef,
    standing_grant::StandingGrant,
    status::{Severity, UnitOutcome},
    sync_record::SyncUnit,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LATER, Pass, PassError, RunOf, SOON, Unit, about, memory, waiting};
use crate::{
    clock::wall,
    desired::{CommitBlob, ContentError, MAX_PACKED_BYTES, digest_of, pack, readable},
    rollout::{self, Known, Live, Reading, Scene},
    sync::{
        events::{self, News},
        goal::TemplateChange,
    },
};

/// A workload that is held with a new template, and what stood before.
pub(super) struct Changed<'a> {
    /// The workload.
    pub(super) target: &'a ObjectRef,
    /// As it is.
    pub(super) live: &'a Value,
    /// The template of its pods.
    pub(super) stable: &'a Value,
    /// Where its kind says which revision its template is of, and the one of its pods; absent = its kind
    /// does not.
    pub(super) revision: Option<(&'a str, &'a str)>,
}

/// Names the template of a workload.
pub(super) fn digest_of_template(live: &Value) -> String {
    template_digest(&Revision {
        workload: Some(live),
        objects: &[],
        default_namespace: "",
    })
}

impl Unit {
    /// Tells whether the template of a held workload failed before, and says so once.
    pub(super) async fn holds_failed(
        &self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        target: &ObjectRef,
        live: &Value,
    ) -> Result<bool, PassError> {
        let failed = memory::failed_name(&digest_of_template(live), grant.retries);
        if !unit.failed_templates.contains(&failed) {
            return Ok(false);
        }
        if unit.outcome != Some(UnitOutcome::Failed) {
            let why = format!(
                "the template of {target} failed here before: it is held back with the pods of the \
                 version before; change it, or retry"
            );
            let (outcome, word) = (UnitOutcome::Failed, "FailedRevisionHeld");
            self.settle_on(unit, outcome, &why, word, Severity::Error)
                .await?;
        }
        Ok(true)
    }

    /// Begins a run with a workload that is held, unless its template failed before.
    pub(super) async fn begin_adopted(
        &mut self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        looked: &Changed<'_>,
    ) -> Result<Pass, PassError> {
        if self
            .holds_failed(unit, grant, looked.target, looked.live)
            .await?
        {
            return Ok(Pass::default());
        }
        let template = digest_of_template(looked.live);
        let failed = memory::failed_name(&template, grant.retries);
        let mut new = self.bundle_of(unit, grant, &template).await?;
        let Some(rollout) = new.rollouts.first().cloned() else {
            return Ok(Pass::default());
        };
        let scene = Scene::of(&new, &rollout);
        let reading = Reading::new(&self.shell.cluster);
        let live = Box::pin(scene.look(&reading, Known::NOTHING)).await?;
        // A change in between is looked at first.
        let unchanged = live.workload.as_ref().is_some_and(|now| {
            now.pointer("/spec/template") == looked.live.pointer("/spec/template")
        });
        if !unchanged {
            return Ok(Pass::again());
        }
        if let Some(missing) = missing(&new, &rollout, &live) {
            return Ok(waiting("RouteMissing", missing, LATER));
        }
        let objects = captured(&new, &rollout, &live);
        put(&mut new, objects);
        if let Some(why) = refusal(&new, &rollout, &template) {
            self.refuse(unit, &failed, &why).await?;
            return Ok(Pass::default());
        }
        let mut old = new.clone();
        old.revision = new.revision.saturating_sub(1);
        retemplate(&mut old, looked);
        self.store_run(unit, &new, &old, &failed, looked).await
    }

    /// What a run is made of, but for its objects.
    pub(super) async fn bundle_of(
        &mut self,
        unit: &SyncUnit,
        grant: &StandingGrant,
        template: &str,
    ) -> Result<Bundle, ContentError> {
        let last = match &unit.applied_digest {
            Some(digest) => readable(self.bundle(digest).await)?,
            None => None,
        };
        let last = last.map_or(0, |last| last.revision);
        Ok(Bundle {
            application: grant.rollout.clone(),
            release: template.to_owned(),
            revision: last + 1,
            run: Uuid::now_v7(),
            attempt: 1,
            mode: BundleMode::Rollout,
            target_namespace: grant.spec.workload.namespace.clone().unwrap_or_default(),
            create_namespace: false,
            components: Vec::new(),
            rollouts: vec![BundleRollout {
                name: grant.rollout.name.clone(),
                spec: grant.spec.clone(),
            }],
            sync: SyncPolicy::default(),
            metrics: grant.metrics.clone(),
            alerts: Vec::new(),
            returns: false,
        })
    }

    /// Remembers that a template cannot be brought in as the plan says.
    async fn refuse(&self, unit: &SyncUnit, failed: &str, why: &str) -> Result<(), PassError> {
        self.settle_on(unit, UnitOutcome::Failed, why, "Refused", Severity::Error)
            .await?;
        self.remember(|unit| memory::mark(unit, failed)).await?;
        Ok(())
    }

    /// Stores what a run begins from and what it brings in; with that the run has begun.
    async fn store_run(
        &mut self,
        unit: &SyncUnit,
        new: &Bundle,
        old: &Bundle,
        failed: &str,
        looked: &Changed<'_>,
    ) -> Result<Pass, PassError> {
        let (Some(new_blob), Some(old_blob)) = (packed(new), packed(old)) else {
            let why = format!(
                "what belongs to {} is more than the {MAX_PACKED_BYTES} bytes that can be stored",
                looked.target
            );
            self.refuse(unit, failed, &why).await?;
            return Ok(Pass::default());
        };
        let (digest, previous) = (hex::encode(new_blob.digest), hex::encode(old_blob.digest));
        let desired = self.shell.desired.clone();
        desired
            .update_naming(&self.key, &old_blob, |unit| {
                unit.applied_digest = Some(previous.clone());
            })
            .await?;
        let of = RunOf {
            run: new.run,
            attempt: new.attempt,
            alerts: &[],
        };
        let message = format!(
            "change {} of {} comes in by its rollout",
            new.revision, looked.target
        );
        let started = about(looked.target, "RolloutStarted", message);
        let held = self.held_as_written(unit, looked);
        let news: Vec<_> = held.into_iter().chain([started]).collect();
        let at = wall();
        desired
            .update_naming(&self.key, &new_blob, |unit| {
                memory::begin(unit, &digest, &previous);
                news.iter().for_each(|one| events::push(unit, of, at, one));
            })
            .await?;
        self.bundles.insert(digest, Arc::new(new.clone()));
        self.bundles.insert(previous, Arc::new(old.clone()));
        Ok(Pass {
            wake_in: Some(SOON),
            ..Pass::again()
        })
    }
}

impl Unit {
    /// Tells of a change that the API server has asked about: nobody else did.
    fn held_as_written(&mut self, unit: &SyncUnit, looked: &Changed<'_>) -> Option<News> {
        let adopted = self.adopted.as_mut()?;
        let caught = std::mem::take(&mut adopted.caught);
        // One that failed was told of before, and so may be what is tried again.
        let stood = unit.outcome == Some(UnitOutcome::Succeeded);
        let target = looked.target;
        (stood && !caught).then(|| {
            let message = format!(
                "{target} was held in the write that changed it, and its update is taken over"
            );
            about(target, "TakenOver", message)
        })
    }
}

fn captured(bundle: &Bundle, rollout: &BundleRollout, live: &Live) -> Vec<Value> {
    // Which Services select the workload's pods is known by its labels, which come with it.
    let mut seen = bundle.clone();
    put(&mut seen, live.workload.iter().cloned().collect());
    let objects = rollout::captured(&Scene::of(&seen, rollout), live).into_iter();
    // Of a workload in place a hold of ours is none of what its owner wrote.
    objects.map(|object| as_owners(&object)).collect()
}

pub(super) fn put(bundle: &mut Bundle, objects: Vec<Value>) {
    bundle.components = vec![BundleComponent {
        name: "live".to_owned(),
        objects,
        health: Vec::new(),
        hooks: Vec::new(),
        depends_on: Vec::new(),
        sync: None,
        service_account: None,
    }];
}

fn missing(bundle: &Bundle, rollout: &BundleRollout, live: &Live) -> Option<String> {
    let scene = Scene::of(bundle, rollout);
    let route = scene
        .routes
        .iter()
        .zip(&live.routes)
        .find(|(_, found)| found.is_none())?;
    Some(format!("{} does not exist", route.0.target))
}

fn refusal(bundle: &Bundle, rollout: &BundleRollout, template: &str) -> Option<String> {
    let changes = [TemplateChange {
        rollout: rollout.name.clone(),
        digest: template.to_owned(),
    }];
    rollout::refusals(bundle, None, &changes).into_iter().next()
}

/// Makes the workload of a captured bundle the one of the version before.
fn retemplate(bundle: &mut Bundle, before: &Changed<'_>) {
    let workload = bundle
        .components
        .iter_mut()
        .flat_map(|component| &mut component.objects)
        .next();
    if let Some(workload) = workload {
        workload["spec"]["template"] = before.stable.clone();
        if let Some((pointer, revision)) = before.revision {
            set(workload, pointer, json!(revision));
        }
    }
}

pub(super) fn packed(bundle: &Bundle) -> Option<CommitBlob> {
    let bytes = serde_json::to_vec(bundle).ok()?;
    let zstd = pack(&bytes).ok()?;
    (zstd.len() <= MAX_PACKED_BYTES).then(|| CommitBlob {
        digest: digest_of(&bytes),
        zstd,
    })
}
