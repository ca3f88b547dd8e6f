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
    /// What failed there is not back yet.
    #[error("the run there still goes back; retry once it has ended (see why)")]
    GoesBack,
    /// Whoever delivers the workload says what runs.
    #[error(
        "the hub makes no releases of a workload that somebody else delivers: deliver the version that is wanted, or abort the run"
    )]
    NoReleases,
    /// A run leaves nothing behind that would be put away.
    #[error(
        "a run that has ended leaves nothing to put away: a change that failed stays held until another version is delivered, or it is retried"
    )]
    NothingKept,
    /// Too much was said already.
    #[error("{MAX_QUEUED} commands wait there already")]
    Full,
}

/// What can be said to a run that is under way.
#[derive(Clone, Copy, Debug)]
enum Word {
    Suspend,
    Resume,
    Abort,
    Queue(Verb),
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
    let word = match said.verb {
        ActionVerb::Rollback => return Err(Refusal::NoReleases),
        ActionVerb::Finish => return Err(Refusal::NothingKept),
        ActionVerb::Retry => return retried(grant, status),
        ActionVerb::Suspend => Word::Suspend,
        ActionVerb::Resume => Word::Resume,
        ActionVerb::Abort => Word::Abort,
        ActionVerb::Approve => Word::Queue(Verb::Approve),
        ActionVerb::Promote => Word::Queue(Verb::Promote),
        ActionVerb::Skip => Word::Queue(Verb::Skip),
        ActionVerb::SetWeight => Word::Queue(Verb::SetWeight),
    };
    let under_way = |status: &&UnitStatus| {
        !status.run.is_nil()
            && matches!(
                status.outcome,
                UnitOutcome::Progressing | UnitOutcome::RollingBack
            )
    };
    let status = status.filter(under_way).ok_or(Refusal::NoRun)?;
    let mut next = grant.clone();
    let mut command = next
        .command
        .take()
        .filter(|command| command.run == status.run)
        .unwrap_or_else(|| Command {
            run: status.run,
            attempt: status.attempt,
            ..Command::default()
        });
    match word {
        Word::Suspend => command.suspend = true,
        Word::Resume if command.suspend => command.suspend = false,
        Word::Resume => queue(&mut command, status, Verb::Resume, said)?,
        Word::Abort => {
            command.abort = Some(Abort {
                cause: AbortCause::Manual,
                by: said.by.to_owned(),
                reason: said.reason.to_owned(),
            });
        }
        Word::Queue(verb) => queue(&mut command, status, verb, said)?,
    }
    next.command = Some(command);
    Ok(next)
}

fn retried(grant: &StandingGrant, status: Option<&UnitStatus>) -> Result<StandingGrant, Refusal> {
    match status.map(|status| status.outcome) {
        Some(UnitOutcome::Failed) => {}
        Some(UnitOutcome::RollingBack) => return Err(Refusal::GoesBack),
        _ => return Err(Refusal::NothingFailed),
    }
    let mut next = grant.clone();
    next.retries += 1;
    next.command = None;
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
