//! What was found of a cluster, in one sentence for people.

use bellwether_api::placement::{Affinity, PlacementPolicy, Property, ScoreOrder};

use super::{ClusterFacts, Verdict, WhyNot, fit::group};

/// Says in one sentence why a cluster is chosen or not.
#[must_use]
pub fn sentence(verdict: Verdict, policy: &PlacementPolicy, cluster: &ClusterFacts) -> String {
    match verdict {
        Verdict::Stays => "it has the application and fits".to_owned(),
        Verdict::Planned => "it is planned for the application and fits".to_owned(),
        Verdict::Joins => "it fits".to_owned(),
        Verdict::CannotMove => {
            "it is drained or silent, and no other cluster can take the application".to_owned()
        }
        Verdict::Not(why) => not(why, policy, cluster),
    }
}

fn not(why: WhyNot, policy: &PlacementPolicy, cluster: &ClusterFacts) -> String {
    let spread = |index: usize| policy.spread.get(index);
    let by = |index: usize| spread(index).map_or("group", |spread| &spread.by);
    match why {
        WhyNot::Silent => {
            let after = policy.failover.as_ref().map(|failover| failover.after);
            let after = after.map_or_else(String::new, |after| format!(" for {after}"));
            format!("it was not heard from{after}, and others take the application")
        }
        WhyNot::NotHeard => "it is not heard from, and has not had the application".to_owned(),
        WhyNot::Affinity(index) => {
            let wanted = policy.affinity.get(index).map(requirement);
            let wanted = wanted.unwrap_or_default();
            format!("affinity[{index}] wants {wanted}, and it is not so")
        }
        WhyNot::NotKnown(index) => {
            let wanted = policy.affinity.get(index).map(requirement);
            let wanted = wanted.unwrap_or_default();
            format!("affinity[{index}] wants {wanted}, and its agent has not said")
        }
        WhyNot::Taint(index) => match cluster.scheduling.taints.get(index) {
            Some(taint) => {
                let value = taint.value.as_ref();
                let value = value.map_or_else(String::new, |value| format!("={value}"));
                format!(
                    "its taint {}{value}:{:?} is not tolerated",
                    taint.key, taint.effect
                )
            }
            None => "it bears a taint that is not tolerated".to_owned(),
        },
        WhyNot::Cordoned => "it is cordoned".to_owned(),
        WhyNot::Draining => "it is drained".to_owned(),
        WhyNot::NoGroup(index) => format!("it has no {}, by which clusters are spread", by(index)),
        WhyNot::GroupFull(index) => {
            let group = spread(index).and_then(|spread| group(spread, cluster));
            let max = spread(index).and_then(|spread| spread.max);
            format!(
                "{} {} has the {} clusters that it may have",
                by(index),
                group.unwrap_or_default(),
                max.unwrap_or_default()
            )
        }
        WhyNot::Surplus => format!(
            "{} others are chosen already",
            policy.count.unwrap_or_default()
        ),
    }
}

fn requirement(wanted: &Affinity) -> String {
    let what = match (&wanted.label, wanted.property) {
        (Some(label), _) => format!("label {label}"),
        (None, Some(property)) => format!("{property:?}"),
        (None, None) => String::new(),
    };
    let text = format!("{what} {:?} {}", wanted.operator, wanted.values.join(", "));
    text.trim_end().to_owned()
}

/// Says what a cluster scores, in the policy's order, as `ReadyNodes 5 (most first)`.
#[must_use]
pub fn score_texts(policy: &PlacementPolicy, cluster: &ClusterFacts) -> Vec<String> {
    let scores = policy.scores.iter();
    scores
        .map(|score| {
            let order = match score.order {
                ScoreOrder::Descending => "most",
                ScoreOrder::Ascending => "least",
            };
            let value = property_text(score.property, cluster);
            let value = value.unwrap_or_else(|| "not known".to_owned());
            format!("{:?} {value} ({order} first)", score.property)
        })
        .collect()
}

/// Says which group of every spread a cluster is in, as `region de`.
#[must_use]
pub fn group_texts(policy: &PlacementPolicy, cluster: &ClusterFacts) -> Vec<String> {
    let spread = policy.spread.iter();
    spread
        .map(|spread| {
            let group = group(spread, cluster).unwrap_or("none");
            format!("{} {group}", spread.by)
        })
        .collect()
}

fn property_text(property: Property, cluster: &ClusterFacts) -> Option<String> {
    let properties = &cluster.scheduling.properties;
    let nodes = properties.nodes.as_ref();
    Some(match property {
        Property::KubernetesVersion => properties.kubernetes_version.clone()?,
        Property::ReadyNodes => nodes?.ready.to_string(),
        Property::AllocatableCpu => cpu(nodes?.allocatable_cpu_milli),
        Property::AllocatableMemory => memory(nodes?.allocatable_memory_bytes),
        Property::RequestedCpu => cpu(nodes?.requested?.cpu_milli),
        Property::RequestedMemory => memory(nodes?.requested?.memory_bytes),
        Property::FreeCpu => cpu(nodes?.free()?.cpu_milli),
        Property::FreeMemory => memory(nodes?.free()?.memory_bytes),
        Property::Region => nodes?.regions.join(", "),
        Property::Zone => nodes?.zones.join(", "),
        Property::ApiKinds => return None,
    })
}

pub(super) fn cpu(milli: u64) -> String {
    format!("{milli}m")
}

pub(super) fn memory(bytes: u64) -> String {
    format!("{}Mi", bytes >> 20)
}
