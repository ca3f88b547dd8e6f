//! Checks of one provider by itself: one key of each union, and rules that each stand there once.

use std::collections::BTreeSet;

use super::{super::names, Findings, top};
use crate::{
    document::FieldPath,
    traffic::{RuleRef, Traffic},
};

/// Checks one item of the list.
pub(super) fn check(findings: &mut Findings, at: &FieldPath, traffic: &Traffic) {
    copied(findings, at, traffic);
    rules(findings, &at.key("rules"), &traffic.rules);
    let set: BTreeSet<&str> = traffic
        .routes()
        .iter()
        .map(|route| top(route.provider))
        .collect();
    let empty = [
        ("gatewayApi", "httpRoutes", traffic.gateway_api.is_some()),
        ("istio", "virtualServices", traffic.istio.is_some()),
        ("traefik", "ingressRoute", traffic.traefik.is_some()),
        ("linkerd", "httpRoute", traffic.linkerd.is_some()),
        ("gloo", "routeTable", traffic.gloo.is_some()),
    ];
    let mut named_nothing = false;
    for (provider, field, is_set) in empty {
        if is_set && !set.contains(provider) {
            named_nothing = true;
            findings.error(&at.key(provider).key(field), nothing_named(provider));
        }
    }
    if set.is_empty() && !named_nothing {
        findings.error(at, "exactly one provider must be set, such as gatewayApi");
    }
    if set.len() > 1 {
        let found: Vec<&str> = set.into_iter().collect();
        let message = format!(
            "exactly one provider may be set, found {}; write a second item of the list",
            found.join(" and ")
        );
        findings.error(at, message);
    }
    several(findings, at, traffic);
}

/// Providers that name one object of several kinds.
fn several(findings: &mut Findings, at: &FieldPath, traffic: &Traffic) {
    let traefik = traffic.traefik.as_ref();
    let several = [
        (
            "traefik",
            traefik.map_or(0, |one| {
                [&one.service, &one.ingress_route, &one.ingress_route_tcp]
                    .into_iter()
                    .flatten()
                    .count()
            }),
        ),
        (
            "linkerd",
            traffic.linkerd.as_ref().map_or(0, |one| {
                [&one.http_route, &one.traffic_split]
                    .into_iter()
                    .flatten()
                    .count()
            }),
        ),
        (
            "gloo",
            traffic.gloo.as_ref().map_or(0, |one| {
                [&one.route_table, &one.virtual_service]
                    .into_iter()
                    .flatten()
                    .count()
            }),
        ),
    ];
    for (provider, count) in several {
        if count > 1 {
            findings.error(
                &at.key(provider),
                "exactly one may be set; write a second item of traffic",
            );
        }
    }
}

fn rules(findings: &mut Findings, path: &FieldPath, rules: &[RuleRef]) {
    let mut seen = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        if matches!(rule, RuleRef::Name(name) if name.is_empty()) {
            findings.error(&at, "a rule's name is empty");
        }
        if !seen.insert(rule) {
            findings.error(&at, format!("rule {rule} stands here twice"));
        }
    }
}

/// What is said where a provider is set and no object of it is named.
fn nothing_named(provider: &str) -> &'static str {
    match provider {
        "gloo" => {
            "name the RouteTable, or the VirtualService, whose routes lead to the Service: an Upstream \
             is what they lead to, and splits nothing"
        }
        _ => "name at least one route",
    }
}

/// Checks the name of an object that is copied for the canary, where it is written.
fn copied(findings: &mut Findings, at: &FieldPath, traffic: &Traffic) {
    // A name that is left out is the Service's, which is checked where it stands.
    if let Some(copied) = traffic.copied("web") {
        let at = (copied.field.split('.')).fold(at.clone(), |path, key| path.key(key));
        names::name(findings, &at, &copied.name);
    }
}
