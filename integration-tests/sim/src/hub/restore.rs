//! Rollbacks to an earlier release, as the planning loop answers them.

use bellwether_hub_core::{
    placement::ClusterFacts,
    plan::{Plan, roll_back},
    release::ReleaseContent,
    rollback::{PastRelease, target},
    run::{ActionKind, ActionOutcome, AnsweredAction, PendingAction, RunStatus},
};

use super::plan::Making;
use crate::database::{ActionRow, Database};

/// What becomes of a wish to take the whole application back.
#[derive(Debug)]
pub(super) struct Restore {
    /// The answer.
    pub answer: AnsweredAction,
    /// The release that is made, and the revision that it restores; absent = it is refused.
    pub making: Option<(Making, u64)>,
}

/// Tells whether an action takes the whole application back, not one wave or cluster.
pub(super) const fn is_of_all(action: &PendingAction) -> bool {
    matches!(action.kind, ActionKind::Rollback) && action.wave.is_none() && action.cluster.is_none()
}

/// The oldest unanswered wish, if it was said to the newest run.
pub(super) fn asked(database: &Database) -> Option<&ActionRow> {
    let run = database.newest_run()?;
    let mut rows = database.actions.iter();
    rows.find(|row| row.run == run.id && row.answer.is_none() && is_of_all(&row.action))
}

/// Answers a wish.
pub(super) fn restore(
    database: &Database,
    wanted: &ReleaseContent,
    placed: &[ClusterFacts],
    unreleased: bool,
    previous: Option<u64>,
    row: &ActionRow,
) -> Restore {
    let answer = |outcome, message: String| AnsweredAction {
        id: row.action.id,
        outcome,
        message,
        clusters: Vec::new(),
    };
    let history = history(database);
    let found = target(&history, row.to_revision, unreleased);
    let found = match found {
        Ok(found) if !placed.is_empty() => found,
        Ok(_) => {
            return Restore {
                answer: answer(ActionOutcome::Refused, "nobody is there".to_owned()),
                making: None,
            };
        }
        Err(why) => {
            return Restore {
                answer: answer(ActionOutcome::Refused, why.to_string()),
                making: None,
            };
        }
    };
    let mut releases = database.releases.iter();
    let content = releases
        .find(|one| one.revision == found.revision)
        .map_or_else(|| wanted.clone(), |one| one.content.clone());
    let plan: Plan = roll_back(placed, !content.rollouts.is_empty());
    let restores = found.restores.unwrap_or(found.revision);
    Restore {
        answer: answer(ActionOutcome::Executed, format!("restores {restores}")),
        making: Some((
            Making {
                content,
                plan,
                previous,
            },
            restores,
        )),
    }
}

/// Every release, newest first.
fn history(database: &Database) -> Vec<PastRelease> {
    let succeeded = |revision| {
        database.runs.iter().any(|run| {
            run.revision == revision && matches!(run.state.status, RunStatus::Succeeded { .. })
        })
    };
    let releases = database.releases.iter().rev();
    releases
        .map(|release| PastRelease {
            revision: release.revision,
            digest: release.digest.clone(),
            succeeded: succeeded(release.revision),
            restores: database
                .restored
                .get(&release.revision)
                .map(|(restores, _)| *restores),
        })
        .collect()
}
