//! What a rollout asks of its traffic providers, and what they lack of it.

use std::collections::BTreeSet;

use super::{Capability, Provider};
use crate::{
    matching::{Match, NamedMatch, ValueMatch},
    number::Weight,
    rollout::RolloutSpec,
    strategy::{AnalysisTraffic, Canary},
};

/// What a rollout asks of every provider that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    needs: BTreeSet<Capability>,
}

/// Something that is asked of a provider which it cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What it cannot do.
    pub capability: Capability,
    /// The nearest thing that it can; absent = nothing comes near.
    pub nearest: Option<Capability>,
}

impl Demand {
    /// Works out what a rollout asks.
    #[must_use]
    pub fn of(rollout: &RolloutSpec) -> Self {
        let mut demand = Self::default();
        let strategy = &rollout.strategy;
        if let Some(canary) = &strategy.canary {
            demand.weights();
            demand.canary(canary);
        }
        if let Some(test) = &strategy.ab_test {
            demand.matches(&test.matches);
        }
        if let Some(plan) = &strategy.blue_green {
            demand.weights();
            if plan.analysis_traffic == AnalysisTraffic::Mirror {
                demand.mirror(Weight::FULL, Weight::ZERO);
            }
        }
        for step in strategy.batch.iter().flat_map(|batch| &batch.steps) {
            if step.weight.is_some() {
                demand.weights();
            }
            demand.matches(&step.matches);
        }
        if rollout.session_affinity.is_some() {
            demand.affinity();
        }
        demand
    }

    fn canary(&mut self, canary: &Canary) {
        self.matches(&canary.matches);
        for step in &canary.steps {
            self.matches(&step.matches);
            self.mirror(step.mirror.unwrap_or(Weight::ZERO), step.weight);
        }
        if canary.mirror {
            // As large as the first weight.
            let steps = canary.steps.iter().map(|step| step.weight);
            let first = canary
                .step_weight
                .into_iter()
                .chain(canary.weights.iter().copied());
            let first = first.chain(steps).find(|weight| *weight > Weight::ZERO);
            let first = first.map(|weight| weight.min(canary.max_weight.unwrap_or(weight)));
            self.mirror(first.unwrap_or(Weight::ZERO), Weight::ZERO);
        }
    }

    /// Asks for shares by weight.
    pub fn weights(&mut self) {
        self.needs.insert(Capability::Weights);
    }

    /// Asks for matches, any of which suffices.
    pub fn matches(&mut self, items: &[Match]) {
        let mut subjects = BTreeSet::new();
        for item in items {
            let conditions = subjects_of(item);
            if conditions.len() > 1 {
                self.needs.insert(Capability::AllOf);
            }
            subjects.extend(conditions);
            self.needs.extend(needs_of(item));
        }
        if items.len() > 1 && subjects.len() > 1 {
            self.needs.insert(Capability::AnyOf);
        }
    }

    /// Asks for a share of the requests to be mirrored that a canary with `weight` leaves to the stable
    /// version. Of all requests it is a share as well, unless it is every one of them.
    pub fn mirror(&mut self, share: Weight, weight: Weight) {
        if share == Weight::ZERO {
            return;
        }
        self.needs.insert(Capability::Mirror);
        if share < Weight::FULL || weight > Weight::ZERO {
            self.needs.insert(Capability::MirrorShare);
        }
    }

    /// Asks for users that stay on one version.
    pub fn affinity(&mut self) {
        self.needs.insert(Capability::Affinity);
    }

    /// Tells whether it asks for this.
    #[must_use]
    pub fn asks(&self, capability: Capability) -> bool {
        self.needs.contains(&capability)
    }

    /// Tells what a provider lacks of it.
    #[must_use]
    pub fn lacks(&self, provider: Provider) -> Vec<Lack> {
        let can = provider.capabilities();
        // A provider that cannot mirror at all need not be told that it cannot mirror a share.
        let implied = |need: Capability| {
            need == Capability::MirrorShare && !can.contains(&Capability::Mirror)
        };
        self.needs
            .iter()
            .filter(|need| !can.contains(need) && !implied(**need))
            .map(|need| Lack {
                capability: *need,
                nearest: need
                    .nearest()
                    .iter()
                    .copied()
                    .find(|near| can.contains(near)),
            })
            .collect()
    }
}

/// What a condition looks at: headers are named in any case, cookies are a header.
fn subjects_of(item: &Match) -> BTreeSet<String> {
    let headers = item.headers.iter().map(|one| one.name.to_lowercase());
    let mut subjects: BTreeSet<String> = headers.map(|name| format!("header {name}")).collect();
    subjects.extend(item.cookies.iter().map(|_| "header cookie".to_owned()));
    let query = item.query_params.iter();
    subjects.extend(query.map(|one| format!("query {}", one.name)));
    subjects.extend(item.path.is_some().then(|| "path".to_owned()));
    subjects.extend(item.method.is_some().then(|| "method".to_owned()));
    subjects.extend(item.port.is_some().then(|| "port".to_owned()));
    subjects.extend((!item.source_labels.is_empty()).then(|| "labels".to_owned()));
    subjects
}

fn needs_of(item: &Match) -> BTreeSet<Capability> {
    use Capability as C;
    let named = |one: &NamedMatch, kinds| value_need(&one.exact, &one.prefix, kinds);
    let mut needs = BTreeSet::new();
    for one in &item.headers {
        needs.insert(named(
            one,
            [C::HeaderExact, C::HeaderPrefix, C::HeaderRegex],
        ));
    }
    for one in &item.cookies {
        needs.insert(named(
            one,
            [C::CookieExact, C::CookiePrefix, C::CookieRegex],
        ));
    }
    for one in &item.query_params {
        needs.insert(named(one, [C::QueryExact, C::QueryPrefix, C::QueryRegex]));
    }
    if item.cookies.len() > 1 {
        needs.insert(C::AllOf);
    }
    if let Some(ValueMatch { exact, prefix, .. }) = &item.path {
        let kinds = [C::PathExact, C::PathPrefix, C::PathRegex];
        needs.insert(value_need(exact, prefix, kinds));
    }
    needs.extend(item.method.is_some().then_some(C::Method));
    needs.extend(item.port.is_some().then_some(C::Port));
    needs.extend((!item.source_labels.is_empty()).then_some(C::SourceLabels));
    needs
}

fn value_need(
    exact: &Option<String>,
    prefix: &Option<String>,
    [by_value, by_prefix, by_regex]: [Capability; 3],
) -> Capability {
    match (exact, prefix) {
        (Some(_), _) => by_value,
        (None, Some(_)) => by_prefix,
        (None, None) => by_regex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Match {
        Match {
            headers: vec![NamedMatch {
                name: name.into(),
                exact: Some("1".into()),
                ..NamedMatch::default()
            }],
            ..Match::default()
        }
    }

    fn lacks(provider: Provider, demand: &Demand) -> Vec<(Capability, Option<Capability>)> {
        let lacks = demand.lacks(provider).into_iter();
        lacks.map(|lack| (lack.capability, lack.nearest)).collect()
    }

    #[test]
    fn what_is_asked_is_compared_with_what_a_provider_can() {
        use Capability as C;
        let mut port = Demand::default();
        port.matches(&[Match {
            port: Some(8443),
            ..Match::default()
        }]);
        assert_eq!(lacks(Provider::VirtualService, &port), []);
        assert_eq!(
            lacks(Provider::HttpRoute, &port),
            [(C::Port, Some(C::HeaderExact))]
        );
        let mut headers = Demand::default();
        headers.matches(&[header("a"), header("b")]);
        assert_eq!(lacks(Provider::HttpRoute, &headers), []);
        assert_eq!(
            lacks(Provider::Nginx, &headers),
            [(C::AnyOf, Some(C::HeaderExact))]
        );
        assert_eq!(
            lacks(Provider::TcpRoute, &headers),
            [(C::HeaderExact, None), (C::AnyOf, Some(C::Weights))]
        );
        let mut one_header = Demand::default();
        one_header.matches(&[header("a"), header("A")]);
        assert_eq!(lacks(Provider::Nginx, &one_header), []);
        let mut mirror = Demand::default();
        mirror.mirror(Weight::clamped(30), Weight::ZERO);
        assert_eq!(lacks(Provider::IngressRoute, &mirror), []);
        assert_eq!(
            lacks(Provider::Alb, &mirror),
            [(C::Mirror, Some(C::Weights))],
            "a share of what cannot be is not told too"
        );
        for (share, weight, is_share) in [(100, 0, false), (30, 0, true), (100, 30, true)] {
            let mut mirror = Demand::default();
            mirror.mirror(Weight::clamped(share), Weight::clamped(weight));
            let asked = mirror.asks(C::MirrorShare);
            assert_eq!(asked, is_share, "{share} % beside a canary of {weight} %");
        }
        let mut affinity = Demand::default();
        affinity.affinity();
        assert_eq!(
            lacks(Provider::IngressRoute, &affinity),
            [(C::Affinity, Some(C::Weights))]
        );
    }

    #[test]
    fn nothing_stands_in_for_itself() {
        for capability in Capability::ALL {
            assert!(!capability.nearest().contains(&capability));
        }
    }
}
