//! Checks of routes that a rollout asks for.

use std::collections::BTreeSet;

use super::{super::matching, Findings, names, top};
use crate::{
    document::FieldPath,
    rollout::{PortRef, RolloutSpec},
    traffic::{HeaderEdits, Provider, RouteCreation, Traffic},
};

/// Checks what one item of a rollout's list asks for.
pub(super) fn check(
    findings: &mut Findings,
    item: &FieldPath,
    traffic: &Traffic,
    rollout: &RolloutSpec,
) {
    let Some(create) = &traffic.create else {
        return;
    };
    let at = item.key("create");
    let providers: BTreeSet<Provider> = traffic.routes().iter().map(|one| one.provider).collect();
    for provider in providers {
        match provider {
            Provider::HttpRoute => http_route(findings, &at, create),
            Provider::VirtualService => virtual_service(findings, &at, create),
            other => {
                let message = format!(
                    "{} ({}) is not created by this version of Bellwether; write it yourself, or \
                     use gatewayApi.httpRoutes or istio.virtualServices",
                    other.field(),
                    other.kind()
                );
                findings.error(&at, message);
            }
        }
    }
    if rollout.application.is_none() && rollout.destination.is_some() {
        findings.error(
            &at,
            "a route is part of a release, and there is none of workloads that the hub does not \
             deliver; write the route yourself",
        );
    }
    if traffic.namespace.is_some() {
        findings.error(
            &at,
            "a route is created beside the workload; leave namespace out, or write it yourself",
        );
    }
    if !traffic.rules.is_empty() {
        findings.error(&at, "a route that is created has one rule; leave rules out");
    }
    let service = rollout.service.as_ref();
    if service.is_some_and(|service| matches!(service.port, PortRef::Name(_))) {
        findings.error(
            &at,
            "a route names the Service's port by number; write service.port as one",
        );
    }
    fields(findings, &at, create);
}

/// Says that defaults create nothing: names of routes are those of one application.
pub(super) fn of_defaults(findings: &mut Findings, item: &FieldPath, traffic: &Traffic, of: &str) {
    if traffic.create.is_some() {
        let message = format!("a {of}'s default creates no routes; write it in the Rollout");
        findings.error(&item.key("create"), message);
    }
}

fn http_route(findings: &mut Findings, at: &FieldPath, create: &RouteCreation) {
    if create.gateways.is_empty() {
        findings.error(
            &at.key("gateways"),
            "name at least one Gateway that the HTTPRoute belongs to",
        );
    }
    let beyond = [
        ("retries", create.retries.is_some()),
        ("cors", create.cors.is_some()),
        ("delegated", create.delegated),
    ];
    for (field, _) in beyond.into_iter().filter(|(_, is_set)| *is_set) {
        let message = format!(
            "an HTTPRoute of the standard channel has no {field}; leave it out, or use {}",
            top(Provider::VirtualService)
        );
        findings.error(&at.key(field), message);
    }
}

fn virtual_service(findings: &mut Findings, at: &FieldPath, create: &RouteCreation) {
    if !create.delegated {
        if create.hosts.is_empty() {
            findings.error(&at.key("hosts"), "name at least one host");
        }
        return;
    }
    for (field, is_empty) in [
        ("hosts", create.hosts.is_empty()),
        ("gateways", create.gateways.is_empty()),
    ] {
        if !is_empty {
            findings.error(
                &at.key(field),
                "the VirtualService that delegates has them; leave it out, or delegated",
            );
        }
    }
}

fn fields(findings: &mut Findings, at: &FieldPath, create: &RouteCreation) {
    for (index, gateway) in create.gateways.iter().enumerate() {
        for part in gateway.splitn(2, '/') {
            names::name(findings, &at.key("gateways").index(index), part);
        }
    }
    for (index, host) in create.hosts.iter().enumerate() {
        let at = at.key("hosts").index(index);
        for label in host.strip_prefix("*.").unwrap_or(host).split('.') {
            names::name(findings, &at, label);
        }
    }
    if create
        .path
        .as_ref()
        .is_some_and(|path| !path.starts_with('/'))
    {
        findings.error(&at.key("path"), "a path begins with /");
    }
    if let Some(headers) = &create.headers {
        let at = at.key("headers");
        for (side, edits) in [
            ("request", &headers.request),
            ("response", &headers.response),
        ] {
            if let Some(edits) = edits {
                header_names(findings, &at.key(side), edits);
            }
        }
    }
    if let Some(cors) = &create.cors
        && cors.allow_origins.is_empty()
    {
        findings.error(
            &at.key("cors").key("allowOrigins"),
            "name at least one origin, or * for any",
        );
    }
}

fn header_names(findings: &mut Findings, at: &FieldPath, edits: &HeaderEdits) {
    let values = |list: &[crate::traffic::HeaderValue]| -> Vec<String> {
        list.iter().map(|one| one.name.clone()).collect()
    };
    for (field, names) in [
        ("set", values(&edits.set)),
        ("add", values(&edits.add)),
        ("remove", edits.remove.clone()),
    ] {
        for (index, name) in names.iter().enumerate() {
            if !matching::is_token(name) {
                let message = format!("{name:?} is no name of a header");
                findings.error(&at.key(field).index(index), message);
            }
        }
    }
}
