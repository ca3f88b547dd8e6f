//! The way back of a run in place: requests first, as the old version's pods can take them, then the
//! pods.

use bellwether_api::number::Weight;

use super::{
    super::{
        awaits, commands, progress, rollback,
        stage::{Failure, RollbackPart as Part, Stage},
        state::Apex,
        turn::Turn,
    },
    restored, split, stands,
};
use crate::{settled::TemplateVersion, sizes::weight_that_stays};

/// Where a run begins to go back.
pub(in super::super) fn way_back(turn: &Turn<'_>) -> Part {
    let state = &turn.state;
    let apart = state
        .in_place
        .as_ref()
        .is_some_and(|run| run.apart.is_some());
    if apart && (state.wrote_routes() || !state.split().is_none()) {
        Part::Unloading
    } else {
        Part::Retemplating
    }
}

/// Remembers which partition leaves one new pod that answers, so that the run's own Service is not
/// emptied before the route has forgotten it. Of pods by ordinal the ready ones are the last.
pub(in super::super) fn keep_one(turn: &mut Turn<'_>) {
    let answering = turn.seen.canary_endpoints.ready_count().max(1);
    let by_ordinal = split::by_ordinal(turn);
    let Some(run) = &mut turn.state.in_place else {
        return;
    };
    if let Some(apart) = &mut run.apart {
        let before = run.total.saturating_sub(answering);
        apart.keeps_one = if by_ordinal { before + 1 } else { 1 };
    }
}

/// Requests leave the new version, every pod becomes old again, however long that takes; then
/// everything becomes what the user wrote.
pub(in super::super) fn rolling_back(turn: &mut Turn<'_>, failure: Failure, part: Part) {
    let absent = turn.seen.workload.is_none();
    let next = match part {
        Part::Unloading => unloading(turn, &failure),
        Part::Settling { until } => rollback::settling(turn, until),
        Part::Draining { until } => rollback::draining(turn, &failure, until),
        Part::Retemplating | Part::Shrinking => {
            let nobody_waits = progress::is_overdue(turn) || commands::is_deleted(turn);
            let given_up = absent && part == Part::Shrinking && nobody_waits;
            let back = given_up || stands(turn, TemplateVersion::Old).is_some();
            back.then_some(Part::Removing)
        }
        Part::Removing => split::service_is_gone(turn).then_some(Part::Releasing),
        Part::Releasing => split::released(turn).then_some(Part::Unpausing),
        _ => {
            if absent || restored(turn, TemplateVersion::Old) {
                rollback::fail(turn, failure);
            }
            return;
        }
    };
    if let Some(part) = next {
        turn.enter(Stage::RollingBack { failure, part });
    }
}

/// Lowers the weight as the old version can carry the rest, and waits for the gateway. Its pods come
/// back one at a time, as in every rolling update, so that all but one of them are enough.
fn unloading(turn: &mut Turn<'_>, failure: &Failure) -> Option<Part> {
    let (overdue, before) = (progress::is_overdue(turn), turn.state.split());
    let run = turn.state.in_place.as_ref()?;
    let pinned = run
        .apart
        .as_ref()
        .is_some_and(|apart| apart.apex == Apex::Old);
    // A Service of every pod can answer everything.
    let aim = if overdue || !pinned {
        Weight::ZERO
    } else {
        let ready = turn.seen.apex_endpoints.ready_count();
        weight_that_stays(ready, run.total.saturating_sub(1))
    };
    let on = turn.grant.workload.to_string();
    turn.state.weight = turn.state.weight.min(aim);
    if aim == Weight::FULL && !turn.state.matches.is_empty() {
        let message = format!("requests that match stay until an old pod of {on} is ready");
        turn.wait_on("StableNotReady", message, &on);
        return None;
    }
    turn.state.matches.clear();
    let weight = turn.state.weight;
    if weight > Weight::ZERO {
        let message = format!("the new pods keep {weight} % until more old pods of {on} are ready");
        turn.wait_on("StableNotReady", message, &on);
        return None;
    }
    let given_up = rollback::is_given_up(turn, failure, &before);
    (awaits::routes(turn) || given_up).then(|| Part::Settling {
        until: turn.after(turn.seen.route_settle),
    })
}
