use bellwether_api::{
    command::Command,
    rollout::OnDeletion,
    standing_grant::StandingGrant,
    status::{UnitOutcome, UnitStatus},
};

/// What becomes of a grant whose Rollout was deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Parting {
    /// It is taken away: a run under way goes back, and the workload is let go of.
    TakeAway,
    /// The run under way goes on to its end first, without waiting for humans.
    Complete(Box<StandingGrant>),
    /// It was told so, and has not ended yet.
    Completes,
}

/// Says what becomes of a grant whose Rollout was deleted; `status` is the cluster's last report. A run
/// that goes back already is not brought in again, and one that is not known of is not waited for.
#[must_use]
pub fn part(grant: &StandingGrant, status: Option<&UnitStatus>) -> Parting {
    let under_way =
        status.filter(|status| !status.run.is_nil() && status.outcome == UnitOutcome::Progressing);
    let Some(status) = under_way.filter(|_| grant.spec.on_deletion == OnDeletion::Complete) else {
        return Parting::TakeAway;
    };
    let said = grant.command.as_ref();
    let said = said.filter(|command| command.run == status.run);
    if said.is_some_and(|command| command.abort.is_some()) {
        return Parting::TakeAway;
    }
    if grant.ends() {
        return match said {
            Some(_) => Parting::Completes,
            // That run has ended, and another began before the grant could be taken away.
            None => Parting::TakeAway,
        };
    }
    let mut next = grant.clone();
    // Whoever suspended it did so before it was to be finished.
    next.spec.suspend = false;
    next.command = Some(Command {
        run: status.run,
        attempt: status.attempt,
        suspend: false,
        complete: vec![grant.rollout.name.clone()],
        ..said.cloned().unwrap_or_default()
    });
    Parting::Complete(Box::new(next))
}
