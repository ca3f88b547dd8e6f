//! The steps of a plan: which weights, in which order, and how each is left.

use bellwether_api::{
    duration::Dur,
    number::{IntOrPercent, Weight},
    rollout::{Advance, Canary},
};

/// One step of a plan, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Its name; absent = its number.
    pub name: Option<String>,
    /// The canary's share of traffic.
    pub weight: Weight,
    /// The canary's pods; absent = the share of traffic.
    pub replicas: Option<IntOrPercent>,
    /// How it is left once its checks pass.
    pub advance: Advance,
    /// How long [`Advance::After`] stays; zero otherwise.
    pub after: Dur,
}

/// Lists the steps of a canary, in order; empty when the canary has no form at all, which
/// validation refuses. The linear form is clamped to `maxWeight` (10 up to 55 gives 10, 20, 30, 40,
/// 50, 55).
#[must_use]
pub fn planned_steps(canary: &Canary) -> Vec<PlannedStep> {
    if !canary.steps.is_empty() {
        return canary
            .steps
            .iter()
            .map(|step| explicit(step, canary.advance))
            .collect();
    }
    let advance = canary.advance.unwrap_or(Advance::Auto);
    let weights = if canary.weights.is_empty() {
        linear_weights(canary)
    } else {
        canary.weights.clone()
    };
    let plain = |weight| PlannedStep {
        name: None,
        weight,
        replicas: None,
        advance,
        after: Dur::default(),
    };
    weights.into_iter().map(plain).collect()
}

fn explicit(step: &bellwether_api::rollout::Step, default: Option<Advance>) -> PlannedStep {
    let advance = step.advance.or(default).unwrap_or(Advance::Manual);
    PlannedStep {
        name: step.name.clone(),
        weight: step.weight,
        replicas: step.replicas,
        advance,
        after: step
            .after
            .filter(|_| advance == Advance::After)
            .unwrap_or_default(),
    }
}

fn linear_weights(canary: &Canary) -> Vec<Weight> {
    let Some(step) = canary
        .step_weight
        .map(Weight::percent)
        .filter(|step| *step > 0)
    else {
        return Vec::new();
    };
    let max = canary.max_weight.unwrap_or(Weight::FULL).percent();
    let mut weights = Vec::new();
    let mut weight = 0u8;
    while weight < max {
        weight = weight.saturating_add(step).min(max);
        weights.extend(Weight::new(weight));
    }
    weights
}

/// Returns the canary's next weight while traffic returns to the promoted workload: `step` less,
/// or 0 in one go when the plan has no `stepWeightPromotion`.
#[must_use]
pub fn next_promotion_weight(current: Weight, step: Option<Weight>) -> Weight {
    match step {
        Some(step) if step > Weight::ZERO => {
            Weight::clamped(u32::from(current.percent().saturating_sub(step.percent())))
        }
        _ => Weight::ZERO,
    }
}

#[cfg(test)]
mod tests;
