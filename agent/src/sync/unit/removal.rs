//! Taking away what a unit holds.

use std::{cmp::Reverse, collections::BTreeSet};

use bellwether_agent_core::apply_order::apply_stage;
use bellwether_api::{reference::ObjectRef, status::UnitOutcome, sync_record::SyncUnit};

use super::{Pass, PassError, RunOf, Unit, memory, wait};
use crate::sync::events::News;

impl Unit {
    /// Deletes every object of a unit whose tombstone has come.
    pub(super) async fn remove(&mut self, unit: &SyncUnit) -> Result<Pass, PassError> {
        if unit.outcome != Some(UnitOutcome::Removing) {
            self.remember(memory::removing).await?;
            return Ok(Pass::again());
        }
        self.keeper.forget();
        self.listen(super::interests(unit.objects.iter()));
        let left = self.delete_all(&unit.objects).await?;
        if !left.is_empty() {
            let names: Vec<String> = left.iter().take(3).map(ToString::to_string).collect();
            return Ok(Pass {
                waiting_on: vec![wait(
                    "ObjectsTerminating",
                    format!(
                        "{} objects are still there: {}",
                        left.len(),
                        names.join(", ")
                    ),
                )],
                wake_in: Some(std::time::Duration::from_secs(2)),
                ..Pass::default()
            });
        }
        let of = RunOf {
            run: uuid::Uuid::nil(),
            attempt: 0,
        };
        self.tell(
            of,
            News::info("Removed", "every object is gone"),
            memory::removed,
        )
        .await?;
        self.listen(std::collections::BTreeMap::new());
        Ok(Pass::again())
    }

    /// Deletes objects that no release has any more.
    pub(super) async fn prune(
        &mut self,
        of: RunOf,
        surplus: &BTreeSet<ObjectRef>,
    ) -> Result<(), PassError> {
        if surplus.is_empty() {
            return Ok(());
        }
        self.delete_all(&surplus.iter().cloned().collect::<Vec<_>>())
            .await?;
        let names: Vec<String> = surplus.iter().take(10).map(ToString::to_string).collect();
        let news = News::info(
            "Pruned",
            format!("deleted what the release lacks: {}", names.join(", ")),
        );
        self.tell(of, news, |unit| {
            unit.objects.retain(|object| !surplus.contains(object))
        })
        .await?;
        Ok(())
    }

    /// Deletes objects, users of others first, and gives those that are still there.
    async fn delete_all(&self, objects: &[ObjectRef]) -> Result<Vec<ObjectRef>, PassError> {
        let mut left = Vec::new();
        // Routes go before Services, and Services before what serves them.
        let mut ordered: Vec<&ObjectRef> = objects.iter().collect();
        ordered.sort_by_key(|object| Reverse(apply_stage(&object.kind)));
        for object in ordered {
            let Some(live) = self.shell.cluster.get(object).await? else {
                continue;
            };
            if !crate::rollout::is_deleting(&live) {
                self.shell.cluster.delete(object, None).await?;
                if self.shell.cluster.get(object).await?.is_none() {
                    continue;
                }
            }
            left.push(object.clone());
        }
        Ok(left)
    }
}
