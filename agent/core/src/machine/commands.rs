//! What humans and the hub say: suspension, abort, and one-shot commands.

use bellwether_api::{
    command::{
        Abort, AbortCause, Command, CommandOutcome, CommandSource, ExecutedCommand, QueuedCommand,
        Verb,
    },
    rollout::OnDeletion,
    status::{FailureReason, Severity},
    track::RolloutTrackSpec,
};

use super::{
    approvals::{self, Given},
    hooking, replacing,
    stage::{Failure, Stage, StepPart},
    state::{Answered, MAX_EXECUTED},
    steps,
    turn::Turn,
};

/// Lists the commands that speak of this attempt of this run; those of another run say nothing.
/// A local command without a run speaks of whichever is there. The local one comes first, because
/// its abort wins.
fn sources(grant: &RolloutTrackSpec) -> Vec<(CommandSource, &Command)> {
    let named = |command: &&Command| command.run == grant.run && command.attempt == grant.attempt;
    let local = grant
        .local
        .as_ref()
        .filter(|command| command.run.is_nil() || named(command));
    let hub = Some(&grant.command).filter(named);
    local
        .map(|command| (CommandSource::Local, command))
        .into_iter()
        .chain(hub.map(|command| (CommandSource::Hub, command)))
        .collect()
}

/// Tells who suspends the run.
pub(super) fn suspended_by(grant: &RolloutTrackSpec) -> Option<&'static str> {
    let commanded = sources(grant)
        .into_iter()
        .find(|(_, command)| command.suspend);
    match commanded {
        Some((CommandSource::Local, _)) => Some("spec.local.suspend of the RolloutTrack"),
        Some((CommandSource::Hub, _)) => Some("the hub"),
        None => grant.plan.suspend.then_some("spec.suspend of the Rollout"),
    }
}

/// Tells whether the run was ended from outside, and why. That its track is deleted ends no run
/// that is to be completed first, unless nothing was changed yet.
pub(super) fn ended(turn: &Turn<'_>) -> Option<Failure> {
    let completes = completes(turn) && turn.state.stage != Stage::Initializing;
    sources(turn.grant)
        .into_iter()
        .filter_map(|(_, command)| command.abort.as_ref())
        .map(aborted)
        .next()
        .or_else(|| {
            (turn.seen.deleted && !completes).then(|| Failure {
                reason: FailureReason::Deleted,
                message: "the Rollout is being deleted".to_owned(),
            })
        })
}

/// Tells whether the Rollout goes away, whatever ended the run before.
pub(super) fn is_deleted(turn: &Turn<'_>) -> bool {
    let aborts = sources(turn.grant)
        .into_iter()
        .filter_map(|(_, command)| command.abort.as_ref());
    turn.seen.deleted
        || aborts
            .into_iter()
            .any(|abort| abort.cause == AbortCause::Deleted)
}

/// Tells whether the Rollout goes away and wants its run completed first.
pub(super) fn completes(turn: &Turn<'_>) -> bool {
    let commanded = |(_, command): &(CommandSource, &Command)| !command.complete.is_empty();
    turn.grant.plan.on_deletion == OnDeletion::Complete
        && (turn.seen.deleted || sources(turn.grant).iter().any(commanded))
}

fn aborted(abort: &Abort) -> Failure {
    let (reason, what) = match abort.cause {
        AbortCause::Manual => (FailureReason::Manual, "aborted"),
        AbortCause::Superseded => (FailureReason::Superseded, "superseded by a newer release"),
        AbortCause::Deleted => (FailureReason::Deleted, "deleted"),
        AbortCause::RollbackAll => (
            FailureReason::RollbackAll,
            "rolled back together with the other clusters",
        ),
    };
    Failure {
        reason,
        message: format!("{what} by {}", said(&abort.by, &abort.reason)),
    }
}

fn said(by: &str, reason: &str) -> String {
    let by = if by.is_empty() { "somebody" } else { by };
    if reason.is_empty() {
        by.to_owned()
    } else {
        format!("{by}: {reason}")
    }
}

enum Answer {
    Executed,
    Stale(String),
    /// It takes effect later: the run is not there yet.
    Pending,
}

/// Answers the one-shot commands that can be answered, each once.
pub(super) fn take(turn: &mut Turn<'_>) {
    for (source, command) in sources(turn.grant) {
        let anonymous = source == CommandSource::Local && command.run.is_nil();
        for queued in &command.queue {
            if answered(turn, source).contains(queued.id) {
                continue;
            }
            let (outcome, message) = match answer(turn, queued, anonymous) {
                Answer::Pending => continue,
                Answer::Executed => (CommandOutcome::Executed, String::new()),
                Answer::Stale(why) => (CommandOutcome::Stale, why),
            };
            answered(turn, source).insert(queued.id);
            tell(turn, queued, outcome, &message);
            let executed = ExecutedCommand {
                source,
                id: queued.id,
                outcome,
                message,
                rollout: String::new(),
            };
            turn.state.executed.push(executed.clone());
            let surplus = turn.state.executed.len().saturating_sub(MAX_EXECUTED);
            turn.state.executed.drain(..surplus);
            turn.executed.push(executed);
        }
    }
}

fn answered<'t>(turn: &'t mut Turn<'_>, source: CommandSource) -> &'t mut Answered {
    match source {
        CommandSource::Hub => &mut turn.state.hub,
        CommandSource::Local => &mut turn.state.local,
    }
}

fn tell(turn: &mut Turn<'_>, queued: &QueuedCommand, outcome: CommandOutcome, why: &str) {
    let who = said(&queued.by, &queued.reason);
    match outcome {
        CommandOutcome::Executed => {
            let (reason, what) = match queued.verb {
                Verb::Approve => ("Approved", "approved"),
                Verb::Promote => ("PromotedEarly", "promoted without the remaining steps"),
                Verb::Skip => ("StepSkipped", "skipped the step"),
                Verb::SetWeight => ("WeightSet", "set the weight by hand"),
                Verb::Resume => ("Resumed", "resumed the step that was paused"),
            };
            let mut message = format!("{who} {what}");
            if let Some(set) = queued.set {
                message.push_str(&format!(": {set}"));
            }
            turn.say(Severity::Info, reason, message);
        }
        CommandOutcome::Stale => {
            let message = format!("{:?} of {who} did nothing: {why}", queued.verb);
            turn.say(Severity::Warn, "CommandStale", message);
        }
    }
}

/// Takes an approval for a hook's gate; `otherwise` = why it does nothing where no hook wants one.
fn approve_hook(turn: &mut Turn<'_>, queued: &QueuedCommand, otherwise: &str) -> Answer {
    match approvals::give(turn, &queued.by) {
        Given::Counts => Answer::Executed,
        Given::NotWanted => Answer::Stale(otherwise.to_owned()),
        Given::Refused(why) => Answer::Stale(why),
    }
}

fn answer(turn: &mut Turn<'_>, queued: &QueuedCommand, anonymous: bool) -> Answer {
    let revision = turn.grant.revision;
    if queued.revision != revision && !(anonymous && queued.revision == 0) {
        let message = format!(
            "it speaks of revision {}, this is {revision}",
            queued.revision
        );
        return Answer::Stale(message);
    }
    if queued.verb == Verb::Promote && replacing::may_begin(turn) {
        replacing::begin(turn, &said(&queued.by, &queued.reason));
        return Answer::Executed;
    }
    let stale = |why: &str| Answer::Stale(why.to_owned());
    let (index, part) = match &turn.state.stage {
        Stage::Initializing if queued.verb == Verb::Approve => {
            return approve_hook(turn, queued, "no step is under way yet");
        }
        // Promotion skips steps, not the preparations that keep traffic safe.
        Stage::Initializing | Stage::Pausing | Stage::Pinning => {
            turn.promote_pending |= queued.verb == Verb::Promote;
            return match queued.verb {
                Verb::Promote | Verb::SetWeight => Answer::Pending,
                Verb::Approve | Verb::Skip | Verb::Resume => stale("no step is under way yet"),
            };
        }
        Stage::Step { index, part } => (*index, part.clone()),
        Stage::Promoting { .. } => return stale("the run promotes already"),
        Stage::RollingBack { .. } => return stale("the run goes back"),
        Stage::Succeeded | Stage::Failed { .. } => return stale("the run is over"),
    };
    if let Some(step) = queued.step.filter(|step| *step != index) {
        return Answer::Stale(format!("it speaks of step {step}, this is step {index}"));
    }
    let by = said(&queued.by, &queued.reason);
    match (queued.verb, part) {
        (Verb::Promote, _) => steps::promote(turn, &by),
        (Verb::Skip, _) => steps::skip(turn, &by),
        (Verb::Approve, StepPart::Scaling) => {
            return approve_hook(turn, queued, "no gate is waiting");
        }
        (Verb::Approve, StepPart::Gate { .. }) if !hooking::takes_approval(turn, index) => {
            let why = "the gate waits for a hook; skip and promote go on without it";
            return approve_hook(turn, queued, why);
        }
        (Verb::Approve, StepPart::Gate { verdict, .. }) if steps::lets_pass(verdict) => {
            // One word opens the step's own gate and counts for the one beside it.
            let _counted = approvals::give(turn, &queued.by);
            hooking::approve(turn, index, verdict, &by);
        }
        (Verb::Approve, StepPart::Gate { .. }) => {
            turn.approve_pending = true;
            return Answer::Pending;
        }
        (Verb::Approve | Verb::Resume, StepPart::Held { .. }) => steps::let_go(turn),
        (Verb::Approve, _) => return stale("no gate is waiting"),
        (Verb::Resume, _) => return stale("nothing is paused after a failure"),
        (Verb::SetWeight, _) => match steps::set_weight(turn, queued.set) {
            Ok(()) => {}
            Err(why) => return stale(why),
        },
    }
    Answer::Executed
}
