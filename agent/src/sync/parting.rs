//! Carries out what becomes of objects that are not wanted any more.

use bellwether_agent_core::{
    immutable::is_protected,
    ownership::{Parting, parting, uid_of},
    pruning::deletion_of,
    restore::{handing_back, restoring},
};
use bellwether_api::{
    bundle::Bundle, reference::ObjectRef, sync_policy::DeletionPolicy, sync_record::HeldObject,
};
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
    /// It is ours and stays as it is, because `sync.deletion` says so; it belongs to nobody now.
    Orphaned,
    /// It is ours, is not wanted any more, and stays because it bears the annotation that protects it.
    Protected,
}

/// What becomes of the objects that a unit parts with.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The bundle that is held from now on; absent = the application goes.
    pub next: Option<&'a Bundle>,
    /// What stays when the application goes.
    pub deletion: DeletionPolicy,
}

impl Terms<'_> {
    /// The revision that is held from now on; absent = the application goes.
    pub fn revision(&self) -> Option<u64> {
        self.next.map(|bundle| bundle.revision)
    }

    fn keep(&self, held: &HeldObject) -> bool {
        deletion_of(held, self.deletion, self.next)
            .is_some_and(|policy| policy.keeps(&held.api_version, &held.kind))
    }
}

/// Parts with an object that is held. `original` is the object as it was before it was adopted, absent =
/// not known. Doing the same again changes nothing.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn part_with(
    cluster: &Cluster,
    held: &HeldObject,
    terms: Terms<'_>,
    original: Option<&Value>,
) -> Result<Fate, ClusterError> {
    let object = held.object();
    let Some(live) = cluster.get(&object).await? else {
        return Ok(Fate::Gone);
    };
    match parting(held, &live, SYNC_MANAGER, terms.revision()) {
        Parting::LeaveAlone => Ok(Fate::LeftAlone),
        Parting::LetGo => let_go(cluster, &object, live, original).await,
        Parting::Delete if crate::rollout::is_deleting(&live) => Ok(Fate::Going),
        Parting::Delete if terms.keep(held) => stay(cluster, &object, live, Fate::Orphaned).await,
        Parting::Delete if is_protected(&live) => {
            if terms.next.is_none() {
                stay(cluster, &object, live, Fate::Protected).await
            } else {
                Ok(Fate::Protected)
            }
        }
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
    cluster.delete(object, Some(uid)).await?;
    Ok(match cluster.get(object).await? {
        None => Fate::Gone,
        Some(after) if uid_of(&after) == Some(uid) => Fate::Going,
        Some(_) => Fate::LeftAlone,
    })
}

/// Leaves an object as it is, with none of its fields ours.
async fn stay(
    cluster: &Cluster,
    object: &ObjectRef,
    live: Value,
    fate: Fate,
) -> Result<Fate, ClusterError> {
    Ok(match let_go(cluster, object, live, None).await? {
        Fate::Gone => Fate::Gone,
        _ => fate,
    })
}

/// A patch without the size of a workload that an autoscaler sizes: what it had before is long outdated.
/// Absent = nothing is left of it.
async fn without_size(
    cluster: &Cluster,
    object: &ObjectRef,
    mut patch: Value,
) -> Result<Option<Value>, ClusterError> {
    if patch.pointer("/spec/replicas").is_none() || !cluster.is_autoscaled(object).await? {
        return Ok(Some(patch));
    }
    let Some(fields) = patch.as_object_mut() else {
        return Ok(None);
    };
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
        if spec.is_empty() {
            fields.remove("spec");
        }
    }
    Ok((!fields.is_empty()).then_some(patch))
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
    let patch = original.and_then(|original| restoring(&live, original, SYNC_MANAGER));
    let patch = match patch {
        Some(patch) => without_size(cluster, object, patch).await?,
        None => None,
    };
    if let Some(patch) = patch {
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
