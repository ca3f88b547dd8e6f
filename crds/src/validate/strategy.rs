//! Checks of how a new version is brought in.

use std::collections::BTreeSet;

use super::{
    finding::Findings,
    in_place,
    matching::{self, is_token},
    names,
};
use crate::{
    document::FieldPath,
    duration::Dur,
    number::{IntOrPercent, Weight},
    rollout::RolloutSpec,
    strategy::{
        AbTest, Advance, AnalysisTraffic, Batch, BlueGreen, Canary, Instances, InstancesMode,
        Manual, SessionAffinity, Step, Strategy, StrategyKind,
    },
};

const AT_LEAST_ONE: &str = "use at least 1";
const AT_MOST_ALL: &str = "a share is at most 100%";

/// Checks the strategy, the sizes and what both need of the rest of the plan.
pub(super) fn check(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    let at = path.key("strategy");
    let strategy = &rollout.strategy;
    exactly_one(findings, &at, strategy);
    if let Some(plan) = &strategy.canary {
        canary(findings, &at.key("canary"), plan);
    }
    if let Some(plan) = &strategy.ab_test {
        ab_test(findings, &at.key("abTest"), plan);
    }
    if let Some(plan) = &strategy.blue_green {
        blue_green(findings, &at.key("blueGreen"), plan, rollout);
    }
    if let Some(plan) = &strategy.batch {
        in_place::batch(findings, &at.key("batch"), plan);
        in_place::rest(findings, path, rollout);
    }
    instances(findings, path, &rollout.instances, strategy);
    if let Some(affinity) = &rollout.session_affinity {
        session_affinity(findings, &path.key("sessionAffinity"), affinity, strategy);
    }
    needs_a_service(findings, path, rollout);
    if rollout.analysis.skip && !rollout.analysis.metrics.is_empty() {
        findings.warn(
            &path.key("analysis").key("skip"),
            "the strategy and its metrics are skipped: the new version is taken untested",
        );
    }
}

fn exactly_one(findings: &mut Findings, path: &FieldPath, strategy: &Strategy) {
    let set = [
        ("canary", strategy.canary.is_some()),
        ("abTest", strategy.ab_test.is_some()),
        ("blueGreen", strategy.blue_green.is_some()),
        ("batch", strategy.batch.is_some()),
    ];
    let set: Vec<&str> = set
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match set.as_slice() {
        [name] => {
            let named = strategy.kind.is_none() || strategy.kind == strategy.set();
            if !named {
                let message = format!("the strategy that is set is {name}; leave type out");
                findings.error(&path.key("type"), message);
            }
        }
        [] => findings.error(
            path,
            "exactly one strategy must be set: canary, abTest, blueGreen or batch",
        ),
        [_, second, ..] => findings.error(
            &path.key(second),
            format!(
                "exactly one strategy may be set, found {}",
                set.join(" and ")
            ),
        ),
    }
}

fn canary(findings: &mut Findings, path: &FieldPath, canary: &Canary) {
    forms(findings, path, canary);
    let positive = [
        ("stepWeight", canary.step_weight),
        ("maxWeight", canary.max_weight),
        ("stepWeightPromotion", canary.step_weight_promotion),
    ];
    for (name, weight) in positive {
        if weight == Some(Weight::ZERO) {
            findings.error(&path.key(name), AT_LEAST_ONE);
        }
    }
    if canary.max_weight.is_some() && canary.step_weight.is_none() {
        findings.error(
            &path.key("maxWeight"),
            "maxWeight ends the form stepWeight, which is not set",
        );
    }
    if canary.advance == Some(Advance::After) {
        findings.error(
            &path.key("advance"),
            "After needs a time and stands on single steps; use Auto or Manual here",
        );
    }
    matching::matches(findings, &path.key("match"), &canary.matches);
    rising(findings, &path.key("weights"), &canary.weights);
    steps(findings, &path.key("steps"), &canary.steps);
    if let Some(by_hand) = &canary.manual {
        manual(findings, path, by_hand, canary);
    }
}

fn forms(findings: &mut Findings, path: &FieldPath, canary: &Canary) {
    let forms = [
        ("stepWeight", canary.step_weight.is_some()),
        ("weights", !canary.weights.is_empty()),
        ("steps", !canary.steps.is_empty()),
        ("manual", canary.manual.is_some()),
    ];
    let set: Vec<&str> = forms
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match set.as_slice() {
        [_] => {}
        [] => findings.error(
            path,
            "exactly one of stepWeight, weights, steps, manual must be set",
        ),
        [_, second, ..] => findings.error(
            &path.key(second),
            format!(
                "exactly one of stepWeight, weights, steps, manual may be set, found {}",
                set.join(" and ")
            ),
        ),
    }
}

fn rising(findings: &mut Findings, path: &FieldPath, weights: &[Weight]) {
    let mut before = Weight::ZERO;
    for (index, weight) in weights.iter().enumerate() {
        if *weight <= before {
            let message = if index == 0 {
                "the first weight is above 0".to_owned()
            } else {
                format!("weights rise strictly; {weight} follows {before}")
            };
            findings.error(&path.index(index), message);
        }
        before = *weight;
    }
}

fn steps(findings: &mut Findings, path: &FieldPath, steps: &[Step]) {
    let mut seen = BTreeSet::new();
    let mut before = Weight::ZERO;
    for (index, step) in steps.iter().enumerate() {
        let at = path.index(index);
        if let Some(name) = &step.name {
            names::name(findings, &at.key("name"), name);
            if !seen.insert(name) {
                findings.error(&at.key("name"), format!("two steps are named {name:?}"));
            }
        }
        if step.weight < before {
            let message = format!("weights do not fall; {} follows {before}", step.weight);
            findings.error(&at.key("weight"), message);
        }
        before = before.max(step.weight);
        one_step(findings, &at, step);
    }
}

fn one_step(findings: &mut Findings, path: &FieldPath, step: &Step) {
    let mirror = step.mirror.unwrap_or(Weight::ZERO);
    let idle = step.matches.is_empty() && mirror == Weight::ZERO && step.replicas.is_none();
    if step.weight == Weight::ZERO && idle {
        findings.error(
            &path.key("weight"),
            "a step has a weight above 0, or a match, a mirror or replicas",
        );
    }
    if step.mirror.is_some() && (mirror == Weight::ZERO || step.weight == Weight::FULL) {
        findings.error(
            &path.key("mirror"),
            "nothing would be mirrored; a mirror is a share above 0 of requests that the canary \
             does not answer",
        );
    }
    pods(
        findings,
        &path.key("replicas"),
        step.replicas,
        "a step that takes traffic has at least 1 pod",
    );
    matching::matches(findings, &path.key("match"), &step.matches);
    let waits = step.advance == Some(Advance::After);
    match step.after {
        None if waits => findings.error(&path.key("advance"), "After needs a time; set after"),
        Some(_) if !waits => {
            findings.error(&path.key("after"), "after is used with advance: After only");
        }
        _ => {}
    }
}

fn pods(findings: &mut Findings, path: &FieldPath, pods: Option<IntOrPercent>, none: &str) {
    match pods {
        Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)) => findings.error(path, none),
        Some(IntOrPercent::Percent(101..)) => findings.error(path, AT_MOST_ALL),
        _ => {}
    }
}

fn manual(findings: &mut Findings, path: &FieldPath, manual: &Manual, canary: &Canary) {
    let at = path.key("manual").key("replicas");
    if manual.weight > Weight::ZERO {
        pods(
            findings,
            &at,
            manual.replicas,
            "a canary that takes traffic has at least 1 pod",
        );
    } else if let Some(IntOrPercent::Percent(101..)) = manual.replicas {
        findings.error(&at, AT_MOST_ALL);
    }
    if canary.advance.is_some() {
        findings.error(
            &path.key("advance"),
            "a canary that is driven by hand waits for a human as it is; leave advance out",
        );
    }
    if canary.mirror {
        findings.error(
            &path.key("mirror"),
            "a mirrored check comes before the first of several weights; use steps with mirror",
        );
    }
}

fn ab_test(findings: &mut Findings, path: &FieldPath, plan: &AbTest) {
    if plan.iterations == 0 {
        findings.error(&path.key("iterations"), AT_LEAST_ONE);
    }
    if plan.matches.is_empty() {
        findings.error(
            &path.key("match"),
            "name at least one match; without one use canary or blueGreen",
        );
    }
    matching::matches(findings, &path.key("match"), &plan.matches);
}

fn blue_green(findings: &mut Findings, path: &FieldPath, plan: &BlueGreen, rollout: &RolloutSpec) {
    if plan.iterations == 0 {
        findings.error(&path.key("iterations"), AT_LEAST_ONE);
    }
    pods(
        findings,
        &path.key("replicas"),
        plan.replicas,
        "a version that takes all traffic has pods",
    );
    if plan.analysis_traffic == AnalysisTraffic::None && !rollout.analysis.metrics.is_empty() {
        findings.warn(
            &path.key("analysisTraffic"),
            "no user's request reaches the new version while it is checked: metrics without data \
             hold the run until progressDeadline, unless something else sends requests",
        );
    }
}

fn instances(
    findings: &mut Findings,
    path: &FieldPath,
    instances: &Instances,
    strategy: &Strategy,
) {
    let at = path.key("instances");
    if instances.min_replicas == 0 {
        findings.error(
            &at.key("minReplicas"),
            "a canary without pods cannot take traffic; use at least 1",
        );
    }
    in_place::ready_threshold(findings, &at.key("readyThreshold"), instances, strategy);
    match (instances.mode, instances.max_replicas) {
        (InstancesMode::InPlace, Some(_)) => findings.error(
            &at.key("maxReplicas"),
            "an update in place adds no pods; leave it out",
        ),
        (InstancesMode::InPlace, None) if strategy.batch.is_some() => {}
        (InstancesMode::InPlace, None) => findings.error(
            &at.key("mode"),
            "InPlace is what strategy.batch does, and this plan has none; use Surge or FixedTotal",
        ),
        (InstancesMode::Surge, Some(_)) => findings.error(
            &at.key("maxReplicas"),
            "maxReplicas bounds both versions together, which only FixedTotal does",
        ),
        (InstancesMode::FixedTotal, max) => {
            if max == Some(0) {
                findings.error(&at.key("maxReplicas"), AT_LEAST_ONE);
            } else if max.is_some_and(|max| max < instances.min_replicas) {
                findings.error(
                    &at.key("minReplicas"),
                    "the canary alone would be more than maxReplicas",
                );
            }
            fixed_total(findings, path, strategy);
        }
        (InstancesMode::Surge, None) => {}
    }
}

/// With a fixed total the weight is the size: nothing else may be.
fn fixed_total(findings: &mut Findings, path: &FieldPath, strategy: &Strategy) {
    let mode = path.key("instances").key("mode");
    match strategy.set() {
        Some(StrategyKind::AbTest) => findings.error(
            &mode,
            "FixedTotal takes pods by weight, and an A/B test has none; use Surge",
        ),
        Some(StrategyKind::BlueGreen) => findings.error(
            &mode,
            "blue-green keeps both versions at full size; use Surge",
        ),
        Some(StrategyKind::Batch) => findings.error(
            &mode,
            "a batch updates pods where they are; use InPlace, or leave mode out",
        ),
        _ => {}
    }
    let Some(canary) = &strategy.canary else {
        return;
    };
    let at = path.key("strategy").key("canary");
    let sized = "FixedTotal takes pods by weight; leave replicas out, or use Surge";
    for (index, step) in canary.steps.iter().enumerate() {
        if step.replicas.is_some() {
            findings.error(&at.key("steps").index(index).key("replicas"), sized);
        }
    }
    if canary
        .manual
        .is_some_and(|manual| manual.replicas.is_some())
    {
        findings.error(&at.key("manual").key("replicas"), sized);
    }
}

fn session_affinity(
    findings: &mut Findings,
    path: &FieldPath,
    affinity: &SessionAffinity,
    strategy: &Strategy,
) {
    let names = [
        ("cookieName", Some(&affinity.cookie_name)),
        ("stableCookieName", affinity.stable_cookie_name.as_ref()),
    ];
    for (field, name) in names {
        if let Some(name) = name.filter(|name| !is_token(name)) {
            findings.error(&path.key(field), format!("{name:?} is no name of a cookie"));
        }
    }
    if affinity.stable_cookie_name.as_ref() == Some(&affinity.cookie_name) {
        findings.error(
            &path.key("stableCookieName"),
            "it is cookieName; leave it out to use one cookie for both versions",
        );
    }
    if affinity.max_age < Dur::from_secs(1) {
        findings.error(&path.key("maxAge"), "use at least 1s");
    }
    if matches!(
        strategy.set(),
        Some(StrategyKind::AbTest | StrategyKind::BlueGreen)
    ) || strategy.batch.as_ref().is_some_and(|batch| !batch.splits())
    {
        findings.error(
            path,
            "only weights draw users by chance; this strategy needs no session affinity",
        );
    }
}

/// Requests can be told apart only where they pass a route.
fn needs_a_service(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    if rollout.service.is_some() || rollout.workload.keeps_revisions() {
        return;
    }
    let strategy = path.key("strategy");
    let canary = rollout.strategy.canary.as_ref();
    let batch = rollout.strategy.batch.as_ref();
    let stepped = |of: fn(&Step) -> bool| canary.is_some_and(|canary| canary.steps.iter().any(of));
    let needs = [
        (
            strategy.key("abTest"),
            rollout.strategy.ab_test.is_some(),
            "an A/B test",
        ),
        (
            strategy.key("blueGreen"),
            rollout.strategy.blue_green.is_some(),
            "blue-green",
        ),
        (
            strategy.key("canary").key("match"),
            canary.is_some_and(|canary| !canary.matches.is_empty()),
            "a match",
        ),
        (
            strategy.key("canary").key("mirror"),
            canary.is_some_and(|canary| canary.mirror),
            "a mirror",
        ),
        (
            strategy.key("canary").key("steps"),
            stepped(|step| !step.matches.is_empty() || step.mirror.is_some()),
            "a step with match or mirror",
        ),
        (
            strategy.key("batch").key("steps"),
            batch.is_some_and(Batch::splits),
            "a step with weight or match",
        ),
        (
            path.key("sessionAffinity"),
            rollout.session_affinity.is_some(),
            "session affinity",
        ),
    ];
    for (at, needed, what) in needs {
        if needed {
            findings.error(
                &at,
                format!("{what} needs a route; set service to the one that clients use"),
            );
        }
    }
}
