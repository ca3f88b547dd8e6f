//! A new version over an old one that is not available. There is nothing to compare with and nothing to
//! go back to, so that it comes in as a plain update would: no copy, no pin and no route is written, and
//! the workload's own rolling update replaces the pods.

use bellwether_api::{
    duration::Dur,
    hooks::HookKind,
    status::{Severity, Verdict},
};
use jiff::Timestamp;

use super::{
    awaits, by_revision, commands, hooking, progress, promotion, rollback,
    stage::{Failure, PromotionPart, Stage, StepVerdict},
    start,
    turn::{Turn, later},
};
use crate::settled::{TemplateVersion, current, is_whole};

/// The part of the progress deadline, as one in so many, for which the old version has to be without some of
/// its pods: those of a node that is drained are elsewhere before it is over, and the rest of the deadline is
/// left to whoever promotes.
const LASTS_FOR: u64 = 4;

/// Remembers since when the old version is not available, for as long as nothing was changed and another one
/// may replace it.
pub(super) fn watch(turn: &mut Turn<'_>) {
    let broken = if turn.is_in_place() || turn.seen.delivered_by_others {
        false
    } else if turn.is_by_revision() {
        by_revision::is_broken(turn)
    } else {
        is_broken(turn)
    };
    let since = turn.state.broken_since.unwrap_or(turn.now);
    turn.state.broken_since = broken.then_some(since);
    watch_no_longer(turn);
}

/// Forgets since when the old version is not available, once something is about to be changed.
pub(super) const fn watch_no_longer(turn: &mut Turn<'_>) {
    let prepares = matches!(
        turn.state.stage,
        Stage::Initializing | Stage::Pausing | Stage::Pinning
    );
    if !prepares {
        turn.state.broken_since = None;
    }
}

/// Tells from when on the old version could not be compared with: its controller has seen its template, and
/// not all of its pods have been available for a part of the progress deadline then. What is not known for
/// certain counts as available, and its version has to be known, so that another one can be told from it;
/// `None` = it is available.
fn due_at(turn: &Turn<'_>) -> Option<Timestamp> {
    let deadline = turn.grant.plan.progress_deadline.as_millis().unsigned_abs();
    let since = turn.state.broken_since?;
    let from = later(since, Dur::from_millis(deadline / LASTS_FOR));
    if turn.is_by_revision() {
        return by_revision::is_broken(turn).then_some(from);
    }
    let workload = turn.seen.workload.as_ref()?;
    let is_known = current(workload, &turn.seen.replica_sets).is_some();
    (is_broken(turn) && !workload.paused && is_known).then_some(from)
}

/// Tells whether the old version cannot be compared with, and has not been for long enough.
fn is_due(turn: &Turn<'_>) -> bool {
    due_at(turn).is_some_and(|from| from <= turn.now)
}

/// Tells whether the workload's controller has seen the old template, and not all of its pods are available.
pub(super) fn is_broken(turn: &Turn<'_>) -> bool {
    turn.seen.workload.as_ref().is_some_and(|workload| {
        workload.template == TemplateVersion::Old
            && workload.observed_generation >= workload.generation
            && workload.unread.is_empty()
            && !is_whole(workload)
    })
}

/// Tells whether the new version may come in plainly now: everything holds that a run needs before it
/// changes anything, but for the old version's pods.
pub(super) fn may_begin(turn: &mut Turn<'_>) -> bool {
    if turn.state.stage != Stage::Initializing || !is_due(turn) {
        return false;
    }
    let before = turn.waits.len();
    let prepared = if turn.is_by_revision() {
        by_revision::refusal(turn).is_none()
    } else {
        start::refusal(turn).is_none() && start::apex_exists(turn) && start::routes_untouched(turn)
    };
    if !prepared {
        // What is missing is said where the run would begin.
        turn.waits.truncate(before);
    }
    prepared && hooking::opens(turn, HookKind::ConfirmRollout, 0)
}

/// Takes the new version in, and says on whose word.
pub(super) fn begin(turn: &mut Turn<'_>, by: &str) {
    let on = turn.grant.workload.to_string();
    let message = format!(
        "the old version of {on} is not available: it takes the new version at once, untested, by {by}"
    );
    turn.say(Severity::Warn, "ReplacedUntested", message);
    let steps = u32::try_from(turn.steps.len()).unwrap_or(u32::MAX);
    let at = turn.now;
    turn.state
        .verdicts
        .extend((0..steps).map(|step| StepVerdict {
            step,
            verdict: Verdict::Overridden,
            by: by.to_owned(),
            at,
        }));
    if let Some(workload) = &turn.seen.workload {
        turn.state.stable = current(workload, &turn.seen.replica_sets);
    }
    enter(turn, false);
}

fn enter(turn: &mut Turn<'_>, begun: bool) {
    turn.enter(Stage::Promoting {
        part: PromotionPart::Replacing { begun },
    });
}

/// Waits for whoever tests configuration that both use and for every object of the release, then for the
/// new version.
pub(super) fn promoting(turn: &mut Turn<'_>, begun: bool) {
    if !begun {
        // No short circuit: people see everything that is missing.
        if awaits::config_is_free(turn) & awaits::taken(turn) {
            enter(turn, true);
        }
        return;
    }
    let stands = if turn.is_by_revision() {
        by_revision::stands(turn, TemplateVersion::New).is_some()
    } else {
        promotion::updated(turn).is_some()
    };
    if stands {
        let message = format!("{} runs the new version", turn.grant.workload);
        turn.say(Severity::Info, "Succeeded", message);
        turn.enter(Stage::Succeeded);
    }
}

/// Tells whether a run whose deadline has passed stays where it is, and says so: going back could take ready
/// pods of the new version away for an old one that was not available.
pub(super) fn keeps(turn: &mut Turn<'_>) -> bool {
    let keeps = keeps_pods(turn);
    if keeps {
        let on = turn.grant.workload.to_string();
        let message = format!(
            "no progress for {}; the run does not go back by itself, since that could take ready pods \
             of the new version from {on} for an old one that was not available: abort it, or apply a \
             version that works",
            turn.grant.plan.progress_deadline
        );
        turn.wait_on("KeepsReadyPods", message, &on);
    }
    keeps
}

/// The new version has ready pods, and the workload's own rolling update may stop more than are missing
/// already. One that spares them goes on serving with them.
fn keeps_pods(turn: &Turn<'_>) -> bool {
    let replaces = matches!(
        turn.state.stage,
        Stage::Promoting {
            part: PromotionPart::Replacing { begun: true }
        }
    );
    let Some(workload) = turn.seen.workload.as_ref().filter(|_| replaces) else {
        return false;
    };
    let spared = workload.replicas.saturating_sub(workload.update_takes);
    progress::new_pods(turn) > 0 && workload.ready > spared
}

/// Gives the workload its old template back. Whether its pods become available is not waited for: they
/// were not before, and the next release has to come in all the same.
pub(super) fn rolling_back(turn: &mut Turn<'_>, failure: Failure) {
    let on = turn.grant.workload.to_string();
    let back = match &turn.seen.workload {
        Some(workload) => {
            workload.template == TemplateVersion::Old
                && workload.observed_generation >= workload.generation
        }
        None => progress::is_overdue(turn) || commands::is_deleted(turn),
    };
    if back {
        rollback::fail(turn, failure);
    } else {
        let message = format!("{on} does not carry the old template yet");
        turn.wait_on("TemplateNotWritten", message, &on);
    }
}

/// Says, where the old version is waited for, how to go on without it, or why nobody can.
pub(super) fn offer(turn: &mut Turn<'_>) {
    let name = &turn.grant.application.name;
    let way = if let Some(from) = due_at(turn) {
        let mut lasts = String::new();
        if from > turn.now {
            lasts = format!(" until {from}");
            turn.wake(from);
        }
        format!(
            "; should it stay so{lasts}, `bellwether rollout promote {name}` takes the new version in \
             without it, untested"
        )
    } else if !turn.promote_pending {
        return;
    } else if turn.is_in_place() {
        "; promote waits for it too, since it is updated in place".to_owned()
    } else if turn.seen.delivered_by_others {
        "; promote waits for it too, since somebody else delivers the workload".to_owned()
    } else {
        return;
    };
    if let Some(wait) = turn.waits.last_mut() {
        wait.message.push_str(&way);
    }
}
