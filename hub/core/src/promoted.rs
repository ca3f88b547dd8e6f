//! Whether the newest release of a Rollout's workload is the one that serves, as a condition.

use bellwether_api::{call::Condition, view::RunPhase};

/// Type of the condition.
pub const PROMOTED: &str = "Promoted";

/// Says whether the newest release was promoted: True once every cluster runs it, False once it goes back or
/// was ended, Unknown before. The reason is the run's phase; `Initialized` is the first release, which has
/// nothing to be compared with. `revision` is the release's, from 1; 0 = the hub makes none.
#[must_use]
pub fn promoted(state: Option<RunPhase>, revision: u64, (done, total): (u32, u32)) -> Condition {
    let (status, reason) = match state {
        None => ("Unknown", "Pending".to_owned()),
        Some(RunPhase::Succeeded) if revision == 1 => ("True", "Initialized".to_owned()),
        Some(phase) => (status_of(phase), format!("{phase:?}")),
    };
    let message = match state {
        None => "no release was made yet".to_owned(),
        Some(_) => format!("{done} of {total} clusters are done"),
    };
    Condition {
        kind: PROMOTED.to_owned(),
        status: status.to_owned(),
        reason,
        message,
    }
}

const fn status_of(phase: RunPhase) -> &'static str {
    match phase {
        RunPhase::Succeeded => "True",
        RunPhase::RollingBack | RunPhase::Failed | RunPhase::Aborted | RunPhase::Superseded => {
            "False"
        }
        RunPhase::Pending
        | RunPhase::Progressing
        | RunPhase::Soaking
        | RunPhase::WaitingApproval
        | RunPhase::Suspended
        | RunPhase::Halted => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_promoted_once_every_cluster_runs_it_and_never_before() {
        for (state, revision, status, reason) in [
            (None, 0, "Unknown", "Pending"),
            (Some(RunPhase::Pending), 1, "Unknown", "Pending"),
            (Some(RunPhase::Succeeded), 1, "True", "Initialized"),
            (Some(RunPhase::Succeeded), 2, "True", "Succeeded"),
            (Some(RunPhase::Succeeded), 0, "True", "Succeeded"),
            (Some(RunPhase::Progressing), 2, "Unknown", "Progressing"),
            (Some(RunPhase::Soaking), 2, "Unknown", "Soaking"),
            (
                Some(RunPhase::WaitingApproval),
                2,
                "Unknown",
                "WaitingApproval",
            ),
            (Some(RunPhase::Suspended), 2, "Unknown", "Suspended"),
            (Some(RunPhase::Halted), 2, "Unknown", "Halted"),
            (Some(RunPhase::RollingBack), 2, "False", "RollingBack"),
            (Some(RunPhase::Failed), 2, "False", "Failed"),
            (Some(RunPhase::Failed), 1, "False", "Failed"),
            (Some(RunPhase::Aborted), 2, "False", "Aborted"),
            (Some(RunPhase::Superseded), 2, "False", "Superseded"),
        ] {
            let found = promoted(state, revision, (1, 3));
            assert_eq!(
                (found.status.as_str(), found.reason.as_str()),
                (status, reason),
                "{state:?} {revision}"
            );
        }
        let found = promoted(Some(RunPhase::Progressing), 2, (1, 3));
        assert_eq!(found.message, "1 of 3 clusters are done");
        assert_eq!(found.kind, PROMOTED);
    }
}
