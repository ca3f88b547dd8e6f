//! Looks at one object, and what comes of them.

use bellwether_agent_core::{contention, health};
use bellwether_api::{application::DriftPolicy, reference::ObjectRef};
use serde_json::Value;

use super::{Care, Keeper, Kept, NOTHING, OWN, SYNC_MANAGER, Wanted, clean_digest};
use crate::sync::cluster::{ApplyMode, Cluster, ClusterError};

impl Keeper {
    /// Looks at an object whose drift is not corrected.
    pub(super) async fn look_first(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        digest: [u8; 32],
        drift: DriftPolicy,
    ) -> Result<(), ClusterError> {
        let live = cluster.get(&want.target).await?;
        let mut drifted = false;
        if drift == DriftPolicy::Report {
            let planned = self.planned(cluster, want).await?;
            drifted = live.as_ref().map(clean_digest) != Some(clean_digest(&planned));
        }
        self.note(want, digest, live.as_ref(), drifted);
        Ok(())
    }

    /// Looks at an object that an earlier process applied, and writes it if that changes anything.
    pub(super) async fn look_before_writing(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        digest: [u8; 32],
        kept: &mut Kept,
    ) -> Result<(), ClusterError> {
        let Some(live) = cluster.get(&want.target).await? else {
            return self.write(cluster, want, digest, kept).await;
        };
        match self.planned(cluster, want).await {
            Ok(planned) if clean_digest(&planned) == clean_digest(&live) => {
                self.note_written(want, &live);
                self.note(want, digest, Some(&live), false);
                Ok(())
            }
            // Whatever is wrong is met where it is written.
            _ => {
                let written = self.write(cluster, want, digest, kept).await;
                if written.as_ref().is_err_and(ClusterError::lacks_rights) {
                    // It is there, and how it is is known.
                    self.note(want, NOTHING, Some(&live), false);
                }
                written
            }
        }
    }

    /// What applying an object would make of it. Where its ServiceAccount has lost its rights the agent asks in its
    /// own name: what was let in is as it was or is not, and nothing comes in by asking.
    async fn planned(&self, cluster: &Cluster, want: &Wanted) -> Result<Value, ClusterError> {
        let refused = match self.apply(cluster, want, ApplyMode::DryRun).await {
            Err(error) if want.part.account.is_some() && error.lacks_rights() => error,
            planned => return planned,
        };
        let planned = self.apply_by(cluster, want, ApplyMode::DryRun).await;
        planned.map_err(|_| refused)
    }

    /// Looks at an object that may have changed.
    pub(super) async fn look_again(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        drift: DriftPolicy,
        kept: &mut Kept,
    ) -> Result<(), ClusterError> {
        let Some(seen) = self.seen.get(&want.target).cloned() else {
            return Ok(());
        };
        let live = cluster.get(&want.target).await?;
        let clean = live.as_ref().map(clean_digest);
        if clean == seen.clean && !seen.drifted {
            self.forget_fight(&want.target);
            self.note(want, seen.wanted, live.as_ref(), false);
            return Ok(());
        }
        // Whatever comes of writing it back. What was applied stays the measure: see `is_edited`.
        if let Some(seen) = self.seen.get_mut(&want.target) {
            seen.status = health::of(&want.target, live.as_ref(), &want.custom);
        }
        if want.care == Care::Run {
            return Ok(());
        }
        let is_left = drift == DriftPolicy::Correct && self.is_left(&want.target);
        match drift {
            DriftPolicy::Correct if !is_left => {
                let applied = self.apply(cluster, want, ApplyMode::Force).await?;
                self.note_written(want, &applied);
                // Fields that others own may change as they like: only what applying had to put
                // back was drift.
                if Some(clean_digest(&applied)) != clean {
                    kept.corrected.push(want.target.clone());
                    self.note_correction(want, live.as_ref(), &applied);
                } else {
                    self.forget_fight(&want.target);
                }
                self.note(want, seen.wanted, Some(&applied), false);
            }
            DriftPolicy::Correct | DriftPolicy::Report => {
                let planned = self.planned(cluster, want).await?;
                let drifted = Some(clean_digest(&planned)) != clean;
                self.note(want, seen.wanted, live.as_ref(), drifted);
                if drifted && is_left {
                    self.note_fight(&want.target, kept);
                }
            }
            DriftPolicy::Off => self.note(want, seen.wanted, live.as_ref(), false),
        }
        Ok(())
    }

    fn is_left(&self, target: &ObjectRef) -> bool {
        let contention = self.contentions.get(target);
        contention.is_some_and(|one| one.fight(self.now_ms()).is_some())
    }

    fn note_correction(&mut self, want: &Wanted, live: Option<&Value>, applied: &Value) {
        if self.manager != SYNC_MANAGER {
            return;
        }
        let now_ms = self.now_ms();
        let changes = contention::changes(live, applied, OWN);
        let contention = self.contentions.entry(want.target.clone()).or_default();
        contention.corrected(&changes, now_ms);
    }

    fn note_fight(&mut self, target: &ObjectRef, kept: &mut Kept) {
        let now_ms = self.now_ms();
        let contention = self.contentions.get_mut(target);
        if let Some(fight) = contention.and_then(|one| one.seen(now_ms)) {
            kept.to_tell.push((target.clone(), fight));
        }
    }

    /// The object is as it was left: a pause that is over has nothing to look at.
    fn forget_fight(&mut self, target: &ObjectRef) {
        let now_ms = self.now_ms();
        if let Some(contention) = self.contentions.get_mut(target) {
            contention.resume(now_ms);
        }
    }

    /// Tells whether somebody changed what a run had applied: whether applying it again would
    /// change `live`. Fields that others own may change as they like.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn is_edited(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        live: &Value,
    ) -> Result<bool, ClusterError> {
        let clean = clean_digest(live);
        let known = self.seen.get(&want.target).map(|seen| seen.clean);
        match known {
            Some(seen) if seen == Some(clean) => Ok(false),
            Some(_) => {
                let planned = self.planned(cluster, want).await?;
                let edited = clean_digest(&planned) != clean;
                if !edited && let Some(seen) = self.seen.get_mut(&want.target) {
                    seen.clean = Some(clean);
                }
                Ok(edited)
            }
            None => Ok(false),
        }
    }
}
