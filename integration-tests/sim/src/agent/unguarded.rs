//! What an agent makes of its cluster whose guard was removed.

use bellwether_agent_core::{
    machine::{CanaryWant, Overlay, Stage, StepPart},
    provider::Split,
    weights::planned_steps,
};
use bellwether_api::strategy::InstancesMode;

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
