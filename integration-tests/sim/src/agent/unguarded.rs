//! What an agent makes of its cluster, and hears, whose guard was removed.

use std::borrow::Cow;

use bellwether_agent_core::{
    machine::{CanaryWant, Overlay, RunState, Stage, StepPart},
    provider::Split,
    weights::planned_steps,
};
use bellwether_api::{strategy::InstancesMode, track::RolloutTrackSpec};
use jiff::Timestamp;

use super::durable::Track;
use crate::Mutant;

/// Pods of a canary whose size nothing bounds, beside those that it is to have.
const SURPLUS: u32 = 9;

/// What it wants of the cluster.
pub(super) fn overlay(track: &Track, mutant: Mutant) -> Overlay {
    let mut overlay = Overlay::of(&track.state);
    let steps = planned_steps(&track.spec.plan.strategy);
    let begun = match &track.state.stage {
        Stage::Step {
            index,
            part: StepPart::Scaling,
        } => usize::try_from(*index)
            .ok()
            .and_then(|index| steps.get(index)),
        _ => None,
    };
    match mutant {
        Mutant::ShareBlindly => overlay.replicas_over = None,
        Mutant::OversizeCanary => {
            overlay.canary = overlay.canary.map(|canary| CanaryWant {
                replicas: canary.replicas + SURPLUS,
            });
        }
        Mutant::TakePodsFirst => {
            let shares = track.spec.plan.instances.mode == InstancesMode::FixedTotal;
            let stable = track.state.stable.as_ref().filter(|_| shares);
            if let (Some(stable), Some(canary), Some(_)) = (stable, overlay.canary, begun) {
                let rest = stable.replicas.saturating_sub(canary.replicas);
                overlay.replicas = Some(rest.max(1));
            }
        }
        Mutant::RouteFirst => {
            if let Some(step) = begun {
                overlay.split = Split::by_weight(step.weight);
            }
        }
        _ => {}
    }
    overlay
}

/// What it remembers of the run.
pub(super) fn state(state: &RunState, mutant: Mutant) -> Cow<'_, RunState> {
    if mutant != Mutant::ReplaceAtOnce || state.broken_since.is_none() {
        return Cow::Borrowed(state);
    }
    Cow::Owned(RunState {
        broken_since: Some(Timestamp::UNIX_EPOCH),
        ..state.clone()
    })
}

/// The grant as it hears it; absent = as it is.
pub(super) fn grant(spec: &RolloutTrackSpec, mutant: Mutant) -> Option<RolloutTrackSpec> {
    let mut heard = spec.clone();
    match mutant {
        Mutant::IgnoreCommands => {
            heard.command.abort = None;
            heard.command.suspend = false;
        }
        Mutant::NoDeadline => {
            heard.plan.progress_deadline = bellwether_api::duration::Dur::from_secs(86_400);
        }
        Mutant::SkipHooks => heard.plan.hooks.clear(),
        Mutant::WidenMatch => heard
            .plan
            .strategy
            .ab_test
            .as_mut()?
            .matches
            .iter_mut()
            .for_each(|item| item.headers.clear()),
        Mutant::SkipStep => {
            let canary = heard.plan.strategy.canary.as_mut()?;
            if canary.weights.len() > 1 {
                canary.weights.remove(0);
            } else if canary.steps.len() > 1 {
                canary.steps.remove(0);
            }
        }
        _ => return None,
    }
    Some(heard)
}
