//! Hooks that nobody waits for any more, and objects that ended hooks have left.

use bellwether_agent_core::{
    chart_hooks::{self, HookOutcome, is_awaited, is_marked, outcome_of},
    ownership::uid_of,
};
use bellwether_api::{
    chart_hook::HookOccasion,
    sync_record::{HeldObject, SyncUnit},
};
use serde_json::Value;

use crate::{
    desired::chain,
    rollout::is_deleting,
    sync::{
        events::News,
        goal::Goal,
        unit::{PassError, RunOf, Unit},
    },
};

impl Unit {
    /// Stops a hook whose turn it is not any more, and deletes what charts want deleted. Gives whether
    /// something was stopped.
    pub(in crate::sync::unit) async fn settle_hooks(
        &self,
        unit: &SyncUnit,
        goal: &Goal,
    ) -> Result<bool, PassError> {
        for left in unit.chart_hooks.left.iter().filter(|left| left.delete) {
            self.delete_left(&left.object).await?;
        }
        let Some(run) = &unit.chart_hooks.run else {
            return Ok(false);
        };
        let Some(under_way) = &run.under_way else {
            return Ok(false);
        };
        let its_turn = match goal {
            Goal::Begin(digest) | Goal::Apply(digest) => {
                run.bundle == *digest && run.occasion != HookOccasion::Delete
            }
            Goal::Remove => run.occasion == HookOccasion::Delete,
            _ => false,
        };
        if its_turn {
            return Ok(false);
        }
        let live = self.shell.cluster.get(&under_way.object.object()).await?;
        let known = under_way.object.uid.as_ref();
        let ours = live.filter(|live| {
            known.map_or_else(
                || is_marked(live, &under_way.mark),
                |uid| uid_of(live) == Some(uid),
            )
        });
        let uid = ours.as_ref().and_then(uid_of).cloned();
        let stop = ours.is_some_and(|live| outcome_of(&live) == HookOutcome::Running);
        tracing::info!(
            unit.key = self.key,
            hook = under_way.mark,
            stop,
            "a hook is not waited for any more"
        );
        self.remember(|unit| chart_hooks::abandon(&mut unit.chart_hooks, uid.as_deref(), stop))
            .await?;
        Ok(true)
    }

    /// Deletes an object that a hook has left, and forgets it once it is gone.
    async fn delete_left(&self, held: &HeldObject) -> Result<(), PassError> {
        let object = held.object();
        let live = self.shell.cluster.get(&object).await?;
        let Some(live) = live.filter(|live| uid_of(live) == held.uid.as_ref()) else {
            return self.forget_left(held).await;
        };
        let Some(uid) = uid_of(&live).filter(|_| !is_deleting(&live)) else {
            return Ok(());
        };
        match self.shell.cluster.delete_as_a_whole(&object, uid).await {
            Ok(()) => {
                if self.shell.cluster.get(&object).await?.is_none() {
                    self.forget_left(held).await?;
                }
                Ok(())
            }
            Err(error) if error.is_final() => {
                tracing::warn!(unit.key = self.key, %object, error = %chain(&error), "a hook's object stays");
                self.forget_left(held).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn forget_left(&self, held: &HeldObject) -> Result<(), PassError> {
        self.remember(|unit| chart_hooks::forget(&mut unit.chart_hooks, held))
            .await?;
        Ok(())
    }

    /// Parts with what the hooks of a unit have left that goes: Jobs and Pods have ended and are
    /// deleted; anything else stays, as Helm leaves it, for it may be what must outlive the application.
    pub(in crate::sync::unit) async fn part_with_left(
        &self,
        of: RunOf<'_>,
        unit: &SyncUnit,
    ) -> Result<(), PassError> {
        let mut stays = Vec::new();
        for left in &unit.chart_hooks.left {
            let object = left.object.object();
            let live: Option<Value> = self.shell.cluster.get(&object).await?;
            if live.is_none_or(|live| uid_of(&live) != left.object.uid.as_ref()) {
                continue;
            }
            if !left.delete && !is_awaited(&object.api_version, &object.kind) {
                stays.push(object.to_string());
                continue;
            }
            let uid = left.object.uid.as_deref();
            match self.shell.cluster.delete(&object, uid).await {
                Err(error) if !error.is_final() => return Err(error.into()),
                Err(_) => stays.push(object.to_string()),
                Ok(()) => {}
            }
        }
        if stays.is_empty() {
            return Ok(());
        }
        let message = format!(
            "hooks have made {}: they stay, for hooks may make what outlives its application",
            crate::sync::unit::adoption::some_of(&stays)
        );
        self.tell(of, News::info("HookObjectsStay", message), |_| {})
            .await?;
        Ok(())
    }
}
