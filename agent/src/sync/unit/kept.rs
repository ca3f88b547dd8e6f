//! Holding objects, and saying what came of it.

use bellwether_api::{application::DriftPolicy, bundle::Bundle, status::Severity};

use super::{PassError, Unit, run_of};
use crate::{
    clock::wall,
    sync::{
        events::{self, News},
        keep::{FirstLook, Kept, Wanted},
    },
};

/// Fights that a status names.
const MAX_FIGHTS: usize = 10;

impl Unit {
    /// Makes the cluster hold `wanted`, and listens to its objects.
    pub(super) async fn keep(
        &mut self,
        bundle: &Bundle,
        wanted: &[Wanted],
        drift: DriftPolicy,
        look: FirstLook,
    ) -> Result<Kept, PassError> {
        self.ensure_namespace(bundle).await?;
        match look {
            FirstLook::Apply | FirstLook::Correct => self.adopt_late(bundle, wanted).await?,
            FirstLook::Observe => {}
            FirstLook::ByPolicy => {
                let corrected = wanted
                    .iter()
                    .filter(|want| want.part.drift.unwrap_or(drift) == DriftPolicy::Correct);
                let corrected: Vec<Wanted> = corrected.cloned().collect();
                self.adopt_late(bundle, &corrected).await?;
            }
        }
        let dirty = std::mem::take(&mut self.dirty);
        let kept = self
            .keeper
            .keep(&self.shell.cluster, wanted, &dirty, drift, look)
            .await;
        if kept.is_err() {
            // What was not looked at yet is looked at the next time.
            self.dirty.add(dirty);
        }
        self.record_written(bundle).await?;
        let kept = match kept {
            Ok(kept) => kept,
            Err(unkept) => {
                if look != FirstLook::Apply && unkept.error.lacks_rights() {
                    // The others are held, and are looked at as they change.
                    self.listen_with_runs(wanted.iter().map(|want| &want.target));
                }
                // What was done all the same is not seen again.
                self.tell_kept(bundle, &unkept.kept).await?;
                if !unkept.kept.corrected.is_empty() {
                    self.tell_drift(bundle, &unkept.kept.corrected).await?;
                }
                return Err(unkept.error.into());
            }
        };
        self.listen_with_runs(wanted.iter().map(|want| &want.target));
        self.drifted.clone_from(&kept.drifted);
        self.fights = kept
            .fighting
            .iter()
            .take(MAX_FIGHTS)
            .map(|(object, fight)| format!("FightingOver: {object}: {}", said(fight)))
            .collect();
        self.tell_kept(bundle, &kept).await?;
        Ok(kept)
    }

    async fn tell_kept(&self, bundle: &Bundle, kept: &Kept) -> Result<(), PassError> {
        let fights = kept.to_tell.iter().map(|(object, fight)| News {
            severity: Severity::Warn,
            reason: "FightingOver",
            object: Some(object.clone()),
            message: format!("{object}: {}", said(fight)),
        });
        let recreated = kept.recreated.iter().map(|(object, field)| News {
            severity: Severity::Warn,
            reason: "Recreated",
            object: Some(object.clone()),
            message: format!(
                "{object} was deleted to be made anew, as sync.force says: {field} cannot be changed"
            ),
        });
        let unconverted = kept.unconverted.iter().map(|(object, answer)| News {
            severity: Severity::Warn,
            reason: "NotConverted",
            object: Some(object.clone()),
            message: format!(
                "{object} is neither written nor read, and what else the release has goes on: {answer}"
            ),
        });
        let all: Vec<News> = fights.chain(recreated).chain(unconverted).collect();
        if all.is_empty() {
            return Ok(());
        }
        let at = wall();
        self.remember(|unit| {
            for news in &all {
                events::push(unit, run_of(bundle), at, news);
            }
        })
        .await?;
        Ok(())
    }
}

fn said(fight: &bellwether_agent_core::contention::Fight) -> String {
    let change = &fight.change;
    let who = if change.manager.is_empty() {
        "somebody".to_owned()
    } else {
        format!("field manager {}", change.manager)
    };
    format!(
        "{who} changes {} again and again after it was written back; it is left as it is for a while. \
         Take the field out of the release, or name it in sync.ignore",
        change.field
    )
}

#[cfg(test)]
mod tests;
