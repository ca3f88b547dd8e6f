//! Hooks of charts: runs those that are due, one after another, and parts with what they leave.

mod coming_in;
mod leftovers;
mod removal;
#[cfg(test)]
pub(super) mod tests;

pub(super) use coming_in::has_hooks_after;

use std::time::Duration;

use bellwether_agent_core::{
    chart_hooks::{self, HookSight, HookStep},
    definitions::brought_kinds,
};
use bellwether_api::{
    bundle::Bundle,
    chart_hook::{ChartHook, ChartHookRun, HookOccasion, HookUnderWay},
    command::Command,
    reference::{NamespacedName, ObjectRef},
    status::WaitReason,
    sync_record::SyncUnit,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{Pass, PassError, Unit, run_of, wait};
use crate::sync::{
    admit::HookTarget,
    cluster::{ClusterError, reference},
    events::News,
    shell::PLAIN_DEADLINE,
};

/// How often a hook that is under way is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What a hook that failed is reported as.
const HOOK_FAILED: &str = "HookFailed";
/// How much of a reason is passed on, in characters.
const MAX_WHY: usize = 400;

/// How far the hooks of one side are.
enum Driven {
    /// All have ended well.
    Over,
    /// One is under way.
    Wait(Pass),
    /// One has failed, or must not go on.
    Failed(Failure),
}

/// Why the hooks of one side do not go on.
struct Failure {
    /// The hook that failed; absent = it was not its fault.
    hook: Option<ChartHook>,
    /// A CamelCase word for why.
    word: &'static str,
    why: String,
    /// Its object may still be at work.
    stop: bool,
}

/// The hook that is under way, or next.
struct Current<'a> {
    hook: &'a ChartHook,
    object: Value,
    target: ObjectRef,
    /// The ServiceAccount in whose name it is made; absent = in the agent's own.
    account: Option<&'a NamespacedName>,
    mark: String,
    /// For people: its moment and its object.
    name: String,
}

impl Unit {
    /// The objects of a bundle's hooks.
    pub(super) async fn hook_targets(
        &self,
        bundle: &Bundle,
        applied: Option<&Bundle>,
    ) -> Result<Vec<HookTarget>, PassError> {
        let occasion = chart_hooks::occasion(applied, bundle);
        let moments = occasion.map(chart_hooks::moments);
        let kinds = brought_kinds(bundle.components.iter().flat_map(|one| &one.objects));
        let mut targets = Vec::new();
        for component in &bundle.components {
            for hook in &component.hooks {
                let mut object = hook.object.clone();
                self.name_namespace(bundle, &kinds, &mut object).await?;
                let mut of = hook.moments.iter();
                let due = moments.is_some_and(|due| of.any(|one| due.contains(one)));
                targets.extend(reference(&object).map(|target| {
                    HookTarget {
                        target,
                        due,
                        account: bundle
                            .brought_in_by(component.service_account.as_ref())
                            .cloned(),
                    }
                }));
            }
        }
        Ok(targets)
    }

    /// Works on the hooks of one side of a bundle.
    async fn drive_hooks(
        &mut self,
        unit: &SyncUnit,
        bundle: &Bundle,
        run: &ChartHookRun,
    ) -> Result<Driven, PassError> {
        let moment = chart_hooks::moment(run.occasion, run.side);
        let due = chart_hooks::due(bundle, moment);
        let Some(hook) = usize::try_from(run.done).ok().and_then(|at| due.get(at)) else {
            return Ok(Driven::Over);
        };
        let mark = chart_hooks::mark_of(bundle, moment);
        let mut object = chart_hooks::marked(hook, bundle, &mark);
        let kinds = brought_kinds(bundle.components.iter().flat_map(|one| &one.objects));
        self.name_namespace(bundle, &kinds, &mut object).await?;
        let target = reference(&object).ok_or(ClusterError::Unnamed)?;
        let current = Current {
            hook,
            account: chart_hooks::account_of(bundle, hook),
            name: format!("{} hook {target}", moment.as_str()),
            object,
            target,
            mark,
        };
        if run.occasion != HookOccasion::Delete {
            if let Some(stopped) = self.stopped_by_command(bundle, run) {
                return Ok(stopped);
            }
            self.ensure_namespace(bundle).await?;
        }
        match &run.under_way {
            None => {
                self.start_hook(bundle, &current).await?;
                Ok(Driven::Wait(Pass::again()))
            }
            Some(under_way) => self.step_hook(unit, bundle, run, &current, under_way).await,
        }
    }

    /// What the hub commands about hooks that run before anything else knows commands.
    fn stopped_by_command(&self, bundle: &Bundle, run: &ChartHookRun) -> Option<Driven> {
        let command = self.shell.desired.command(&self.application)?;
        stopped(&command, bundle, run)
    }

    async fn start_hook(&self, bundle: &Bundle, current: &Current<'_>) -> Result<(), PassError> {
        let now_ms = self.shell.clock.now().as_millisecond();
        let news = News {
            object: Some(current.target.clone()),
            ..News::info("HookStarted", format!("{} runs", current.name))
        };
        self.tell(run_of(bundle), news, |unit| {
            let record = &mut unit.chart_hooks;
            chart_hooks::start(record, current.target.clone(), &current.mark, now_ms);
        })
        .await?;
        Ok(())
    }

    async fn step_hook(
        &self,
        unit: &SyncUnit,
        bundle: &Bundle,
        run: &ChartHookRun,
        current: &Current<'_>,
        under_way: &HookUnderWay,
    ) -> Result<Driven, PassError> {
        let live = self.shell.cluster.get(&current.target).await?;
        let step = chart_hooks::step(HookSight {
            hook: current.hook,
            under_way,
            left: &unit.chart_hooks.left,
            live: live.as_ref(),
            now_ms: self.shell.clock.now().as_millisecond(),
            longest_ms: i64::try_from(PLAIN_DEADLINE.as_millis()).unwrap_or(i64::MAX),
            capped: run.occasion == HookOccasion::Delete,
        });
        let waits = || {
            Driven::Wait(Pass {
                waiting_on: vec![wait_of(current, under_way)],
                wake_in: Some(LOOK),
                ..Pass::default()
            })
        };
        Ok(match step {
            HookStep::Wait => waits(),
            HookStep::Clear { uid } => {
                let cluster = &self.shell.cluster;
                cluster.delete_as_a_whole(&current.target, &uid).await?;
                Driven::Wait(Pass::again())
            }
            HookStep::Make => self.make_hook(current).await?,
            HookStep::Note { uid } => {
                self.note_hook(&uid).await?;
                Driven::Wait(Pass::again())
            }
            HookStep::Passed => {
                let news = News::info("HookPassed", format!("{} has ended well", current.name));
                self.tell(run_of(bundle), news, |unit| {
                    chart_hooks::passed(&mut unit.chart_hooks, current.hook);
                })
                .await?;
                Driven::Wait(Pass::again())
            }
            HookStep::Failed { why, stop } => Driven::Failed(current.failure(&why, stop)),
        })
    }

    async fn make_hook(&self, current: &Current<'_>) -> Result<Driven, PassError> {
        let cluster = self.shell.cluster.acting_as(current.account);
        match cluster.create(&current.object).await {
            Ok(made) => {
                if let Some(uid) = made
                    .as_ref()
                    .and_then(bellwether_agent_core::ownership::uid_of)
                {
                    self.note_hook(uid).await?;
                }
                // Without one somebody was faster: what is there now decides.
                Ok(Driven::Wait(Pass::again()))
            }
            Err(error @ ClusterError::NotServed { .. }) => {
                Ok(Driven::Failed(current.failure(&error.answer(), false)))
            }
            Err(error) if error.is_final() || error.code() == Some(404) => {
                Ok(Driven::Failed(current.failure(&error.answer(), false)))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn note_hook(&self, uid: &str) -> Result<(), PassError> {
        self.remember(|unit| chart_hooks::made(&mut unit.chart_hooks, uid))
            .await?;
        Ok(())
    }
}

impl Current<'_> {
    fn failure(&self, why: &str, stop: bool) -> Failure {
        let why = format!("{} failed: {why}", self.name);
        Failure {
            hook: Some(self.hook.clone()),
            word: HOOK_FAILED,
            why: why.chars().take(MAX_WHY).collect(),
            stop,
        }
    }
}

fn stopped(command: &Command, bundle: &Bundle, run: &ChartHookRun) -> Option<Driven> {
    if (command.run, command.attempt) != (bundle.run, bundle.attempt) {
        return None;
    }
    if let Some(abort) = &command.abort {
        let said = match abort.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        return Some(Driven::Failed(Failure {
            hook: None,
            word: "Aborted",
            why: format!("{:?} by {}{said}", abort.cause, abort.by),
            stop: true,
        }));
    }
    (command.suspend && run.under_way.is_none()).then(|| {
        Driven::Wait(Pass {
            waiting_on: vec![wait("Suspended", "no hook begins while it is suspended")],
            wake_in: Some(LOOK),
            ..Pass::default()
        })
    })
}

fn wait_of(current: &Current<'_>, under_way: &HookUnderWay) -> WaitReason {
    let since = Timestamp::from_millisecond(under_way.began_at_ms).ok();
    WaitReason {
        on: Some(current.target.to_string()),
        since: since.map(|since| since.to_string()),
        ..wait("HookRunning", format!("{} has not ended", current.name))
    }
}
