//! Tells whom a plan names that a step began, and that it waits for a human: once each.

use bellwether_api::{
    alert_provider::AlertRef,
    status::{PAUSED_AFTER_FAILURE, Severity, WEIGHT_BY_HAND},
};

use serde::{Deserialize, Serialize};

use super::{stage::Stage, turn::Turn};

/// What was told of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The step, from 0.
    pub step: u32,
    /// Why it was last said to wait for a human; absent = that was not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// Says what is new of the step under way, if anybody wants to know.
pub(super) fn of_step(turn: &mut Turn<'_>) {
    let Stage::Step { index, .. } = turn.state.stage else {
        return;
    };
    let step = usize::try_from(index).ok();
    let Some(step) = step.and_then(|index| turn.steps.get(index)) else {
        return;
    };
    let to: Vec<AlertRef> = step.notify.clone();
    if to.is_empty() && turn.grant.plan.alerts.is_empty() {
        return;
    }
    let named = step.name.as_ref();
    let name = named.map_or_else(String::new, |name| format!(" ({name})"));
    if turn
        .state
        .told
        .as_ref()
        .is_none_or(|told| told.step != index)
    {
        let message = format!("step {index}{name} of {} begins", turn.steps.len());
        turn.tell(Severity::Info, "StepBegins", message, &to);
        turn.state.told = Some(Told {
            step: index,
            waits: None,
        });
    }
    let asks = |reason: &str| matches!(reason, "Approval" | PAUSED_AFTER_FAILURE | WEIGHT_BY_HAND);
    let mut waits = turn.waits.iter();
    let Some(wait) = waits.find(|wait| asks(&wait.reason)).cloned() else {
        return;
    };
    let Some(told) = &mut turn.state.told else {
        return;
    };
    if told.waits.as_ref() != Some(&wait.reason) {
        told.waits = Some(wait.reason);
        turn.tell(Severity::Warn, "WaitsForHuman", wait.message, &to);
    }
}
