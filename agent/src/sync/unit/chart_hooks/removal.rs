//! Hooks around the removal of an application.

use bellwether_agent_core::chart_hooks;
use bellwether_api::{
    chart_hook::{HookEnd, HookOccasion, HookSide},
    status::Severity,
    sync_record::SyncUnit,
};

use super::Driven;
use crate::{
    desired::{ContentError, chain},
    sync::{
        events::News,
        unit::{Pass, PassError, RunOf, Unit},
    },
};

impl Unit {
    /// Works on the hooks that the release which runs as a whole has for its removal; absent = nothing
    /// is left to wait for. One that fails is told, and holds nothing up.
    pub(in crate::sync::unit) async fn hooks_at_removal(
        &mut self,
        of: RunOf<'_>,
        unit: &SyncUnit,
        side: HookSide,
    ) -> Result<Option<Pass>, PassError> {
        let Some(applied) = &unit.applied_digest else {
            return Ok(None);
        };
        let last = unit.chart_hooks.of(applied);
        let last = last.filter(|run| run.occasion == HookOccasion::Delete);
        if last
            .is_some_and(|run| run.side > side || run.side == side && run.end != HookEnd::UnderWay)
        {
            return Ok(None);
        }
        let bundle = match self.bundle(applied).await {
            Ok(bundle) => bundle,
            // It may be readable the next time.
            Err(error @ ContentError::Kube(_)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(unit.key = self.key, error = %chain(&error), "hooks of a removal are lost");
                return Ok(None);
            }
        };
        if chart_hooks::due(&bundle, chart_hooks::moment(HookOccasion::Delete, side)).is_empty() {
            return Ok(None);
        }
        let Some(run) = last.filter(|run| run.side == side) else {
            self.remember(|unit| {
                chart_hooks::begin(&mut unit.chart_hooks, applied, HookOccasion::Delete, side);
            })
            .await?;
            return Ok(Some(Pass::again()));
        };
        match self.drive_hooks(unit, &bundle, run).await? {
            Driven::Wait(pass) => return Ok(Some(pass)),
            Driven::Over => {
                self.remember(|unit| chart_hooks::over(&mut unit.chart_hooks))
                    .await?;
            }
            Driven::Failed(failure) => {
                let message = format!("{}; the application is removed all the same", failure.why);
                let news = News {
                    severity: Severity::Warn,
                    ..News::info("HookFailed", message)
                };
                self.tell(of, news, |unit| {
                    let (hook, stop) = (failure.hook.as_ref(), failure.stop);
                    chart_hooks::failed(&mut unit.chart_hooks, hook, stop, &failure.why);
                })
                .await?;
            }
        }
        Ok(Some(Pass::again()))
    }
}
