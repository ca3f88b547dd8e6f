//! Which clusters of its destination an application gets.

use std::collections::BTreeSet;

use bellwether_api::{
    application::Destination,
    fleet::FleetSpec,
    placement::{Failover, Pick, PlacementPolicy},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    ClusterFacts, Members, Placement, PlacementCondition, PlacementError,
    fit::{Candidate, Place, fit},
    spread::{LeftOut, Selected, select},
};

/// What a choice is made from.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Whom the application may get.
    pub destination: &'a Destination,
    /// How it chooses among them; absent = all of them.
    pub policy: Option<&'a PlacementPolicy>,
    /// The record that `destination.fleet` names; absent = there is none.
    pub fleet: Option<&'a FleetSpec>,
    /// Every cluster that may speak.
    pub clusters: &'a [ClusterFacts],
    /// Where the application is now.
    pub standing: &'a Standing,
}

/// Where an application is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Clusters that were granted it.
    pub holding: BTreeSet<Uuid>,
    /// Clusters of the plan of its newest release.
    pub planned: BTreeSet<Uuid>,
    /// Clusters that were silent for longer than its failover allows.
    pub lost: BTreeSet<Uuid>,
    /// Clusters that are not heard now; a policy that counts does not choose them anew.
    pub unheard: BTreeSet<Uuid>,
}

/// Whom an application gets, and what was found of every cluster of its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Whom it gets.
    pub placement: Placement,
    /// Every cluster of the destination, by name.
    pub verdicts: Vec<(Uuid, Verdict)>,
}

/// What was found of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the application and keeps it.
    Stays,
    /// It is planned for it and stays so.
    Planned,
    /// It is chosen anew.
    Joins,
    /// It is drained or silent, and keeps the application because there is no other for it.
    CannotMove,
    /// It is not chosen.
    Not(WhyNot),
}

/// The first reason why a cluster is not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It was silent for longer than the failover allows, and others took it.
    Silent,
    /// It is not heard now.
    NotHeard,
    /// It is not what this requirement says.
    Affinity(usize),
    /// Whether it is what this requirement says is not known.
    NotKnown(usize),
    /// It bears this taint.
    Taint(usize),
    /// Somebody cordoned it.
    Cordoned,
    /// Somebody drains it, and others took it if it had it.
    Draining,
    /// It is in no group of this spread.
    NoGroup(usize),
    /// Its group of this spread has as many as it may have.
    GroupFull(usize),
    /// As many as are wanted are chosen already.
    Surplus,
}

/// Tells whether a cluster that was last heard of then counts as lost. One that was never heard of
/// does not: nothing is known of it.
#[must_use]
pub fn is_lost(failover: Option<&Failover>, last_heard: Option<Timestamp>, now: Timestamp) -> bool {
    let (Some(failover), Some(heard)) = (failover, last_heard) else {
        return false;
    };
    let silent_for = std::time::Duration::try_from(now.duration_since(heard)).unwrap_or_default();
    silent_for > failover.after.as_std()
}

/// Chooses the clusters of an application. Whoever has it keeps it for as long as it fits: what is
/// chosen follows from the records, what is known of the clusters, and where the application is.
///
/// # Errors
/// [`PlacementError`] when the destination is empty or its fleet does not exist.
pub fn choose(choice: Choice<'_>) -> Result<Chosen, PlacementError> {
    let members = Members::of(choice.destination, choice.fleet)?;
    let all = PlacementPolicy::default();
    let policy = choice.policy.unwrap_or(&all);
    let mut candidates = Vec::new();
    let mut found: Vec<(&ClusterFacts, Verdict)> = Vec::new();
    for cluster in choice.clusters.iter().filter(|one| members.has(one)) {
        match fit(policy, choice.standing, cluster) {
            Ok(candidate) => candidates.push(candidate),
            Err(why) => found.push((cluster, Verdict::Not(why))),
        }
    }
    let limit = match policy.pick {
        Pick::All => usize::MAX,
        Pick::N => policy.count.unwrap_or_default() as usize,
    };
    let selected = if limit == usize::MAX && policy.spread.is_empty() {
        Selected {
            candidates: candidates.into_iter().map(|one| (one, None)).collect(),
            short: Vec::new(),
        }
    } else {
        select(limit, &policy.spread, candidates)
    };
    let judged = selected.candidates.iter();
    found.extend(
        judged.map(|(candidate, left_out)| (candidate.cluster, verdict(candidate, *left_out))),
    );
    found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let placement = Placement {
        conditions: members
            .unknown(choice.clusters)
            .into_iter()
            .chain(too_few(policy, &found))
            .chain(selected.short)
            .chain(cannot_move(&found))
            .collect(),
        clusters: found
            .iter()
            .filter(|(_, verdict)| verdict.is_chosen())
            .map(|(cluster, _)| (*cluster).clone())
            .collect(),
    };
    let verdicts = found
        .iter()
        .map(|(cluster, verdict)| (cluster.id, *verdict));
    Ok(Chosen {
        placement,
        verdicts: verdicts.collect(),
    })
}

impl Chosen {
    /// Returns the clusters that give the application away because somebody drains them or nobody
    /// hears them, sorted. Others take it.
    #[must_use]
    pub fn moving(&self) -> BTreeSet<Uuid> {
        let verdicts = self.verdicts.iter();
        verdicts
            .filter(|(_, verdict)| verdict.moves())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Tells whether the cluster is to lose the application without anybody's word for it.
    #[must_use]
    pub fn loses(&self, cluster: Uuid) -> bool {
        let found = self.verdicts.iter().find(|(id, _)| *id == cluster);
        found.is_none_or(|(_, verdict)| !verdict.is_chosen() && !verdict.moves())
    }
}

impl Verdict {
    /// Tells whether others take the application from the cluster.
    #[must_use]
    pub const fn moves(self) -> bool {
        matches!(self, Self::Not(WhyNot::Draining | WhyNot::Silent))
    }

    /// Tells whether the cluster is chosen.
    #[must_use]
    pub const fn is_chosen(self) -> bool {
        !matches!(self, Self::Not(_))
    }
}

fn verdict(candidate: &Candidate<'_>, left_out: Option<LeftOut>) -> Verdict {
    match left_out {
        Some(LeftOut::Full(spread)) => Verdict::Not(WhyNot::GroupFull(spread)),
        Some(LeftOut::Surplus) => Verdict::Not(WhyNot::Surplus),
        Some(LeftOut::Moved) => Verdict::Not(candidate.leaving.unwrap_or(WhyNot::Surplus)),
        None if candidate.leaving.is_some() => Verdict::CannotMove,
        None => match candidate.place {
            Place::Holding => Verdict::Stays,
            Place::Planned => Verdict::Planned,
            Place::New => Verdict::Joins,
        },
    }
}

fn too_few(
    policy: &PlacementPolicy,
    found: &[(&ClusterFacts, Verdict)],
) -> Option<PlacementCondition> {
    let wanted = policy.count.filter(|_| policy.pick == Pick::N)?;
    let chosen = found.iter().filter(|(_, one)| one.is_chosen()).count();
    (chosen < wanted as usize).then_some(PlacementCondition::TooFew { chosen, wanted })
}

fn cannot_move(found: &[(&ClusterFacts, Verdict)]) -> Option<PlacementCondition> {
    let kept = found.iter().filter(|(_, one)| *one == Verdict::CannotMove);
    let names: Vec<String> = kept.map(|(cluster, _)| cluster.name.clone()).collect();
    (!names.is_empty()).then_some(PlacementCondition::CannotMove(names))
}
