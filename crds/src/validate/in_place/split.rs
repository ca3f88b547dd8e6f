//! Checks of batches that say where requests go.

use super::{super::finding::Findings, built_in};
use crate::{
    analysis::{CPU_USAGE, ERROR_LOG_RATE, MEMORY_USAGE, Metric},
    document::FieldPath,
    number::Weight,
    rollout::RolloutSpec,
    strategy::BatchStep,
    validate::matching,
};

/// Checks weights and matches of steps, and that traffic goes by routes or by pods, not by turns.
pub(super) fn of_steps(findings: &mut Findings, path: &FieldPath, steps: &[BatchStep]) {
    let splits = steps.iter().any(BatchStep::splits);
    let mut before = Weight::ZERO;
    for (index, step) in steps.iter().enumerate() {
        let at = path.index(index);
        matching::matches(findings, &at.key("match"), &step.matches);
        if step.takes_all() {
            all_pods(findings, &at, step);
        } else if splits && !step.splits() {
            findings.error(
                &at.key("weight"),
                "some steps say where requests go, and a step without weight and match leaves it to \
                 the number of pods; give each but one of 100% a weight or a match, or none",
            );
        }
        if let Some(weight) = step.weight {
            if weight < before {
                let message = format!("weights do not fall; {weight} follows {before}");
                findings.error(&at.key("weight"), message);
            }
            before = before.max(weight);
        }
    }
}

/// There is no old pod left that could answer the other requests.
fn all_pods(findings: &mut Findings, path: &FieldPath, step: &BatchStep) {
    let rest = [
        (
            "weight",
            step.weight.is_some_and(|weight| weight < Weight::FULL),
        ),
        ("match", !step.matches.is_empty()),
    ];
    for (field, set) in rest {
        if set {
            findings.error(
                &path.key(field),
                "with every pod new there is no version left to choose; leave it out",
            );
        }
    }
}

/// Tells whether the new version has requests of its own at every step, so that they are measured.
pub(super) fn is_measured(rollout: &RolloutSpec) -> bool {
    let batch = rollout.strategy.batch.as_ref();
    batch.is_some_and(|batch| {
        batch.splits()
            && batch
                .steps
                .iter()
                .all(|step| step.splits() || step.takes_all())
            && !batch.steps.first().is_some_and(BatchStep::takes_all)
    })
}

/// Why nothing would be known of a metric although the new version has a Service of its own; `None` =
/// it can be asked for.
pub(super) fn unmeasurable(metric: &Metric) -> Option<String> {
    let of_pods =
        built_in(metric).filter(|name| [ERROR_LOG_RATE, CPU_USAGE, MEMORY_USAGE].contains(name))?;
    Some(format!(
        "{of_pods} knows pods by the name of a copy, and an update in place makes none; use a query \
         or a template of your own"
    ))
}
