//! Rollouts that contradict each other, or what the application says.

use std::collections::BTreeMap;

use bellwether_api::{analysis::Metric, application::Wave, overrides::Override};

use super::{ReleaseComponent, ReleaseError, ReleaseRollout, is_workload};

pub(super) fn refuse_conflicts(rollouts: &[ReleaseRollout]) -> Result<(), ReleaseError> {
    if let Some(pair) = rollouts
        .windows(2)
        .find(|pair| pair[0].name == pair[1].name && !pair[0].is_variant_of(&pair[1]))
    {
        return Err(ReleaseError::SameName {
            name: pair[0].name.clone(),
        });
    }
    let mut seen: BTreeMap<(&str, &str, Option<&str>), &ReleaseRollout> = BTreeMap::new();
    for rollout in rollouts {
        let workload = &rollout.spec.workload;
        let key = (
            workload.kind.as_str(),
            workload.name.as_str(),
            // Without a namespace the component decides where the workload lives.
            workload
                .namespace
                .as_deref()
                .or(rollout.spec.component.as_deref()),
        );
        if let Some(first) = seen.insert(key, rollout)
            && !first.is_variant_of(rollout)
        {
            return Err(ReleaseError::GovernedTwice {
                kind: workload.kind.clone(),
                workload: workload.name.clone(),
                first: first.name.clone(),
                second: rollout.name.clone(),
            });
        }
    }
    Ok(())
}

/// A gate that can never open is a mistake.
pub(super) fn refuse_no_verdicts(
    waves: &[Wave],
    rollouts: &[ReleaseRollout],
) -> Result<(), ReleaseError> {
    let asks = |wave: &&Wave| {
        let mut gates = wave.before.iter().chain(&wave.after);
        gates.any(|gate| gate.verdicts.is_some())
    };
    let Some(wave) = waves.iter().find(asks) else {
        return Ok(());
    };
    let silent = |rollout: &&ReleaseRollout| {
        let analysis = &rollout.spec.analysis;
        analysis.skip || !analysis.metrics.iter().any(Metric::decides)
    };
    let lack = if rollouts.is_empty() {
        "the application has no rollout".to_owned()
    } else if let Some(rollout) = rollouts.iter().find(silent) {
        format!("rollout {:?} has no metric that decides", rollout.name)
    } else {
        return Ok(());
    };
    Err(ReleaseError::NoVerdicts {
        wave: wave.name.clone(),
        lack,
    })
}

/// A rollout waits for its workload in every cluster.
pub(super) fn refuse_removal(
    overrides: &[Override],
    rollouts: &[ReleaseRollout],
    components: &[ReleaseComponent],
    target_namespace: &str,
) -> Result<(), ReleaseError> {
    for rollout in rollouts {
        let component = components
            .iter()
            .find(|one| Some(one.name.as_str()) == rollout.spec.component.as_deref());
        let Some(component) = component else { continue };
        let namespace = component
            .target_namespace
            .as_deref()
            .unwrap_or(target_namespace);
        let removed = |one: &&Override| {
            one.concerns(&component.name)
                && component
                    .objects
                    .iter()
                    .filter(|object| is_workload(object, &rollout.spec.workload))
                    .any(|object| one.remove.iter().any(|target| target.is(object, namespace)))
        };
        if let Some(one) = overrides.iter().find(removed) {
            return Err(ReleaseError::GovernedRemoved {
                name: one.name.clone(),
                kind: rollout.spec.workload.kind.clone(),
                workload: rollout.spec.workload.name.clone(),
                rollout: rollout.name.clone(),
            });
        }
    }
    Ok(())
}
