//! One decision, from what was seen to what is wanted.

use bellwether_api::{
    number::Weight,
    status::{FailureReason, Severity},
    track::RolloutTrackSpec,
};
use jiff::Timestamp;

use super::{
    adapted, commands,
    decision::Decision,
    hooking, in_place, notify,
    observations::Observations,
    progress, promotion, replacing, rollback,
    stage::{Failure, PromotionPart, RollbackPart, Shift, Stage, StepPart},
    start,
    state::RunState,
    steps,
    turn::Turn,
};

/// Stages that one decision may pass; more than any plan has.
const MAX_ROUNDS: usize = 1_000;

/// Decides how a run goes on. Stages whose aim is observed already are passed in one decision, so
/// that the same inputs with the result's `next` change nothing more.
#[must_use]
pub fn decide(
    now: Timestamp,
    grant: &RolloutTrackSpec,
    state: &RunState,
    seen: &Observations,
) -> Decision {
    let mut turn = Turn::new(now, grant, state, seen);
    if turn.state.is_terminal() {
        commands::take(&mut turn);
        return turn.decision();
    }
    if !seen.fresh {
        turn.suspended = commands::suspended_by(grant).is_some();
        turn.wait(
            "NotFresh",
            "the cluster has not been read since the last change",
        );
        return turn.decision();
    }
    in_place::follow_size(&mut turn);
    end(&mut turn);
    replacing::watch(&mut turn);
    drop_weight_of_lost_canary(&mut turn);
    for _ in 0..MAX_ROUNDS {
        let before = (turn.state.stage.clone(), turn.executed.len());
        turn.clear();
        hooking::watch(&mut turn);
        if !hold(&mut turn) {
            commands::take(&mut turn);
            advance(&mut turn);
        }
        let struck = progress::account(&mut turn);
        if !struck && (&turn.state.stage, turn.executed.len()) == (&before.0, before.1) {
            break;
        }
    }
    replacing::watch_no_longer(&mut turn);
    notify::of_step(&mut turn);
    turn.decision()
}

fn advance(turn: &mut Turn<'_>) {
    match turn.state.stage.clone() {
        Stage::Initializing => start::initializing(turn),
        Stage::Pausing => start::pausing(turn),
        Stage::Pinning => start::pinning(turn),
        Stage::Step { index, part } => steps::step(turn, index, &part),
        Stage::Promoting { part } => promotion::promoting(turn, part),
        Stage::RollingBack { failure, part } => rollback::rolling_back(turn, failure, part),
        Stage::Succeeded | Stage::Failed { .. } => {}
    }
}

/// Starts going back when the run was ended from outside.
fn end(turn: &mut Turn<'_>) {
    let gone = |message: &str| Failure {
        reason: FailureReason::TargetGone,
        message: message.to_owned(),
    };
    let absent = turn.seen.workload.is_none();
    // Deleted and made again while it was paused, a workload has no pods and makes none.
    let remade =
        matches!(turn.state.stage, Stage::Step { .. }) && rollback::old_version_is_gone(turn);
    let failure = commands::ended(turn)
        .or_else(|| {
            turn.seen
                .namespace_terminating
                .then(|| gone("the namespace is being deleted"))
        })
        .or_else(|| absent.then(|| gone(&format!("{} is gone", turn.grant.workload))))
        .or_else(|| {
            remade.then(|| {
                gone(&format!(
                    "the old version of {} is gone",
                    turn.grant.workload
                ))
            })
        })
        .or_else(|| adapted::confused(turn));
    if let Some(failure) = failure {
        rollback::begin(turn, failure);
    }
    let Stage::RollingBack { failure, part } = &turn.state.stage else {
        return;
    };
    if turn.seen.namespace_terminating {
        // Nothing can be created any more: what can be written back, the end state writes back.
        let failure = failure.clone();
        turn.state.unroute();
        turn.state.canary_pods = 0;
        turn.enter(Stage::Failed { failure });
        return;
    }
    let about_workload = matches!(
        part,
        RollbackPart::Unpinning
            | RollbackPart::Retemplating
            | RollbackPart::Freezing { .. }
            | RollbackPart::Repinning { .. }
    );
    // Somebody may make the workload anew, unless whoever deleted it wants its Rollout gone too.
    if absent && about_workload && (progress::is_overdue(turn) || commands::is_deleted(turn)) {
        let failure = failure.clone();
        turn.enter(Stage::RollingBack {
            failure,
            part: RollbackPart::Unloading,
        });
    }
}

/// Takes the weight from a canary that cannot answer, whatever else holds the run.
fn drop_weight_of_lost_canary(turn: &mut Turn<'_>) {
    if turn.state.split().is_none() || !turn.canary_is_lost() {
        return;
    }
    let has = routed_to_canary(turn);
    let message = format!("no canary pod is ready while the canary has {has}; it gets none");
    turn.state.unroute();
    turn.state.serving_pods = 0;
    turn.say(Severity::Warn, "CanaryLost", message);
    match turn.state.stage.clone() {
        // Only a human lets go what a human was asked about.
        Stage::Step {
            part: StepPart::Held { .. },
            ..
        } => {}
        Stage::Step { index, .. } => turn.enter(Stage::Step {
            index,
            part: StepPart::Scaling,
        }),
        Stage::Promoting {
            part: PromotionPart::Shifting { new, .. },
        } => {
            let part = PromotionPart::Shifting {
                new,
                shift: Shift::Routing,
            };
            turn.enter(Stage::Promoting { part });
        }
        _ => {}
    }
}

fn routed_to_canary(turn: &Turn<'_>) -> String {
    let split = turn.state.split();
    if !split.matches.is_empty() && split.weight == Weight::ZERO {
        return "the requests that match".to_owned();
    }
    if split.weight == Weight::ZERO {
        return format!("a mirror of {} % of the traffic", split.mirror);
    }
    format!("{} % of the traffic", split.weight)
}

/// Tells whether the run stays where it is because a human stopped it or edited its objects.
fn hold(turn: &mut Turn<'_>) -> bool {
    turn.suspended = false;
    turn.holds_edit = false;
    if turn.state.is_terminal() || matches!(turn.state.stage, Stage::RollingBack { .. }) {
        return false;
    }
    if let Some(by) = commands::suspended_by(turn.grant) {
        turn.suspended = true;
        turn.wait_on(
            "Suspended",
            "the run is suspended; weights stay until it is resumed",
            by,
        );
    }
    // Before anything was changed there is nothing to hold: drift is corrected as ever.
    if turn.state.stage != Stage::Initializing && !turn.seen.foreign_edits.is_empty() {
        turn.holds_edit = true;
        let message = format!(
            "somebody changed objects of the run: {}; take the change back, or abort",
            turn.seen.foreign_edits.join("; ")
        );
        turn.wait("ForeignEdit", message);
    }
    turn.stands_still = turn.suspended || turn.holds_edit;
    turn.stands_still
}
