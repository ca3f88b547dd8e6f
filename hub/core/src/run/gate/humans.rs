use bellwether_api::status::Severity;

use super::{GateVerdict, Side, gates_mut, verdicts};
use crate::run::decide::Turn;

/// Tells of gates that wait for humans, once each.
pub(in crate::run) fn tell_humans(turn: &mut Turn<'_>, wave: usize, side: Side) {
    let mut news = Vec::new();
    let verdicts = verdicts(turn, wave, side);
    let name = &turn.input.plan.waves[wave].name;
    for (state, verdict) in gates_mut(turn, wave, side).iter_mut().zip(verdicts) {
        let GateVerdict::Approval { given, needed, .. } = verdict else {
            continue;
        };
        if !std::mem::replace(&mut state.told, true) {
            let place = match side {
                Side::Before => "before",
                Side::After => "after",
            };
            news.push(format!(
                "a gate {place} wave {name} waits for an approval, {given} of {needed} given"
            ));
        }
    }
    for message in news {
        turn.event(None, Severity::Warn, "WaitsForHuman", message);
    }
}
