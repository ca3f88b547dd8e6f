//! The controllers of traffic providers, played: what the status of an object says once one has taken it over.

use anyhow::Result;
use bellwether_api::traffic::Provider;
use bellwether_integration_tests::cluster::Member;
use serde_json::{Value, json};

/// Takes over every HTTPRoute of a namespace, as a gateway's controller would.
pub fn programs(member: &Member, namespace: &str) -> Result<()> {
    let provider = Provider::HttpRoute;
    for route in member.list(provider.api_version(), provider.kind(), namespace)? {
        take_over(member, provider, &route)?;
    }
    Ok(())
}

/// Takes over an object in its present generation, as the controller of its provider would.
pub fn take_over(member: &Member, provider: Provider, object: &Value) -> Result<()> {
    match status_of(provider, object) {
        Some(status) if !is_told(object) => write_status(member, provider, object, &status),
        _ => Ok(()),
    }
}

/// Tells whether a status speaks of the present generation.
fn is_told(object: &Value) -> bool {
    let places = [
        "/status/parents/0/conditions/0/observedGeneration",
        "/status/conditions/0/observedGeneration",
    ];
    let told = places.iter().find_map(|place| object.pointer(place));
    // Gloo names no generation.
    told == Some(&object["metadata"]["generation"]) || object.pointer("/status/statuses").is_some()
}

/// What a controller says of an object that it has taken over; `None` = this provider's says nothing.
fn status_of(provider: Provider, object: &Value) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": kind, "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    Some(match provider {
        Provider::HttpRoute
        | Provider::GrpcRoute
        | Provider::TcpRoute
        | Provider::LinkerdHttpRoute => json!({"parents": [{
            "parentRef": object["spec"]["parentRefs"][0],
            "controllerName": "bellwether.local/played",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")],
        }]}),
        Provider::HttpProxy => json!({"conditions": [condition("Valid")]}),
        Provider::ApisixRoute => json!({"conditions": [condition("ResourcesAvailable")]}),
        Provider::GlooRouteTable | Provider::GlooVirtualService => {
            json!({"statuses": {"gloo-system": {"state": "Accepted", "reportedBy": "gloo"}}})
        }
        Provider::AppMesh => json!({
            "observedGeneration": generation, "conditions": [condition("VirtualRouterActive")],
        }),
        // Nobody says when these are in force.
        Provider::Nginx
        | Provider::VirtualService
        | Provider::TraefikService
        | Provider::IngressRoute
        | Provider::IngressRouteTcp
        | Provider::TrafficSplit
        | Provider::Kuma
        | Provider::Alb
        | Provider::Skipper
        | Provider::None => return None,
        // By [`Knative`].
        Provider::Knative => return None,
    })
}

fn write_status(member: &Member, provider: Provider, object: &Value, status: &Value) -> Result<()> {
    let (api_version, kind) = (provider.api_version(), provider.kind());
    let [namespace, name] =
        ["namespace", "name"].map(|field| object["metadata"][field].as_str().unwrap_or_default());
    let patch = json!({"status": status});
    let written = member.patch_status(api_version, kind, namespace, name, &patch);
    // It may be gone since it was read.
    if member.get(api_version, kind, namespace, name)?.is_some() {
        written?;
    }
    Ok(())
}

/// The controller of one Service of Knative.
#[derive(Debug, Default)]
pub struct Knative {
    /// The template of each revision that was made, the oldest first.
    templates: Vec<Value>,
}

impl Knative {
    /// Makes a revision of a template that is new, which is ready at once, and shares requests as the Service says.
    pub fn reconcile(&mut self, member: &Member, service: &Value) -> Result<()> {
        let template = &service["spec"]["template"];
        if self.templates.last() != Some(template) {
            self.templates.push(template.clone());
        }
        let generation = &service["metadata"]["generation"];
        if service.pointer("/status/observedGeneration") == Some(generation) {
            return Ok(());
        }
        let newest = revision(service, self.templates.len());
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions = ["ConfigurationsReady", "Ready", "RoutesReady"].map(condition);
        let status = json!({
            "observedGeneration": generation,
            "latestCreatedRevisionName": newest,
            "latestReadyRevisionName": newest,
            "conditions": conditions,
            "traffic": shared(service, &newest),
        });
        write_status(member, Provider::Knative, service, &status)
    }

    /// The percentage of requests that revisions of `image` have.
    pub fn share_of(&self, service: &Value, image: &str) -> u64 {
        let is_of = |(_, template): &(usize, &Value)| {
            template.pointer("/spec/containers/0/image") == Some(&json!(image))
        };
        let own: Vec<String> = self
            .templates
            .iter()
            .enumerate()
            .filter(is_of)
            .map(|(index, _)| revision(service, index + 1))
            .collect();
        let newest = revision(service, self.templates.len());
        let targets = shared(service, &newest);
        let of_image = targets.iter().filter(|target| {
            let name = target["revisionName"].as_str().unwrap_or_default();
            own.iter().any(|one| one == name)
        });
        of_image
            .filter_map(|target| target["percent"].as_u64())
            .sum()
    }
}

fn revision(service: &Value, number: usize) -> String {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    format!("{name}-{number:05}")
}

/// The Service's targets with the names of their revisions.
fn shared(service: &Value, newest: &str) -> Vec<Value> {
    let written = service.pointer("/spec/traffic").and_then(Value::as_array);
    let mut targets = written
        .cloned()
        .unwrap_or_else(|| vec![json!({"latestRevision": true, "percent": 100})]);
    for target in &mut targets {
        if target["latestRevision"] == true {
            target["revisionName"] = json!(newest);
        }
    }
    targets
}
