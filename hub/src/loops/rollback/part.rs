//! Going back in one wave or cluster to a release that is named.

use bellwether_hub_core::{
    rollback::{NoTarget, target},
    run::{ClusterSeen, NamedRelease, PendingAction, Unrendered},
};
use bellwether_store::actions::{Action, ActionType};

use super::{History, history, is_of_all};
use crate::loops::{LoopError, application::Look, progress::Turn, rendered};

/// Finds the releases that are named for one wave or cluster to go back to. What is still being rendered
/// for a cluster that shall get it is not answered before it is.
pub(in crate::loops) async fn find_named(
    look: Look<'_>,
    turn: &Turn<'_>,
    said: &[Action],
    pending: &mut Vec<PendingAction>,
) -> Result<(), LoopError> {
    let named = |action: &&Action| {
        matches!(action.said.action, ActionType::Rollback)
            && !is_of_all(action)
            && action.said.to_revision.is_some()
    };
    if !said.iter().any(|action| named(&action)) {
        return Ok(());
    }
    let known = history(look).await?;
    for action in said.iter().filter(named) {
        match named_release(look, turn, action, &known).await? {
            Some(found) => {
                let mut own = pending.iter_mut();
                if let Some(own) = own.find(|one| one.id == action.said.id) {
                    own.to = Some(found);
                }
            }
            None => pending.retain(|one| one.id != action.said.id),
        }
    }
    Ok(())
}

/// The release that an action names; absent = it is still being rendered for a cluster that shall get it.
async fn named_release(
    look: Look<'_>,
    turn: &Turn<'_>,
    action: &Action,
    (stored, history): &History,
) -> Result<Option<NamedRelease>, LoopError> {
    let missing = |why: String| Ok(Some(NamedRelease::Missing { why }));
    let found = match target(history, action.said.to_revision, false) {
        Ok(found) => found,
        Err(NoTarget::Current { revision, .. }) => {
            return missing(format!(
                "revision {revision} is what the run brings in; retry brings it in again"
            ));
        }
        Err(error) => return missing(error.to_string()),
    };
    let Some(release) = stored.get(&found.revision) else {
        return Err(LoopError::Conflict);
    };
    let meant = meant(turn, action);
    let unrendered = rendered::unrendered(look.sight(), release.id, &meant).await?;
    let failed = unrendered.values().find_map(|one| match one {
        Unrendered::Failed(why) => Some(why),
        Unrendered::Pending | Unrendered::Held(_) => None,
    });
    if let Some(why) = failed {
        return missing(format!(
            "revision {} cannot be rendered: {why}",
            found.revision
        ));
    }
    let is_there = unrendered.is_empty();
    Ok(is_there.then(|| NamedRelease::Found {
        revision: found.revision,
        digest: found.digest.clone(),
    }))
}

/// The clusters of the wave or the one that an action names.
fn meant(turn: &Turn<'_>, action: &Action) -> Vec<ClusterSeen> {
    let wave = action.said.wave.as_deref();
    let wave = wave.and_then(|name| turn.loaded.plan.wave_named(name));
    let is_meant = |seen: &&ClusterSeen| match action.said.cluster {
        Some(id) => seen.id == id,
        None => turn
            .loaded
            .state
            .clusters
            .get(&seen.id)
            .is_some_and(|cluster| cluster.wave == wave),
    };
    turn.clusters.iter().filter(is_meant).cloned().collect()
}
