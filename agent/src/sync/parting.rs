//! Carries out what becomes of objects that are not wanted any more.

use bellwether_agent_core::{
    ownership::{Parting, parting, uid_of},
    restore::{handing_back, restoring},
};
use bellwether_api::{reference::ObjectRef, sync_record::HeldObject};
use serde_json::{Value, json};

use super::cluster::{Cluster, ClusterError, SYNC_MANAGER};

/// What became of an object that is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not exist any more.
    Gone,
    /// It is deleted, and something holds it: a finalizer.
    Going,
    /// It was there before us, and stays; whether it has what it had then.
    LetGo {
        /// Whether its values are those from before.
        restored: bool,
    },
    /// It asks to be kept, and is not ours any more.
    Kept,
    /// Another object has its name: nothing was done.
    LeftAlone,
}

/// Parts with an object that is held. `next` is the revision that is held from now on, absent = the
/// application goes; `original` is the object as it was before it was adopted, absent = not known.
/// Doing the same again changes nothing.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn part_with(
    cluster: &Cluster,
    held: &HeldObject,
    next: Option<u64>,
    original: Option<&Value>,
) -> Result<Fate, ClusterError> {
    let object = held.object();
    let Some(live) = cluster.get(&object).await? else {
        return Ok(Fate::Gone);
    };
    match parting(held, &live, SYNC_MANAGER, next) {
        Parting::LeaveAlone => Ok(Fate::LeftAlone),
        Parting::LetGo => let_go(cluster, &object, live, original).await,
        Parting::Keep => Ok(match let_go(cluster, &object, live, None).await? {
            Fate::LetGo { .. } => Fate::Kept,
            fate => fate,
        }),
        Parting::Delete => delete(cluster, &object, &live).await,
    }
}

/// Deletes the very object that was looked at.
async fn delete(cluster: &Cluster, object: &ObjectRef, live: &Value) -> Result<Fate, ClusterError> {
    let Some(uid) = uid_of(live) else {
        return Ok(Fate::LeftAlone);
    };
    if crate::rollout::is_deleting(live) {
        return Ok(Fate::Going);
    }
    cluster.delete(object, Some(uid)).await?;
    Ok(match cluster.get(object).await? {
        None => Fate::Gone,
        Some(after) if uid_of(&after) == Some(uid) => Fate::Going,
        Some(_) => Fate::LeftAlone,
    })
}

/// Gives an object back what it had, and its fields to whom they belonged.
async fn let_go(
    cluster: &Cluster,
    object: &ObjectRef,
    live: Value,
    original: Option<&Value>,
) -> Result<Fate, ClusterError> {
    let original = original.filter(|original| uid_of(original) == uid_of(&live));
    let mut restored = original.is_some();
    let mut live = live;
    if let Some(patch) = original.and_then(|original| restoring(&live, original, SYNC_MANAGER)) {
        match cluster.merge_exactly(object, &live, &patch).await {
            Ok(Some(after)) => live = after,
            Ok(None) => return Ok(Fate::Gone),
            Err(error) if error.is_final() => {
                // Its old values are not accepted any more: it stays as it is, and is let go of.
                tracing::warn!(%object, error = %error.answer(), "an adopted object keeps its values");
                restored = false;
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(fields) = handing_back(&live, original, SYNC_MANAGER) {
        let patch = json!({"metadata": {"managedFields": fields}});
        if cluster
            .merge_exactly(object, &live, &patch)
            .await?
            .is_none()
        {
            return Ok(Fate::Gone);
        }
    }
    Ok(Fate::LetGo { restored })
}

#[cfg(test)]
mod tests;
