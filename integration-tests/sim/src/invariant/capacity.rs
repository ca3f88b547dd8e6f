//! Pods and traffic as they really are, every second: what the agent did to them.

use super::broken::Broken;
use crate::{agent::Agent, member::Member};

/// Judges one cluster; what people, autoscalers and dying pods did to it lately is no fault of the
/// agent.
///
/// # Errors
/// The rule that is broken.
pub fn capacity(agent: &Agent) -> Result<(), Broken> {
    agent.shared_what_it_saw()?;
    let member = &agent.member;
    if member.gave_unknown() {
        let detail = format!(
            "the gateway does not know whom it gives {:?}",
            member.carried
        );
        return Err(Broken::new("I2-unknown", detail));
    }
    if member.is_excused() || member.image.is_empty() {
        return Ok(());
    }
    enough_pods(member)?;
    carried_by_pods(member)
}

/// I1: not fewer pods are available than the user wants, but for one that is being updated in place,
/// and not more are there than twice as many beside a canary of that size.
fn enough_pods(member: &Member) -> Result<(), Broken> {
    let whole = member.whole();
    let (all, ready) = member.pods();
    let spared = u32::from(member.ordered.is_some()).max(member.particulars.update_takes);
    let available = ready + member.canary_ready();
    if available + spared < whole {
        let detail = format!("{available} of {whole} pods are available: {member:?}");
        return Err(Broken::new("I1-available", detail));
    }
    let canary = member.canary.as_ref().map_or(0, |canary| canary.replicas);
    if all > whole * 2 || canary > whole.max(8) {
        let detail = format!("{all} pods and {canary} canary pods, {whole} are wanted");
        return Err(Broken::new("I1-surge", detail));
    }
    Ok(())
}

/// I2, I4: what the gateway carries, there are pods for, and they are not taken away before it does
/// not carry it any more.
fn carried_by_pods(member: &Member) -> Result<(), Broken> {
    if member.names_nobody() {
        let detail = format!("{:?} names a Service that is gone", member.carried);
        return Err(Broken::new("I4-route", detail));
    }
    // A canary that gives its traffic back is not resized any more.
    let canary = member.canary.as_ref();
    let size = canary.map_or(member.whole(), |canary| canary.least);
    let share = u32::from(member.carried.weight.percent());
    let needed = (size * share).div_ceil(100);
    // Requests that match, and mirrored ones, need somebody who answers.
    let needed = needed.max(u32::from(!member.carried.is_none()));
    let wanted = canary.map_or(0, |canary| canary.replicas);
    if wanted < needed {
        let detail = format!(
            "{wanted} canary pods are wanted while the gateway gives them {:?}",
            member.carried
        );
        return Err(Broken::new("I4-route", detail));
    }
    if member.canary_ready() < needed {
        let detail = format!(
            "{} canary pods are ready while the gateway gives them {:?}",
            member.canary_ready(),
            member.carried
        );
        return Err(Broken::new("I2-traffic", detail));
    }
    Ok(())
}
