//! Records that came from a repository and are gone there.

use std::collections::BTreeSet;

use bellwether_api::repository::RepositorySpec;
use bellwether_hub_core::{
    allowance::{Ask, Spent},
    repository::{Orphans, orphans, still_covered},
};
use bellwether_store::{
    Tx, allowances,
    records::{Record, RecordKey},
    repositories::Outcome,
};
use jiff::Timestamp;

use super::{SYNCED, database, trouble};
use crate::{
    app::App,
    http::{self, Caller},
    loops::removal_allowance,
};

/// Decides what becomes of the `leaving` records of so many that came from the repository, and uses the word up
/// that it takes. Gives what is to be written where it is held.
pub(super) async fn judged(
    tx: &mut Tx,
    record: &Record,
    spec: &RepositorySpec,
    (leaving, held): (&BTreeSet<String>, usize),
    now: Timestamp,
) -> Result<(Orphans, Option<Ask>), Outcome> {
    let allowance = removal_allowance(tx, record).await;
    let allowance = allowance.map_err(|error| database(&error))?;
    let fate = orphans(spec.prune, leaving, held, &allowance);
    let used_for = format!("the removal of {} records", leaving.len());
    let done = match (fate, allowance.spend(used_for), allowance.spent()) {
        (Orphans::GoByWord, Some(word), _) => {
            // Those that are used still may go later.
            let word = Spent {
                covers: leaving.iter().cloned().collect(),
                ..word
            };
            match allowances::spend(tx, &record.key, &word, now).await {
                Ok(true) => Ok(()),
                Ok(false) => return Err(trouble("Changed", "its annotations changed meanwhile")),
                Err(error) => Err(error),
            }
        }
        (_, _, Some(spent)) if !spent.covers.is_empty() => {
            let covers: Vec<String> = still_covered(leaving, &allowance).into_iter().collect();
            allowances::cover(tx, &record.key, &spent.annotation, &covers).await
        }
        _ => Ok(()),
    };
    done.map_err(|error| database(&error))?;
    let ask = match fate {
        Orphans::Braked(loss) => Some(allowance.ask(loss.leaving)),
        Orphans::None | Orphans::Stay | Orphans::Go | Orphans::GoByWord => None,
    };
    Ok((fate, ask))
}

/// How a look that went well is told.
pub(super) fn said(fate: Orphans, ask: Option<&Ask>, warnings: &[String]) -> Outcome {
    match (fate, ask) {
        (Orphans::Braked(loss), Some(ask)) => trouble(
            "RemovalBraked",
            format!(
                "{} of {} records are gone there and stay here; to have them deleted, annotate the \
                 repository with {ask}",
                loss.leaving, loss.holding
            ),
        ),
        _ => trouble(SYNCED, warnings.join("; ")),
    }
}

/// Deletes what is gone there; gives what others still use.
pub(super) async fn prune(
    app: &App,
    caller: &Caller,
    mut leaving: Vec<RecordKey>,
    reason: &str,
) -> Vec<String> {
    // What uses others goes before them.
    leaving.sort_by_key(|key| std::cmp::Reverse(key.kind));
    let mut stayed = Vec::new();
    for key in leaving {
        let removed = match http::refuse_in_use(app, caller, &key).await {
            Ok(()) => http::remove(app, caller, &key, None, reason).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            stayed.push(format!("{} ({})", http::said(&key), error.text()));
        }
    }
    stayed
}
