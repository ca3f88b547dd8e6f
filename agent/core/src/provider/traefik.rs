//! Traefik's own kinds: IngressRoute, IngressRouteTCP, and TraefikService that is weighted.
//!
//! A list of services is weighted in place. Mirrored requests need a TraefikService of the run,
//! which stands for the apex and copies requests to the canary.

mod rule;

use bellwether_api::{number::Weight, reference::ObjectRef};
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, Split,
    backends::{Backends, agreed},
    tree::{items, items_mut, namespace_of, remove, text},
};
use crate::names::cut;

const API_VERSION: &str = "traefik.io/v1alpha1";
const MAX_WEIGHT: u64 = i32::MAX as u64;

/// One of Traefik's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traefik {
    /// `spec.routes[].services`, with rules in `match`.
    IngressRoute,
    /// `spec.routes[].services`, of connections.
    IngressRouteTcp,
    /// `spec.weighted.services`.
    TraefikService,
}

impl Renderer for Traefik {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        with_backends(object, names, |backends| match self {
            Self::TraefikService => service(object, names, split, backends),
            Self::IngressRoute | Self::IngressRouteTcp => routes(object, names, split, backends),
        })
    }

    fn own_targets(&self, target: &ObjectRef, names: &Names) -> Vec<ObjectRef> {
        if *self == Self::IngressRouteTcp {
            return Vec::new();
        }
        vec![ObjectRef {
            api_version: API_VERSION.to_owned(),
            kind: "TraefikService".to_owned(),
            namespace: Some(names.namespace.clone()),
            name: mirror_of(&target.name, names),
        }]
    }

    fn names_own(&self) -> bool {
        true
    }

    fn own(&self, object: &Value, names: &Names, split: &Split) -> Result<Vec<Value>, RenderError> {
        if split.mirror == Weight::ZERO || split.weight == Weight::FULL {
            return Ok(Vec::new());
        }
        with_backends(object, names, |backends| {
            let lists = self.lists(object);
            let mut mirrors: Vec<Value> = lists
                .into_iter()
                .flatten()
                .filter(|one| (backends.is_apex)(one))
                .map(|one| mirror(object, one, names, split, backends))
                .collect();
            mirrors.dedup();
            if mirrors.len() > 1 {
                return Err(RenderError::Unsplittable {
                    what: format!("Service {}", names.apex),
                    why: "it stands in rules with different settings, and one mirror cannot have \
                          them all; name the rule in traffic[].rules",
                });
            }
            Ok(mirrors)
        })
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        with_backends(object, names, |backends| {
            let lists = self.lists(object).into_iter();
            let shares = lists.filter_map(|services| backends.share(services));
            agreed(shares, !names.rules.is_empty())
        })
    }
}

impl Traefik {
    /// Every list of services of an object.
    fn lists(self, object: &Value) -> Vec<&[Value]> {
        match self {
            Self::TraefikService => vec![items(object, "/spec/weighted/services")],
            Self::IngressRoute | Self::IngressRouteTcp => items(object, "/spec/routes")
                .iter()
                .map(|route| items(route, "/services"))
                .collect(),
        }
    }
}

/// The mirror of a run stands for the apex: it answers as the stable version.
fn with_backends<T>(object: &Value, names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    let beside = |backend: &Value| match text(backend, "namespace") {
        "" => namespace_of(object) == names.namespace,
        own => own == names.namespace,
    };
    let is = |backend: &Value, kind: &str, name: &str| {
        let own = match text(backend, "kind") {
            "" => "Service",
            own => own,
        };
        own == kind && text(backend, "name") == name && beside(backend)
    };
    let mirror = mirror_name(object, names);
    then(&Backends {
        is_apex: &|backend| {
            is(backend, "Service", &names.apex) || is(backend, "TraefikService", &mirror)
        },
        is_canary: &|backend| is(backend, "Service", &names.canary),
        rename: &|backend| backend["name"] = json!(names.canary),
        default_weight: 1,
        max_weight: MAX_WEIGHT,
    })
}

fn service(
    object: &Value,
    names: &Names,
    split: &Split,
    backends: &Backends<'_>,
) -> Result<Value, RenderError> {
    let services = items(object, "/spec/weighted/services");
    let found = if backends.has_apex(services) {
        vec![(0, None)]
    } else {
        Vec::new()
    };
    names.all_found(&found)?;
    let shares = shares(object, services, names, split, backends);
    let mut object = object.clone();
    object["spec"]["weighted"]["services"] = json!(shares);
    Ok(object)
}

fn routes(
    object: &Value,
    names: &Names,
    split: &Split,
    backends: &Backends<'_>,
) -> Result<Value, RenderError> {
    let mut out = Vec::new();
    let mut found = Vec::new();
    for (index, route) in items(object, "/spec/routes").iter().enumerate() {
        let services = items(route, "/services");
        if !backends.has_apex(services) || !names.selects(index, None) {
            out.push(route.clone());
            continue;
        }
        found.push((index, None));
        let arms = split.arms();
        for (place, arm) in arms.iter().enumerate() {
            let mut inserted = rule::joined(route, arm, arms.len() - place)?;
            inserted["services"] = json!(arm.backends(backends, services));
            out.push(inserted);
        }
        let mut route = route.clone();
        route["services"] = json!(shares(object, services, names, split, backends));
        out.push(route);
    }
    names.all_found(&found)?;
    let mut object = object.clone();
    if let Some(routes) = items_mut(&mut object, "/spec/routes") {
        *routes = out;
    }
    Ok(object)
}

/// A list of services, by weight and with the mirror in the apex' place.
fn shares(
    object: &Value,
    services: &[Value],
    names: &Names,
    split: &Split,
    backends: &Backends<'_>,
) -> Vec<Value> {
    let mut out = if split.weight > Weight::ZERO {
        backends.split(services, split.weight)
    } else {
        services.to_vec()
    };
    if split.mirror > Weight::ZERO && split.weight < Weight::FULL {
        let mirror = mirror_name(object, names);
        for service in out.iter_mut().filter(|one| (backends.is_apex)(one)) {
            let weight = service.get("weight").cloned();
            *service = json!({
                "kind": "TraefikService", "name": mirror,
                "namespace": names.namespace,
            });
            if let Some(weight) = weight {
                service["weight"] = weight;
            }
        }
    }
    out
}

/// The name of the run's TraefikService beside an object.
fn mirror_name(object: &Value, names: &Names) -> String {
    mirror_of(text(&object["metadata"], "name"), names)
}

fn mirror_of(name: &str, names: &Names) -> String {
    cut(&format!("{}-mirror-{name}", names.canary))
}

/// The run's TraefikService: the apex as the user set it up, and the canary as its mirror.
fn mirror(
    object: &Value,
    apex: &Value,
    names: &Names,
    split: &Split,
    backends: &Backends<'_>,
) -> Value {
    let mut main = apex.clone();
    remove(&mut main, "weight");
    let mut canary = main.clone();
    (backends.rename)(&mut canary);
    // Sessions are kept by who answers, and nobody sees what a mirror answers.
    remove(&mut canary, "sticky");
    canary["percent"] = json!(split.mirror.percent());
    main["mirrors"] = json!([canary]);
    json!({
        "apiVersion": API_VERSION,
        "kind": "TraefikService",
        "metadata": {"name": mirror_name(object, names), "namespace": names.namespace},
        "spec": {"mirroring": main},
    })
}

#[cfg(test)]
mod tests;
