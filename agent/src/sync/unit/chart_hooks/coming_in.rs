//! Hooks around the objects of a bundle that comes in.

use bellwether_agent_core::chart_hooks;
use bellwether_api::{
    bundle::Bundle,
    chart_hook::{ChartHookRun, HookEnd, HookSide},
    status::UnitOutcome,
    sync_record::SyncUnit,
};

use super::{Driven, Failure, HOOK_FAILED};
use crate::sync::{
    events::News,
    unit::{Pass, PassError, Unit, memory, run_of},
};

impl Unit {
    /// Remembers that the hooks of an admitted bundle begin; gives whether there are any that had not
    /// begun.
    pub(in crate::sync::unit) async fn begin_hooks(
        &self,
        unit: &SyncUnit,
        digest: &str,
        bundle: &Bundle,
        applied: Option<&Bundle>,
    ) -> Result<bool, PassError> {
        let Some(occasion) = chart_hooks::occasion(applied, bundle) else {
            return Ok(false);
        };
        let none = chart_hooks::moments(occasion)
            .into_iter()
            .all(|moment| chart_hooks::due(bundle, moment).is_empty());
        if none || unit.chart_hooks.of(digest).is_some() {
            return Ok(false);
        }
        self.remember(|unit| {
            if unit.digest.as_deref() == Some(digest) {
                chart_hooks::begin(&mut unit.chart_hooks, digest, occasion, HookSide::Before);
            }
        })
        .await?;
        Ok(true)
    }

    /// Works on hooks that run before the objects; absent = nothing keeps the objects back.
    pub(in crate::sync::unit) async fn hooks_before(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        bundle: &Bundle,
    ) -> Result<Option<Pass>, PassError> {
        let Some(run) = unit.chart_hooks.of(digest) else {
            return Ok(None);
        };
        let failure = match self.side_of(unit, bundle, run).await? {
            Ok(pass) => return Ok(pass),
            Err(failure) => failure,
        };
        let said = format!("{}; nothing was applied", failure.why);
        let why = format!("{}: {said}", failure.word);
        self.tell(run_of(bundle), News::error(failure.word, said), |unit| {
            let (hook, stop) = (failure.hook.as_ref(), failure.stop);
            chart_hooks::failed(&mut unit.chart_hooks, hook, stop, &failure.why);
            memory::end(unit, digest, UnitOutcome::Failed, &why);
        })
        .await?;
        Ok(Some(Pass::again()))
    }

    /// Works on hooks that run when the objects are healthy; absent = all have ended well.
    pub(in crate::sync::unit) async fn hooks_after(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        bundle: &Bundle,
    ) -> Result<Option<Pass>, PassError> {
        let Some(run) = unit.chart_hooks.of(digest) else {
            return Ok(None);
        };
        if run.side == HookSide::Before {
            let moment = chart_hooks::moment(run.occasion, HookSide::After);
            if chart_hooks::due(bundle, moment).is_empty() {
                return Ok(None);
            }
            let occasion = run.occasion;
            self.remember(|unit| {
                chart_hooks::begin(&mut unit.chart_hooks, digest, occasion, HookSide::After);
            })
            .await?;
            return Ok(Some(Pass::again()));
        }
        // The objects were healthy: only the hooks' own deadlines count from now on.
        self.plain_since = None;
        let failure = match self.side_of(unit, bundle, run).await? {
            Ok(pass) => return Ok(pass),
            Err(failure) => failure,
        };
        self.remember(|unit| {
            let (hook, stop) = (failure.hook.as_ref(), failure.stop);
            chart_hooks::failed(&mut unit.chart_hooks, hook, stop, &failure.why);
        })
        .await?;
        let failed = self.fail_plain(unit, digest, bundle, failure.word, &failure.why);
        failed.await.map(Some)
    }

    /// Works on the hooks of one side; absent = they have passed.
    async fn side_of(
        &mut self,
        unit: &SyncUnit,
        bundle: &Bundle,
        run: &ChartHookRun,
    ) -> Result<Result<Option<Pass>, Failure>, PassError> {
        Ok(match run.end {
            HookEnd::Passed => Ok(None),
            HookEnd::Failed => Err(Failure {
                hook: None,
                word: HOOK_FAILED,
                why: run.why.clone(),
                stop: false,
            }),
            HookEnd::UnderWay => match self.drive_hooks(unit, bundle, run).await? {
                Driven::Wait(pass) => Ok(Some(pass)),
                Driven::Over => {
                    self.hooks_over().await?;
                    Ok(Some(Pass::again()))
                }
                Driven::Failed(failure) => Err(failure),
            },
        })
    }

    async fn hooks_over(&self) -> Result<(), PassError> {
        self.remember(|unit| chart_hooks::over(&mut unit.chart_hooks))
            .await?;
        Ok(())
    }
}

/// Tells whether hooks of a bundle run once its objects are healthy.
pub(in crate::sync::unit) fn has_hooks_after(
    unit: &SyncUnit,
    digest: &str,
    bundle: &Bundle,
) -> bool {
    unit.chart_hooks.of(digest).is_some_and(|run| {
        let moment = chart_hooks::moment(run.occasion, HookSide::After);
        run.side == HookSide::Before && !chart_hooks::due(bundle, moment).is_empty()
    })
}
