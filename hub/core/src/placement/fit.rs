//! Whether one cluster fits a policy, whatever the others are.

use bellwether_api::placement::{
    Pick, PlacementPolicy, Property, Score, ScoreOrder, Spread, TaintEffect,
};

use super::{
    ClusterFacts, CordonMode,
    affinity::{holds, rank},
    choose::{Standing, WhyNot},
};

/// Where an application is in a cluster now; those that have it come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Holding,
    Planned,
    New,
}

/// A cluster that fits.
pub(super) struct Candidate<'a> {
    pub cluster: &'a ClusterFacts,
    pub place: Place,
    /// Why it gives the application away to whoever can take it; absent = it does not.
    pub leaving: Option<WhyNot>,
    /// Lower is preferred.
    pub scores: Vec<(bool, i128)>,
    /// Its group of every spread of the policy; absent = none.
    pub groups: Vec<Option<&'a str>>,
}

impl Candidate<'_> {
    /// What clusters are preferred by; lower is preferred, and no two are equal.
    pub fn rank(&self) -> (Place, &[(bool, i128)], &str) {
        (self.place, &self.scores, &self.cluster.name)
    }
}

/// Tells whether the cluster fits, and if not, the first reason why.
pub(super) fn fit<'a>(
    policy: &PlacementPolicy,
    standing: &Standing,
    cluster: &'a ClusterFacts,
) -> Result<Candidate<'a>, WhyNot> {
    let place = if standing.holding.contains(&cluster.id) {
        Place::Holding
    } else if standing.planned.contains(&cluster.id) {
        Place::Planned
    } else {
        Place::New
    };
    if policy.pick == Pick::N && place == Place::New && standing.unheard.contains(&cluster.id) {
        return Err(WhyNot::NotHeard);
    }
    for (index, wanted) in policy.affinity.iter().enumerate() {
        // What is asked of the load must not take away what is a part of it.
        if place != Place::New && wanted.property.is_some_and(Property::is_load) {
            continue;
        }
        match holds(wanted, cluster) {
            Some(true) => {}
            Some(false) => return Err(WhyNot::Affinity(index)),
            // What is not known takes nothing away.
            None if place != Place::New => {}
            None => return Err(WhyNot::NotKnown(index)),
        }
    }
    tolerated(policy, cluster, place)?;
    let cordon = cluster.scheduling.cordon;
    match cordon {
        Some(_) if place == Place::Holding => {}
        Some(CordonMode::Cordoned) => return Err(WhyNot::Cordoned),
        Some(CordonMode::Draining) => return Err(WhyNot::Draining),
        None => {}
    }
    let groups: Vec<Option<&str>> = policy
        .spread
        .iter()
        .map(|spread| group(spread, cluster))
        .collect();
    if place == Place::New
        && let Some(index) = groups.iter().position(Option::is_none)
    {
        return Err(WhyNot::NoGroup(index));
    }
    let scores = policy.scores.iter().map(|score| value(score, cluster));
    Ok(Candidate {
        cluster,
        place,
        leaving: if standing.lost.contains(&cluster.id) {
            Some(WhyNot::Silent)
        } else {
            (cordon == Some(CordonMode::Draining)).then_some(WhyNot::Draining)
        },
        scores: scores.collect(),
        groups,
    })
}

fn tolerated(policy: &PlacementPolicy, cluster: &ClusterFacts, place: Place) -> Result<(), WhyNot> {
    for (index, taint) in cluster.scheduling.taints.iter().enumerate() {
        let matters = taint.effect == TaintEffect::NoExecute || place != Place::Holding;
        let mut tolerations = policy.tolerations.iter();
        if matters && !tolerations.any(|toleration| toleration.tolerates(taint)) {
            return Err(WhyNot::Taint(index));
        }
    }
    Ok(())
}

/// Returns the group of a cluster: what its label says, or for `region` and `zone` what its nodes do.
pub(super) fn group<'a>(spread: &Spread, cluster: &'a ClusterFacts) -> Option<&'a str> {
    let nodes = || cluster.scheduling.properties.nodes.as_ref();
    let word = match cluster.labels.get(&spread.by) {
        Some(label) => Some(label),
        None if spread.by == "region" => nodes()?.regions.first(),
        None if spread.by == "zone" => nodes()?.zones.first(),
        None => None,
    };
    word.map(String::as_str)
}

/// Returns what a cluster scores; lower is preferred, and what is not known comes last.
fn value(score: &Score, cluster: &ClusterFacts) -> (bool, i128) {
    match (
        rank(score.property, &cluster.scheduling.properties),
        score.order,
    ) {
        (None, _) => (true, 0),
        (Some(rank), ScoreOrder::Ascending) => (false, rank),
        (Some(rank), ScoreOrder::Descending) => (false, -rank),
    }
}
