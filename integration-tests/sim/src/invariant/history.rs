//! What follows upon what in the saved history of one run.

use bellwether_agent_core::machine::{RunState, Stage};

use super::{broken::Broken, edge::left_each};

/// Judges a state that is saved after another one of the same run, whoever made either.
///
/// # Errors
/// The rule that is broken.
pub fn follows(before: &RunState, after: &RunState) -> Result<(), Broken> {
    if before.is_terminal() && after.stage != before.stage {
        let detail = format!("{:?} after {:?}", after.stage, before.stage);
        return Err(Broken::new("I10-terminal", detail));
    }
    let right = match (&before.stage, &after.stage) {
        (Stage::Step { index: from, .. }, Stage::Step { index: to, .. }) => {
            to >= from && left_each(after, *to)
        }
        (Stage::RollingBack { .. }, next) => {
            matches!(next, Stage::RollingBack { .. } | Stage::Failed { .. })
        }
        (Stage::Promoting { .. }, next) => matches!(
            next,
            Stage::Promoting { .. }
                | Stage::RollingBack { .. }
                | Stage::Succeeded
                | Stage::Failed { .. }
        ),
        (Stage::Step { .. }, next) => !matches!(
            next,
            Stage::Initializing | Stage::Pausing | Stage::Pinning | Stage::Succeeded
        ),
        _ => true,
    };
    let goes_back = matches!(before.stage, Stage::RollingBack { .. });
    if goes_back && after.weight > before.weight {
        let detail = format!("the weight rose from {} to {}", before.weight, after.weight);
        return Err(Broken::new("I6-abort", detail));
    }
    let regains = !after.matches.is_empty() && after.matches != before.matches;
    if goes_back && (regains || after.mirror > before.mirror) {
        let detail = format!("{:?} became {:?}", before.split(), after.split());
        return Err(Broken::new("I6-abort", detail));
    }
    if !right {
        let detail = format!("{:?} after {:?}", after.stage, before.stage);
        return Err(Broken::new("I10-steps", detail));
    }
    let granted = |state: &RunState| state.in_place.as_ref().map_or(0, |run| run.granted);
    let total = |state: &RunState| state.in_place.as_ref().map(|run| run.total);
    // Whoever scales it changes what a share of it is.
    if granted(after) < granted(before) && total(after) == total(before) {
        let detail = format!("{} pods after {}", granted(after), granted(before));
        return Err(Broken::new("I10-batch", detail));
    }
    Ok(())
}
