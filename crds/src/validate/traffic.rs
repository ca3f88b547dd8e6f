//! Checks of traffic providers, and of what a rollout asks of them.

mod create;
mod dialect;
mod knative;
mod union;

use std::collections::BTreeSet;

pub(super) use knative::check as revisions;

use super::{finding::Findings, names};
use crate::{
    document::FieldPath,
    rollout::RolloutSpec,
    strategy::InstancesMode,
    traffic::{Demand, NamedRoute, Provider, Traffic},
};

/// Checks a rollout's own providers against what it asks of them.
pub(super) fn of_rollout(findings: &mut Findings, path: &FieldPath, rollout: &RolloutSpec) {
    list(findings, path, &rollout.traffic);
    for (index, one) in rollout.traffic.iter().enumerate() {
        create::check(findings, &path.index(index), one, rollout);
    }
    asked(findings, path, &rollout.traffic, rollout);
}

/// Checks what a rollout without providers of its own asks of its fleet's or its cluster's. Paths are
/// the rollout's.
#[must_use]
pub fn default_traffic(rollout: &RolloutSpec, default: &[Traffic]) -> Findings {
    let mut findings = Findings::default();
    if rollout.traffic.is_empty() && rollout.service.is_some() {
        asked(&mut findings, &FieldPath::spec(), default, rollout);
    }
    findings
}

fn asked(findings: &mut Findings, path: &FieldPath, traffic: &[Traffic], rollout: &RolloutSpec) {
    let demand = Demand::of(rollout);
    let own = !rollout.traffic.is_empty();
    for (index, one) in traffic.iter().enumerate() {
        let mut told = BTreeSet::new();
        for route in one.routes() {
            let at = if own {
                field(&path.index(index), route.provider)
            } else {
                path.clone()
            };
            if told.insert(route.provider) {
                lacking(findings, &at, route.provider, &demand);
                dialect::check(findings, &at, route.provider, rollout);
                elsewhere(findings, &at, route.provider, one, rollout);
                if route.provider == Provider::Kuma {
                    own_service(findings, &at, route.name, rollout);
                }
                if route.provider == Provider::Knative {
                    knative::of_workload(findings, &at, rollout);
                }
                if route.provider == Provider::None {
                    by_pods(findings, &at, rollout);
                }
            }
        }
    }
}

/// Checks a list of traffic providers.
fn list(findings: &mut Findings, path: &FieldPath, traffic: &[Traffic]) {
    let mut seen = BTreeSet::new();
    for (index, one) in traffic.iter().enumerate() {
        let at = path.index(index);
        union::check(findings, &at, one);
        if let Some(namespace) = &one.namespace {
            names::name(findings, &at.key("namespace"), namespace);
        }
        for route in one.routes() {
            let at = place(&at, route);
            if !route.provider.is_supported() {
                findings.error(&at, unsupported(route.provider));
                continue;
            }
            if route.provider == Provider::Knative {
                knative::alone(findings, &at, one, traffic);
                continue;
            }
            if !route.provider.has_object() {
                alone(findings, &at, one, traffic);
                continue;
            }
            names::name(findings, &at, route.name);
            let key = (route.provider, one.namespace.as_deref(), route.name);
            if !seen.insert(key) {
                let kind = route.provider.kind();
                findings.error(&at, format!("{kind} {:?} stands here twice", route.name));
            }
        }
    }
}

/// Checks the default providers of a fleet or a cluster.
pub(super) fn defaults(findings: &mut Findings, path: &FieldPath, traffic: &[Traffic], of: &str) {
    list(findings, path, traffic);
    for (index, one) in traffic.iter().enumerate() {
        create::of_defaults(findings, &path.index(index), one, of);
    }
}

/// Pods cannot be shared in one way and requests in another.
fn alone(findings: &mut Findings, at: &FieldPath, one: &Traffic, traffic: &[Traffic]) {
    if traffic.len() > 1 {
        findings.error(
            at,
            "without a router both versions share all requests by their pods; leave none out, or \
             the other items",
        );
    }
    if !one.rules.is_empty() {
        findings.error(at, "without a router there are no rules; leave rules out");
    }
}

/// Kuma makes a MeshService of each Service, by its name.
fn own_service(findings: &mut Findings, at: &FieldPath, name: &str, rollout: &RolloutSpec) {
    let service = rollout.service.as_ref().map(|service| &service.name);
    if let Some(service) = service.filter(|service| *service != name) {
        let message = format!("the MeshService of the rollout's Service is {service:?}");
        findings.error(at, message);
    }
}

/// What is asked of a Service that selects both versions.
fn by_pods(findings: &mut Findings, at: &FieldPath, rollout: &RolloutSpec) {
    if let Some(batch) = &rollout.strategy.batch {
        if batch.splits() {
            findings.error(
                at,
                "without a router the share of traffic is the share of pods, which a batch sets; \
                 leave weight and match out",
            );
        }
        return;
    }
    if rollout.copies_daemon_set() {
        findings.error(
            at,
            "without a router the share of traffic is the share of pods, and a DaemonSet has no number \
             of them to share; use a provider that routes",
        );
        return;
    }
    if rollout.copy_adapter().is_some() {
        findings.error(
            at,
            "without a router the share of traffic is the share of pods, which are never taken from a \
             workload whose kind an adapter tells of; use a provider that routes",
        );
        return;
    }
    if rollout.instances.mode != InstancesMode::FixedTotal {
        findings.error(
            at,
            "without a router the share of traffic is the share of pods; set instances.mode to \
             FixedTotal, which takes pods by weight",
        );
    }
    if rollout.instances.max_replicas.is_some() {
        findings.error(
            at,
            "without a router both versions share as many pods as the workload has; leave \
             instances.maxReplicas out",
        );
    }
    let canary = rollout.strategy.canary.as_ref();
    if canary.is_some_and(|canary| canary.step_weight_promotion.is_some()) {
        findings.error(
            at,
            "without a router traffic returns with the pods; leave \
             strategy.canary.stepWeightPromotion out",
        );
    }
}

/// Says by name what a provider cannot do, and what comes nearest.
fn lacking(findings: &mut Findings, at: &FieldPath, provider: Provider, demand: &Demand) {
    if !provider.is_supported() {
        return;
    }
    for lack in demand.lacks(provider) {
        let nearest = lack
            .nearest
            .map(|nearest| format!("; it can {nearest}"))
            .unwrap_or_default();
        let message = format!(
            "{} ({}) cannot {}{nearest}",
            provider.field(),
            provider.kind(),
            lack.capability
        );
        findings.error(at, message);
    }
}

/// Objects that name Services of their own namespace only must lie beside the Service.
fn elsewhere(
    findings: &mut Findings,
    at: &FieldPath,
    provider: Provider,
    traffic: &Traffic,
    rollout: &RolloutSpec,
) {
    let named = traffic.namespace.as_ref();
    if named.is_some() && named != rollout.workload.namespace.as_ref() && !provider.crosses() {
        let message = format!(
            "{} names Services of its own namespace only; leave namespace out",
            provider.kind()
        );
        findings.error(at, message);
    }
}

fn unsupported(provider: Provider) -> String {
    let supported: BTreeSet<&str> = Provider::ALL
        .into_iter()
        .filter(|one| one.is_supported())
        .map(top)
        .collect();
    let supported: Vec<&str> = supported.into_iter().collect();
    format!(
        "{} is not supported by this version of Bellwether; use one of {}",
        top(provider),
        supported.join(", ")
    )
}

fn top(provider: Provider) -> &'static str {
    let field = provider.field();
    field.split_once('.').map_or(field, |(top, _)| top)
}

/// Where a provider stands below one item of the list.
fn field(item: &FieldPath, provider: Provider) -> FieldPath {
    provider
        .field()
        .split('.')
        .fold(item.clone(), |path, key| path.key(key))
}

/// Where one named object stands below one item of the list.
pub(super) fn place(item: &FieldPath, route: NamedRoute<'_>) -> FieldPath {
    let at = field(item, route.provider);
    match route.index {
        Some(index) => at.index(index),
        None => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Match;

    fn without_router(traffic: &str, more: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: web, namespace: default}}
spec:
  application: shop
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  service: {{name: web, port: 80}}
  traffic: {traffic}
{more}"
        );
        match crate::document::load("web.yaml", text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn without_a_router_only_shares_of_a_fixed_total_are_taken() {
        const FIXED: &str = "  instances: {mode: FixedTotal}\n";
        let weights = "  strategy: {canary: {weights: [20, 100]}}\n";
        let taken = without_router("[{none: {}}]", &format!("{weights}{FIXED}"));
        assert_eq!(taken, [""; 0]);
        for (traffic, more, says) in [
            (
                "[{none: {}}]",
                weights.to_owned(),
                "set instances.mode to FixedTotal",
            ),
            (
                "[{none: {}}]",
                format!("{weights}  instances: {{mode: FixedTotal, maxReplicas: 9}}\n"),
                "leave instances.maxReplicas out",
            ),
            (
                "[{none: {}, rules: [1]}]",
                format!("{weights}{FIXED}"),
                "leave rules out",
            ),
            (
                "[{none: {}}, {nginx: {ingress: web}}]",
                format!("{weights}{FIXED}"),
                "leave none out",
            ),
            (
                "[{none: {}}]",
                format!("  strategy: {{canary: {{weights: [20], mirror: true}}}}\n{FIXED}"),
                "none (Service) cannot mirror requests; it can split by weight",
            ),
            (
                "[{none: {}}]",
                format!(
                    "  strategy: {{canary: {{weights: [20], match: [{{headers: [{{name: a, exact: b}}]}}]}}}}\n{FIXED}"
                ),
                "none (Service) cannot match headers exactly",
            ),
            (
                "[{none: {}}]",
                format!("{weights}{FIXED}  sessionAffinity: {{cookieName: a}}\n"),
                "none (Service) cannot keep sessions on one version",
            ),
            (
                "[{none: {}}]",
                format!(
                    "  strategy: {{canary: {{weights: [20], stepWeightPromotion: 50}}}}\n{FIXED}"
                ),
                "stepWeightPromotion out",
            ),
        ] {
            let errors = without_router(traffic, &more);
            assert!(
                errors.iter().any(|error| error.contains(says)),
                "{traffic} {more}: {errors:?}"
            );
        }
    }

    #[test]
    fn what_a_provider_lacks_is_said_by_name_with_what_comes_nearest() {
        let mut demand = Demand::default();
        demand.matches(&[Match {
            method: Some("POST".into()),
            ..Match::default()
        }]);
        let mut findings = Findings::default();
        lacking(&mut findings, &FieldPath::spec(), Provider::Nginx, &demand);
        lacking(
            &mut findings,
            &FieldPath::spec(),
            Provider::HttpRoute,
            &demand,
        );
        let messages: Vec<&str> = findings
            .errors
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(
            messages,
            ["nginx.ingress (Ingress) cannot match the method; it can match headers exactly"]
        );
    }
}
