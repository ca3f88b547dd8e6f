//! Whether an update of a workload is taken over, while no run is under way.

use super::sight::{PodSet, Sight};

/// What is to be done about a workload that no run governs at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It stands on its own template, or nobody's pods could be compared: it is not touched.
    Rest,
    /// It changes, and was never seen standing: what it becomes is where everything begins.
    NotSettled,
    /// Whoever writes it has paused it themselves.
    PausedByOthers,
    /// It carries a new template of which no pod serves: it is paused at once.
    Catch,
    /// Pods of the new template were made before the pause, and none of them serves: they are
    /// taken back.
    Undo {
        /// Their ReplicaSet.
        replica_set: String,
    },
    /// The pause is not seen by the Deployment's controller yet, or pods still end.
    Settling,
    /// Pods of the new template, or of one between it and the one that stood, serve already, or it is the
    /// one that was complete before: the update goes on as Kubernetes does it.
    Bypassed,
    /// Its owner's template is noted on it, and that of the version before stands there, or has to for a
    /// moment, so that pods which come are of that version: then its owner's is written again, held.
    Completes,
    /// It is paused, and all its pods are of the version before: a run may begin.
    Stands,
    /// It is paused for a version that is no other than that of its pods: it is let go.
    Release,
}

/// Versions between the one that stood and the live one: their updates were held too, or nobody was there
/// to hold them, and they were replaced by another before their pods were taken back.
fn between(sight: &Sight) -> &[PodSet] {
    let oldest = sight.others.split_last();
    oldest.map_or(&[], |(_, newer)| newer)
}

fn between_serves(sight: &Sight) -> bool {
    between(sight).iter().any(|set| set.ready > 0)
}

/// What is to be done about such versions. Absent = there are none.
fn undo_between(sight: &Sight) -> Option<Look> {
    if between_serves(sight) {
        return Some(Look::Bypassed);
    }
    let made = between(sight).iter().find(|set| set.wanted > 0)?;
    Some(Look::Undo {
        replica_set: made.name.clone(),
    })
}

/// Tells what is to be done. `known` = it was seen standing before.
#[must_use]
pub fn look(sight: &Sight, known: bool) -> Look {
    let held = sight.marks.is_held();
    if sight.others.is_empty() {
        if sight.marks.written.is_some() {
            return Look::Completes;
        }
        // Nothing was there before the pods that there are, or nothing is left of it.
        return if held || sight.marks.is_noted {
            Look::Release
        } else {
            Look::Rest
        };
    }
    if sight.paused && !held {
        return Look::PausedByOthers;
    }
    if !known && !held {
        return Look::NotSettled;
    }
    if sight.current_ready() > 0 || !held && between_serves(sight) {
        return Look::Bypassed;
    }
    if !sight.paused {
        return Look::Catch;
    }
    if let Some(look) = undo_between(sight) {
        return look;
    }
    match &sight.current {
        Some(set) if set.wanted > 0 => Look::Undo {
            replica_set: set.name.clone(),
        },
        Some(set) if set.there > 0 => Look::Settling,
        _ if sight.others.len() > 1 || !sight.marks.is_observed => Look::Settling,
        _ => Look::Stands,
    }
}

#[cfg(test)]
mod tests;
