use bellwether_api::{
    call::ActionVerb,
    command::{Abort, AbortCause, Command, CommandSource, MAX_QUEUED, QueuedCommand, Verb},
    standing_grant::StandingGrant,
    status::{UnitOutcome, UnitStatus},
    strategy::Manual,
};

/// What somebody says to the run of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// What to do.
    pub verb: ActionVerb,
    /// The step that was seen, from 0; absent = whichever is current.
    pub step: Option<u32>,
    /// What `setweight` sets; absent for every other verb.
    pub set: Option<Manual>,
    /// Who.
    pub by: &'a str,
    /// Why; empty when nothing was said.
    pub reason: &'a str,
}

/// Why a word does nothing in a cluster.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is under way there.
    #[error("no run is under way there")]
    NoRun,
    /// Nothing failed there.
    #[error("no change failed there")]
    NothingFailed,
    /// Whoever delivers the workload says what runs.
    #[error(
        "the hub makes no releases of a workload that somebody else delivers: deliver the version that is wanted, or abort the run"
    )]
    NoReleases,
    /// Too much was said already.
    #[error("{MAX_QUEUED} commands wait there already")]
    Full,
}

/// Makes a grant say what somebody said to the cluster's run; `status` is its last report.
///
/// # Errors
/// Says why it would do nothing.
pub fn act(
    grant: &StandingGrant,
    status: Option<&UnitStatus>,
    said: Said<'_>,
) -> Result<StandingGrant, Refusal> {
    let mut next = grant.clone();
    if matches!(said.verb, ActionVerb::Rollback | ActionVerb::Finish) {
        return Err(Refusal::NoReleases);
    }
    if said.verb == ActionVerb::Retry {
        if status.is_none_or(|status| status.outcome != UnitOutcome::Failed) {
            return Err(Refusal::NothingFailed);
        }
        next.retries += 1;
        next.command = None;
        return Ok(next);
    }
    let under_way = |status: &&UnitStatus| {
        !status.run.is_nil()
            && matches!(
                status.outcome,
                UnitOutcome::Progressing | UnitOutcome::RollingBack
            )
    };
    let status = status.filter(under_way).ok_or(Refusal::NoRun)?;
    let mut command = next
        .command
        .take()
        .filter(|command| command.run == status.run)
        .unwrap_or_else(|| Command {
            run: status.run,
            attempt: status.attempt,
            ..Command::default()
        });
    match said.verb {
        ActionVerb::Suspend => command.suspend = true,
        ActionVerb::Resume if command.suspend => command.suspend = false,
        ActionVerb::Abort => {
            command.abort = Some(Abort {
                cause: AbortCause::Manual,
                by: said.by.to_owned(),
                reason: said.reason.to_owned(),
            });
        }
        ActionVerb::Approve => queue(&mut command, status, Verb::Approve, said)?,
        ActionVerb::Promote => queue(&mut command, status, Verb::Promote, said)?,
        ActionVerb::Skip => queue(&mut command, status, Verb::Skip, said)?,
        ActionVerb::SetWeight => queue(&mut command, status, Verb::SetWeight, said)?,
        ActionVerb::Resume => queue(&mut command, status, Verb::Resume, said)?,
        ActionVerb::Retry => return Err(Refusal::NothingFailed),
        ActionVerb::Rollback | ActionVerb::Finish => return Err(Refusal::NoReleases),
    }
    next.command = Some(command);
    Ok(next)
}

fn queue(
    command: &mut Command,
    status: &UnitStatus,
    verb: Verb,
    said: Said<'_>,
) -> Result<(), Refusal> {
    let answered = || {
        status
            .executed
            .iter()
            .filter(|one| one.source == CommandSource::Hub)
            .map(|one| one.id)
    };
    let known = command.queue.iter().map(|one| one.id);
    let id = known.chain(answered()).max().unwrap_or(0) + 1;
    command
        .queue
        .retain(|one| !answered().any(|id| id == one.id));
    if command.queue.len() >= MAX_QUEUED {
        return Err(Refusal::Full);
    }
    // Said twice, or too late, it must not speak of a step that nobody has seen.
    let stands_at = status.rollouts.first().and_then(|track| track.step);
    let of_step = matches!(verb, Verb::Approve | Verb::Skip);
    command.queue.push(QueuedCommand {
        id,
        verb,
        step: said.step.or(stands_at.filter(|_| of_step)),
        // The agent alone counts changes; the run is named.
        revision: 0,
        by: said.by.to_owned(),
        reason: said.reason.to_owned(),
        set: said.set,
    });
    Ok(())
}
