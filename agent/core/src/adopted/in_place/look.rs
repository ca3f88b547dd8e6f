//! Whether an update of a workload that is updated in place is taken over, while no run is under way.

use super::{InPlaceSight, Version};
use crate::adopted::Look;

/// Tells what is to be done. `known` = it was seen standing before. Of [`Look::Undo`] the pods are those
/// of the template that are not ready.
#[must_use]
pub fn look_in_place(sight: &InPlaceSight, known: bool) -> Look {
    let held = sight.marks.is_held();
    if sight.others.is_empty() {
        if held && sight.marks.written.is_some() {
            return Look::Completes;
        }
        // All are lost: what comes in their place shows what it is.
        if held && sight.current.is_none() && sight.replicas > 0 {
            return Look::Settling;
        }
        // Nothing was there before the pods that there are, or nothing is left of it.
        return if held { Look::Release } else { Look::Rest };
    }
    if sight.is_its_owners() {
        return Look::PausedByOthers;
    }
    if !known && !held {
        return Look::NotSettled;
    }
    let by_node = sight.adapter.by_node;
    let went_ahead = sight.current_ready() > 0 || by_node && sight.current_count() > 0;
    // Its owner goes back to the version that was complete before: there is nothing new to hold.
    let goes_back = sight.marks.is_observed && sight.comes_again();
    // Where each node has a pod of the one template that there is, none can be taken back.
    if went_ahead || goes_back || sight.others.len() > 1 {
        return Look::Bypassed;
    }
    if !sight.is_held() {
        return Look::Catch;
    }
    if let Some(version) = &sight.current {
        return taken_back(sight, version);
    }
    let pods = sight.others.iter().map(Version::count).sum::<u32>();
    if !sight.marks.is_observed || by_node && pods < sight.replicas {
        return Look::Settling;
    }
    match sight.stable() {
        // Until they are ready their controller would not count them as complete.
        Some((version, _)) if sight.strays() && version.ready() < sight.replicas => Look::Settling,
        Some(_) if sight.strays() => Look::Completes,
        Some(_) => Look::Stands,
        None => Look::Bypassed,
    }
}

/// What becomes of pods of the template, none of which is ready.
fn taken_back(sight: &InPlaceSight, version: &Version) -> Look {
    if sight.comes_again() {
        return Look::Settling;
    }
    Look::Undo {
        replica_set: version.revision.clone(),
    }
}
