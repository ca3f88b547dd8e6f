//! Rollback: traffic and pods go back to what was before.

use bellwether_api::{
    number::Weight,
    status::{FailureReason, Severity},
};
use jiff::Timestamp;

use super::{
    awaits, by_revision, commands, in_place, progress,
    promotion::{canary_is_gone, canary_pods_are_gone},
    replacing,
    stage::{Failure, PromotionPart, RollbackPart as Part, Stage},
    turn::Turn,
};
use crate::{
    provider::Split,
    settled::{Settled, TemplateVersion},
    sizes::weight_that_stays,
};

/// Starts going back; does nothing when the run goes back already or is over. A run that has
/// changed nothing yet fails at once.
pub(super) fn begin(turn: &mut Turn<'_>, failure: Failure) {
    let part = match &turn.state.stage {
        Stage::RollingBack { .. } | Stage::Succeeded | Stage::Failed { .. } => return,
        Stage::Initializing
        | Stage::Promoting {
            part: PromotionPart::Replacing { begun: false },
        } => {
            fail(turn, failure);
            return;
        }
        Stage::Promoting {
            part: PromotionPart::Replacing { .. },
        } => Part::Replacing,
        _ if turn.is_in_place() => in_place::way_back(turn),
        _ if turn.is_by_revision() => by_revision::way_back(turn),
        Stage::Promoting { part } if carries_new(turn, part) => Part::Unpinning,
        // Paused as it is, the workload makes no pods of the old version: it has to roll out.
        Stage::Step { .. } if old_version_is_gone(turn) => Part::Retemplating,
        _ => Part::Unloading,
    };
    let message = format!("the run goes back: {}", failure.message);
    turn.say(Severity::Error, "RollingBack", message);
    in_place::keep_one(turn);
    // Somebody may have given the canary requests by hand: its pods stay until nobody sends any.
    let mut routes = turn.seen.routes.iter();
    turn.state.routed |= routes.any(|route| route.weight.unwrap_or_default() > Weight::ZERO);
    turn.enter(Stage::RollingBack { failure, part });
    progress::restart(turn);
}

/// The workload has, or may have, another template than the old one.
fn carries_new(turn: &Turn<'_>, part: &PromotionPart) -> bool {
    !matches!(
        part,
        PromotionPart::Gathering { .. } | PromotionPart::Unpinning
    ) && turn
        .seen
        .workload
        .as_ref()
        .is_some_and(|workload| workload.template != TemplateVersion::Old)
}

/// The old version's ReplicaSet is gone, with the workload or alone.
pub(super) fn old_version_is_gone(turn: &Turn<'_>) -> bool {
    let replica_sets = &turn.seen.replica_sets;
    turn.seen.workload.is_none()
        || turn
            .state
            .stable
            .as_ref()
            .is_some_and(|stable| !replica_sets.iter().any(|set| set.hash == stable.hash))
}

pub(super) fn fail(turn: &mut Turn<'_>, failure: Failure) {
    let message = format!("the run failed: {}", failure.message);
    turn.say(Severity::Error, "Failed", message);
    turn.enter(Stage::Failed { failure });
}

pub(super) fn rolling_back(turn: &mut Turn<'_>, failure: Failure, part: Part) {
    if part == Part::Replacing {
        replacing::rolling_back(turn, failure);
        return;
    }
    if turn.is_in_place() {
        in_place::rolling_back(turn, failure, part);
        return;
    }
    if turn.is_by_revision() {
        by_revision::rolling_back(turn, failure, part);
        return;
    }
    let next = match part {
        Part::Replacing => None,
        Part::Unpinning => awaits::pins(turn, None).then_some(Part::Retemplating),
        Part::Retemplating => retemplating(turn),
        Part::Freezing { old } => freezing(turn, old),
        Part::Repinning { old } => repinning(turn, old),
        Part::Unloading => unloading(turn, &failure),
        Part::Settling { until } => settling(turn, until),
        Part::Draining { until } => draining(turn, &failure, until),
        Part::Shrinking => canary_pods_are_gone(turn).then_some(Part::Removing),
        Part::Removing => removing(turn),
        Part::Releasing => awaits::pins(turn, None).then_some(Part::Unpausing),
        Part::Unpausing => {
            if unpaused(turn) {
                fail(turn, failure);
            }
            return;
        }
    };
    if let Some(part) = next {
        turn.enter(Stage::RollingBack { failure, part });
    }
}

/// Waits for the old version, however long it takes: the canary serves meanwhile.
fn retemplating(turn: &mut Turn<'_>) -> Option<Part> {
    let old = awaits::stands(turn, TemplateVersion::Old)?;
    let known = turn
        .state
        .stable
        .as_ref()
        .is_none_or(|stable| stable.hash == old.hash);
    // The same template makes the same hash, unless its ReplicaSet was deleted in between. Another
    // hash is more likely the new version, whose update back has not begun.
    if known || progress::is_overdue(turn) {
        return Some(Part::Freezing { old });
    }
    let on = turn.grant.workload.to_string();
    turn.wait_on(
        "NotUpdated",
        format!("{on} has no pods of the old template yet"),
        &on,
    );
    None
}

fn freezing(turn: &mut Turn<'_>, old: Settled) -> Option<Part> {
    if !awaits::paused(turn, true) {
        return None;
    }
    if awaits::rolls(turn) || stands_on_another(turn) {
        return Some(Part::Retemplating);
    }
    let now = awaits::stands(turn, TemplateVersion::Old)?;
    Some(Part::Repinning {
        old: if now.hash == old.hash { old } else { now },
    })
}

/// What somebody else wrote before the pause has replaced every pod of the old version.
fn stands_on_another(turn: &Turn<'_>) -> bool {
    let workload = turn.seen.workload.as_ref();
    turn.seen.delivered_by_others
        && workload.is_some_and(|workload| workload.template != TemplateVersion::Old)
}

fn repinning(turn: &mut Turn<'_>, old: Settled) -> Option<Part> {
    if awaits::is_lost(turn, &old) {
        return Some(Part::Retemplating);
    }
    awaits::pins(turn, Some(&old.hash)).then(|| {
        turn.state.stable = Some(old);
        Part::Unloading
    })
}

/// Lowers the weight as the old version can carry the rest, and waits for the gateway.
fn unloading(turn: &mut Turn<'_>, failure: &Failure) -> Option<Part> {
    let (overdue, before) = (progress::is_overdue(turn), turn.state.split());
    let stays = turn
        .seen
        .workload
        .as_ref()
        .map_or(Weight::ZERO, |workload| {
            let ready = workload.ready.min(workload.available);
            weight_that_stays(ready, turn.whole_stable(workload))
        });
    let aim = if overdue { Weight::ZERO } else { stays };
    turn.state.weight = turn.state.weight.min(aim);
    turn.state.mirror = Weight::ZERO;
    // What matches may be anything, and it is what a bad version hurts most: it goes back as soon as
    // anybody can answer it.
    if aim < Weight::FULL {
        turn.state.matches.clear();
    } else if !turn.state.matches.is_empty() {
        let on = turn.grant.workload.to_string();
        let message = format!("requests that match stay until a pod of {on} is available");
        turn.wait_on("StableNotReady", message, &on);
        return None;
    }
    let weight = turn.state.weight;
    if weight > Weight::ZERO {
        let on = turn.grant.workload.to_string();
        let message = format!("the canary keeps {weight} % until more pods of {on} are available");
        turn.wait_on("StableNotReady", message, &on);
        return None;
    }
    if !overdue {
        turn.state.released.clear();
    }
    // Without a router what takes traffic from the canary is that its pods go.
    if !turn.state.wrote_routes() || turn.by_pods() {
        return Some(Part::Shrinking);
    }
    let away = awaits::routes(turn) & awaits::apart(turn);
    (away || is_given_up(turn, failure, &before)).then(|| Part::Settling {
        until: turn.after(turn.seen.route_settle),
    })
}

/// Tells whether routes are waited for no more. Who deletes everything deletes routes too, and nothing
/// is left that could carry a weight then; but one that carried `before` until now has the whole time
/// before it.
pub(super) fn is_given_up(turn: &mut Turn<'_>, failure: &Failure, before: &Split) -> bool {
    if turn.state.split() != *before {
        progress::restart(turn);
        return false;
    }
    progress::is_overdue(turn) && is_let_go(turn, failure)
}

/// Nobody is left who could bring the routes in order.
fn is_let_go(turn: &Turn<'_>, failure: &Failure) -> bool {
    failure.reason == FailureReason::TargetGone || commands::is_deleted(turn)
}

pub(super) fn settling(turn: &mut Turn<'_>, until: Timestamp) -> Option<Part> {
    if turn.now < until {
        let message = "the gateway's data plane takes the weight over";
        turn.wait_until(
            "Settling",
            message,
            until,
            "the canary counts as without traffic",
        );
        return None;
    }
    Some(Part::Draining {
        until: turn.after(turn.grant.plan.drain),
    })
}

pub(super) fn draining(turn: &mut Turn<'_>, failure: &Failure, until: Timestamp) -> Option<Part> {
    if turn.now < until {
        let message = "requests to the canary that are in flight end";
        turn.wait_until("Draining", message, until, "the canary is removed");
        return None;
    }
    let given_up = progress::is_overdue(turn) && is_let_go(turn, failure);
    (awaits::unnamed(turn) || given_up).then_some(Part::Shrinking)
}

/// The workload is released. One that somebody else writes may carry another template by now, whose pods
/// are taken back by the old version's own update: until that is over, what its owner wrote cannot be held.
fn unpaused(turn: &mut Turn<'_>) -> bool {
    if turn.seen.workload.is_none() {
        return true;
    }
    let released = awaits::paused(turn, false);
    let rolls = turn.seen.delivered_by_others && awaits::rolls(turn) && !progress::is_overdue(turn);
    if released && rolls {
        let on = turn.grant.workload.to_string();
        let message = format!("{on} takes pods of another template back");
        turn.wait_on("RollingUpdate", message, &on);
    }
    released && !rolls
}

fn removing(turn: &mut Turn<'_>) -> Option<Part> {
    turn.state.canary_pods = 0;
    canary_is_gone(turn).then_some(Part::Releasing)
}
