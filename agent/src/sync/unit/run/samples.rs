//! Checks of runs, for people to look at.

use bellwether_proto::wire::Sample;
use jiff::Timestamp;

use crate::{
    rollout::{self, Run},
    sync::shell::Shell,
};

/// Counts the checks that a run has made, and has their samples sent to the hub.
pub(in crate::sync::unit) fn hand_on_checks(shell: &Shell, key: &str, run: &mut Run) {
    if let Some(late) = run.take_lateness() {
        shell.figures.check_lateness.0.observe(late.as_secs_f64());
    }
    for measured in run.take_measured() {
        shell.figures.checks.inc();
        shell.samples.push(sample(key, run, measured));
    }
}

fn sample(key: &str, run: &Run, measured: rollout::Measured) -> Sample {
    let check = measured.check;
    Sample {
        key: key.to_owned(),
        rollout: run.rollout.name.clone(),
        metric: check.metric,
        run: run.of.run.to_string(),
        attempt: run.of.attempt,
        step: measured.step.unwrap_or(0),
        weight: u32::from(measured.weight),
        at_ms: check
            .at
            .parse::<Timestamp>()
            .map_or(0, |at| at.as_millisecond()),
        value: check.value.and_then(|value| value.parse().ok()),
        stable: check.stable.and_then(|value| value.parse().ok()),
        verdict: format!("{:?}", check.verdict),
        limit: check.limit,
    }
}
