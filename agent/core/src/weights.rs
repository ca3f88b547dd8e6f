//! The steps of a plan: which requests go where, in which order, and how each step is left.

use bellwether_api::{
    alert_provider::AlertRef,
    duration::Dur,
    matching::Match,
    number::{IntOrPercent, Weight},
    strategy::{
        AbTest, Advance, AnalysisTraffic, Batch, BatchStep, BlueGreen, Canary, Step, Strategy,
    },
};

/// One step of a plan, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Its name; absent = its number.
    pub name: Option<String>,
    /// The canary's share of the requests that no match takes.
    pub weight: Weight,
    /// Requests that go to the canary whatever the weight; empty = none.
    pub matches: Vec<Match>,
    /// The share of the other requests that is also sent to the canary; 0 = none.
    pub mirror: Weight,
    /// The canary's pods; absent = as many as its share needs.
    pub replicas: Option<IntOrPercent>,
    /// Checks that must pass, at least 1.
    pub iterations: u32,
    /// How it is left once its checks pass.
    pub advance: Advance,
    /// How long [`Advance::After`] stays; zero otherwise.
    pub after: Dur,
    /// Whether that time is one in which the old version stands by without traffic.
    pub standby: bool,
    /// Whether a human sets its weight and pods while it lasts.
    pub by_hand: bool,
    /// Whether an update in place leaves the share of traffic to the number of pods: it says nothing
    /// of where requests go.
    pub by_pods: bool,
    /// Who is told that it begins, and that it waits for a human; empty = nobody.
    pub notify: Vec<AlertRef>,
}

impl PlannedStep {
    /// A step of one check that splits by weight alone.
    #[must_use]
    pub fn of_weight(weight: Weight, advance: Advance) -> Self {
        Self {
            name: None,
            weight,
            matches: Vec::new(),
            mirror: Weight::ZERO,
            replicas: None,
            iterations: 1,
            advance,
            after: Dur::default(),
            standby: false,
            by_hand: false,
            by_pods: false,
            notify: Vec::new(),
        }
    }

    /// Tells whether the canary gets any request at all, mirrored ones too.
    #[must_use]
    pub fn splits(&self) -> bool {
        self.weight > Weight::ZERO || self.mirror > Weight::ZERO || !self.matches.is_empty()
    }

    fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

/// Lists the steps of a strategy, in order; empty when none is set that can be driven, which
/// validation refuses.
#[must_use]
pub fn planned_steps(strategy: &Strategy) -> Vec<PlannedStep> {
    match strategy {
        Strategy {
            canary: Some(canary),
            ..
        } => canary_steps(canary),
        Strategy {
            ab_test: Some(test),
            ..
        } => vec![ab_step(test)],
        Strategy {
            blue_green: Some(plan),
            ..
        } => blue_green_steps(plan),
        Strategy {
            batch: Some(batch), ..
        } => batch_steps(batch),
        _ => Vec::new(),
    }
}

/// The linear form is clamped to `maxWeight` (10 up to 55 gives 10, 20, 30, 40, 50, 55).
fn canary_steps(canary: &Canary) -> Vec<PlannedStep> {
    let mut steps: Vec<_> = if let Some(manual) = canary.manual {
        vec![PlannedStep {
            replicas: manual.replicas,
            by_hand: true,
            matches: canary.matches.clone(),
            ..PlannedStep::of_weight(manual.weight, Advance::Manual)
        }]
    } else if canary.steps.is_empty() {
        let advance = canary.advance.unwrap_or(Advance::Auto);
        let weights = if canary.weights.is_empty() {
            linear_weights(canary)
        } else {
            canary.weights.clone()
        };
        let plain = |weight| PlannedStep {
            matches: canary.matches.clone(),
            ..PlannedStep::of_weight(weight, advance)
        };
        weights.into_iter().map(plain).collect()
    } else {
        canary
            .steps
            .iter()
            .map(|step| explicit(step, canary))
            .collect()
    };
    // As many as the first weight will take: the canary of that size can answer them.
    if canary.mirror
        && let Some(first) = steps.iter().find(|step| step.weight > Weight::ZERO)
    {
        let mirrored = PlannedStep {
            mirror: first.weight,
            replicas: first.replicas,
            ..PlannedStep::of_weight(Weight::ZERO, Advance::Auto).named("mirror")
        };
        steps.insert(0, mirrored);
    }
    steps
}

fn explicit(step: &Step, canary: &Canary) -> PlannedStep {
    let advance = step.advance.or(canary.advance).unwrap_or(Advance::Manual);
    let matches = if step.matches.is_empty() {
        &canary.matches
    } else {
        &step.matches
    };
    PlannedStep {
        name: step.name.clone(),
        matches: matches.clone(),
        mirror: step.mirror.unwrap_or(Weight::ZERO),
        replicas: step.replicas,
        notify: step.notify.clone(),
        after: step
            .after
            .filter(|_| advance == Advance::After)
            .unwrap_or_default(),
        ..PlannedStep::of_weight(step.weight, advance)
    }
}

fn ab_step(test: &AbTest) -> PlannedStep {
    PlannedStep {
        matches: test.matches.clone(),
        iterations: test.iterations.max(1),
        ..PlannedStep::of_weight(Weight::ZERO, Advance::Auto)
    }
}

/// With traffic from the first check on there is one step; otherwise the switch is a step of its
/// own, checked once with the users on it.
fn blue_green_steps(plan: &BlueGreen) -> Vec<PlannedStep> {
    let full = Some(plan.replicas.unwrap_or(IntOrPercent::Percent(100)));
    let stays = plan.standby > Dur::default();
    let switched = PlannedStep {
        replicas: full,
        after: plan.standby,
        standby: stays,
        ..PlannedStep::of_weight(
            Weight::FULL,
            if stays { Advance::After } else { Advance::Auto },
        )
    };
    let iterations = plan.iterations.max(1);
    let mirror = match plan.analysis_traffic {
        AnalysisTraffic::All => {
            return vec![PlannedStep {
                iterations,
                ..switched
            }];
        }
        AnalysisTraffic::None => Weight::ZERO,
        AnalysisTraffic::Mirror => Weight::FULL,
    };
    let tested = PlannedStep {
        mirror,
        iterations,
        replicas: full,
        ..PlannedStep::of_weight(Weight::ZERO, Advance::Auto).named("test")
    };
    vec![tested, switched.named("switch")]
}

/// Every step waits for a human unless it says otherwise, the last one too.
fn batch_steps(batch: &Batch) -> Vec<PlannedStep> {
    let step = |step: &BatchStep| {
        let advance = step.advance.unwrap_or(Advance::Manual);
        PlannedStep {
            name: step.name.clone(),
            replicas: step.pods(),
            matches: step.matches.clone(),
            by_pods: !step.splits(),
            notify: step.notify.clone(),
            after: step
                .after
                .filter(|_| advance == Advance::After)
                .unwrap_or_default(),
            ..PlannedStep::of_weight(step.weight.unwrap_or(Weight::ZERO), advance)
        }
    };
    batch.steps.iter().map(step).collect()
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
