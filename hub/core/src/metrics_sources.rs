//! Where the metrics of a cluster are read by default, and what is said of it.

use bellwether_api::{
    call::Condition,
    cluster::METRICS_REACHABLE,
    fleet::{FleetSpec, MetricsDefaults},
};

use crate::placement::{ClusterFacts, is_member};

/// Sources that an agent is asked about at most: a cluster may be in many fleets.
pub const MAX_SOURCES: usize = 8;
/// Characters of a condition's message.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// What an agent says of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAnswer {
    /// The source's address.
    pub address: String,
    /// A CamelCase word for why it does not answer; empty = it does.
    pub reason: String,
    /// A sentence for people; empty = nothing to say.
    pub message: String,
}

/// Returns where the checks of a cluster are read unless a plan names a place of its own: at the
/// cluster's own address, or at those of the fleets that it is in; each once, at most
/// [`MAX_SOURCES`].
pub fn sources<'a>(
    cluster: &ClusterFacts,
    fleets: impl IntoIterator<Item = &'a FleetSpec>,
) -> Vec<MetricsDefaults> {
    if let Some(own) = &cluster.metrics {
        return vec![own.clone()];
    }
    let mut found: Vec<MetricsDefaults> = Vec::new();
    for fleet in fleets {
        let Some(metrics) = &fleet.defaults.metrics else {
            continue;
        };
        let known = |other: &MetricsDefaults| {
            (&other.address, &other.secret_ref) == (&metrics.address, &metrics.secret_ref)
        };
        if found.len() < MAX_SOURCES && is_member(fleet, cluster) && !found.iter().any(known) {
            found.push(metrics.clone());
        }
    }
    found
}

/// Returns the condition of a cluster whose sources gave these answers; `None` = it has none to ask.
#[must_use]
pub fn condition(answers: &[SourceAnswer]) -> Option<Condition> {
    let answers = &answers[..answers.len().min(MAX_SOURCES)];
    let silent: Vec<&SourceAnswer> = answers
        .iter()
        .filter(|answer| !answer.reason.is_empty())
        .collect();
    let (status, reason, message) = match silent.first() {
        None if answers.is_empty() => return None,
        None => {
            let all: Vec<&str> = answers
                .iter()
                .map(|answer| answer.address.as_str())
                .collect();
            ("True", "Answered", format!("{} answered", all.join(", ")))
        }
        Some(first) => {
            let all: Vec<String> = silent
                .iter()
                .map(|answer| format!("{}: {}", answer.address, answer.message))
                .collect();
            ("False", first.reason.as_str(), all.join("; "))
        }
    };
    Some(Condition {
        kind: METRICS_REACHABLE.to_owned(),
        status: status.to_owned(),
        reason: reason.chars().filter(char::is_ascii_alphanumeric).collect(),
        message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
    })
}

/// Tells whether a condition says that metrics do not answer.
#[must_use]
pub fn is_unreachable(condition: &Condition) -> bool {
    condition.kind == METRICS_REACHABLE && condition.status == "False"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bellwether_api::fleet::FleetDefaults;

    use super::*;

    fn at(address: &str) -> MetricsDefaults {
        MetricsDefaults {
            address: address.to_owned(),
            ..MetricsDefaults::default()
        }
    }

    fn fleet(members: &[&str], address: Option<&str>) -> FleetSpec {
        FleetSpec {
            clusters: members.iter().map(|name| (*name).to_owned()).collect(),
            defaults: FleetDefaults {
                metrics: address.map(at),
                ..FleetDefaults::default()
            },
            ..FleetSpec::default()
        }
    }

    fn cluster(metrics: Option<&str>) -> ClusterFacts {
        ClusterFacts {
            id: uuid::Uuid::nil(),
            name: "c1".into(),
            labels: BTreeMap::new(),
            metrics: metrics.map(at),
            traffic: Vec::new(),
            scheduling: std::sync::Arc::default(),
        }
    }

    #[test]
    fn own_address_wins_over_those_of_the_fleets() {
        let fleets = [
            fleet(&["c1"], Some("http://one")),
            fleet(&["c2"], Some("http://elsewhere")),
            fleet(&["c1"], None),
            fleet(&["c1", "c2"], Some("http://two")),
            fleet(&["c1"], Some("http://one")),
        ];
        assert_eq!(
            sources(&cluster(None), &fleets),
            [at("http://one"), at("http://two")]
        );
        assert_eq!(
            sources(&cluster(Some("http://own")), &fleets),
            [at("http://own")]
        );
        assert_eq!(sources(&cluster(None), &[]), []);
        let names: Vec<String> = (0..20).map(|number| format!("http://{number}")).collect();
        let many: Vec<FleetSpec> = names
            .iter()
            .map(|name| fleet(&["c1"], Some(name)))
            .collect();
        assert_eq!(sources(&cluster(None), &many).len(), MAX_SOURCES);
    }

    #[test]
    fn condition_names_what_does_not_answer() {
        let answer = |address: &str, reason: &str| SourceAnswer {
            address: address.into(),
            reason: reason.into(),
            message: if reason.is_empty() { "" } else { "it is gone" }.into(),
        };
        assert_eq!(condition(&[]), None);
        let good = condition(&[answer("http://a", "")]).expect("it was asked");
        assert_eq!(
            (good.status.as_str(), good.reason.as_str()),
            ("True", "Answered")
        );
        assert!(!is_unreachable(&good));
        let bad = condition(&[answer("http://a", ""), answer("http://b", "Unreachable")])
            .expect("it was asked");
        assert_eq!(
            (
                bad.status.as_str(),
                bad.reason.as_str(),
                bad.message.as_str()
            ),
            ("False", "Unreachable", "http://b: it is gone")
        );
        assert!(is_unreachable(&bad));
    }

    #[test]
    fn what_an_agent_says_is_bounded() {
        let loud = SourceAnswer {
            address: "http://a".into(),
            reason: "Very Loud\n".into(),
            message: "é".repeat(5_000),
        };
        let said = condition(&vec![loud; 100]).expect("it was asked");
        assert_eq!(said.reason, "VeryLoud");
        assert_eq!(said.message.chars().count(), MAX_MESSAGE_CHARS);
    }
}
