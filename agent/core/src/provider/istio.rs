//! Istio VirtualService: http routes with matches and mirrors, tcp and tls routes by weight.

mod conditions;
mod destination_rule;

use bellwether_api::{number::Weight, reference::ObjectRef};
use serde_json::{Value, json};

use super::{
    Names, RenderError, Renderer, RouteObservation, Split,
    arms::{Arm, Version},
    backends::{Backends, agreed},
    tree::{items, namespace_of, object, remove, text},
};

pub(super) use conditions::uri as join_path;

/// VirtualService of Istio.
#[derive(Clone, Copy, Debug)]
pub struct VirtualService;

const MAX_WEIGHT: u64 = i32::MAX as u64;

impl Renderer for VirtualService {
    fn render(&self, object: &Value, names: &Names, split: &Split) -> Result<Value, RenderError> {
        with_backends(namespace_of(object), names, |backends| {
            let mut out = object.clone();
            let mut found = Vec::new();
            if let Some(routes) = http(object, names, split, backends, &mut found)? {
                out["spec"]["http"] = json!(routes);
            }
            for layer in ["tcp", "tls"] {
                let routes = connections(object, layer, names, split, backends, &mut found)?;
                if let Some(routes) = routes {
                    out["spec"][layer] = json!(routes);
                }
            }
            names.all_found(&found)?;
            Ok(out)
        })
    }

    fn own_targets(&self, _target: &ObjectRef, names: &Names) -> Vec<ObjectRef> {
        destination_rule::target(names).into_iter().collect()
    }

    fn names_own(&self) -> bool {
        true
    }

    fn own(
        &self,
        _object: &Value,
        names: &Names,
        _split: &Split,
    ) -> Result<Vec<Value>, RenderError> {
        Ok(destination_rule::of_canary(names)?.into_iter().collect())
    }

    fn observe(&self, object: &Value) -> RouteObservation {
        observe(object)
    }

    fn observed_weight(&self, object: &Value, _own: &[&Value], names: &Names) -> Option<Weight> {
        with_backends(namespace_of(object), names, |backends| {
            let layers = ["/spec/http", "/spec/tcp", "/spec/tls"].into_iter();
            let shares = layers
                .flat_map(|layer| items(object, layer))
                .filter_map(|route| backends.share(items(route, "/route")));
            agreed(shares, !names.rules.is_empty())
        })
    }
}

/// A destination's host, in every form in which Istio resolves it.
pub(super) fn names_service(host: &str, namespace: &str, names: &Names, service: &str) -> bool {
    match host.strip_prefix(service) {
        Some("") => namespace == names.namespace,
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| {
            let (own, domain) = rest.split_once('.').unwrap_or((rest, "svc"));
            own == names.namespace && (domain == "svc" || domain.starts_with("svc."))
        }),
        None => false,
    }
}

/// The canary's Service in the form in which the apex was written.
pub(super) fn canary_host(host: &str, names: &Names) -> String {
    let rest = host.strip_prefix(&names.apex).unwrap_or("");
    format!("{}{rest}", names.canary)
}

fn with_backends<T>(namespace: &str, names: &Names, then: impl FnOnce(&Backends<'_>) -> T) -> T {
    let is = |backend: &Value, service: &str| {
        let host = backend
            .pointer("/destination/host")
            .and_then(Value::as_str)
            .unwrap_or("");
        names_service(host, namespace, names, service)
    };
    then(&Backends {
        is_apex: &|backend| is(backend, &names.apex),
        is_canary: &|backend| is(backend, &names.canary),
        rename: &|backend| {
            let host = &mut backend["destination"]["host"];
            *host = json!(canary_host(host.as_str().unwrap_or(""), names));
        },
        // A weight that is left out beside others is 0.
        default_weight: 0,
        max_weight: MAX_WEIGHT,
    })
}

type Found = Vec<(usize, Option<String>)>;

/// The http routes with the split in them; `None` when none is split.
fn http(
    object: &Value,
    names: &Names,
    split: &Split,
    backends: &Backends<'_>,
    found: &mut Found,
) -> Result<Option<Vec<Value>>, RenderError> {
    let mut out = Vec::new();
    let before = found.len();
    for (index, route) in items(object, "/spec/http").iter().enumerate() {
        let name = route.get("name").and_then(Value::as_str);
        let own = items(route, "/route");
        if !backends.has_apex(own) || !names.selects(index, name) {
            out.push(route.clone());
            continue;
        }
        splittable(own, names, backends)?;
        found.push((index, name.map(str::to_owned)));
        for arm in split.arms() {
            out.extend(arm_route(route, &arm, split, backends)?);
        }
        let mut route = route.clone();
        if split.weight > Weight::ZERO {
            let mut shares = backends.split(own, split.weight);
            remember(&mut shares, split, backends);
            route["route"] = json!(shares);
        }
        mirror(&mut route, split.mirrored(), own, backends)?;
        out.push(route);
    }
    Ok((found.len() > before).then_some(out))
}

/// The tcp or tls routes with the shares in them; `None` when none is split.
fn connections(
    object: &Value,
    layer: &str,
    names: &Names,
    split: &Split,
    backends: &Backends<'_>,
    found: &mut Found,
) -> Result<Option<Vec<Value>>, RenderError> {
    let mut out = items(object, &format!("/spec/{layer}")).to_vec();
    let before = found.len();
    for (index, route) in out.iter_mut().enumerate() {
        let own = items(route, "/route").to_vec();
        if !backends.has_apex(&own) || !names.selects(index, None) {
            continue;
        }
        splittable(&own, names, backends)?;
        if *split != Split::by_weight(split.weight) {
            return Err(RenderError::Unsplittable {
                what: format!("{layer} routes"),
                why: "connections are split by weight alone; name the http routes in \
                      traffic[].rules",
            });
        }
        found.push((index, None));
        route["route"] = json!(backends.split(&own, split.weight));
    }
    Ok((found.len() > before).then_some(out))
}

/// A subset is defined for the apex' host: the canary's has it only where the DestinationRule is
/// known.
fn splittable(own: &[Value], names: &Names, backends: &Backends<'_>) -> Result<(), RenderError> {
    let unknown = |backend: &&Value| {
        let subset = text(&backend["destination"], "subset");
        !subset.is_empty() && !destination_rule::has_subset(names, subset)
    };
    match own
        .iter()
        .filter(|one| (backends.is_apex)(one))
        .find(unknown)
    {
        Some(backend) => Err(RenderError::Unsplittable {
            what: format!("destination {}", text(&backend["destination"], "host")),
            why: "it names a subset, which the canary's Service has not; name the DestinationRule \
                  that defines it in istio.destinationRule, or leave subset out",
        }),
        None => Ok(()),
    }
}

/// The route of one arm; `None` when no request can fulfil both its conditions and the route's.
/// Istio takes the first route that matches.
fn arm_route(
    route: &Value,
    arm: &Arm,
    split: &Split,
    backends: &Backends<'_>,
) -> Result<Option<Value>, RenderError> {
    let Some(matches) = arm.joined(items(route, "/match"), conditions::joined)? else {
        return Ok(None);
    };
    let destinations = items(route, "/route");
    let mut out = route.clone();
    remove(&mut out, "name");
    out["match"] = json!(matches);
    out["route"] = json!(arm.backends(backends, destinations));
    if arm.to == Version::Stable {
        mirror(&mut out, split.mirror, destinations, backends)?;
    }
    Ok(Some(out))
}

/// Lets each version's answers say which version it was.
fn remember(shares: &mut [Value], split: &Split, backends: &Backends<'_>) {
    let Some(affinity) = split.drawn() else {
        return;
    };
    for backend in shares {
        let version = if (backends.is_apex)(backend) {
            Version::Stable
        } else if (backends.is_canary)(backend) {
            Version::Canary
        } else {
            continue;
        };
        if !backend.get("headers").is_some_and(Value::is_object) {
            backend["headers"] = json!({});
        }
        let headers = &mut backend["headers"];
        if let Some(response) = object(headers, "response") {
            let add = response.entry("add").or_insert_with(|| json!({}));
            add["Set-Cookie"] = json!(affinity.set_cookie(version));
        }
    }
}

/// Sends a copy of requests to the canary.
fn mirror(
    route: &mut Value,
    share: Weight,
    destinations: &[Value],
    backends: &Backends<'_>,
) -> Result<(), RenderError> {
    if share == Weight::ZERO {
        return Ok(());
    }
    if route.get("mirror").is_some() || route.get("mirrors").is_some() {
        return Err(RenderError::Unsplittable {
            what: "an http route".to_owned(),
            why: "it mirrors to somewhere itself; leave its mirror out while a run mirrors",
        });
    }
    let apex = destinations.iter().find(|one| (backends.is_apex)(one));
    if let Some(apex) = apex {
        let mut target = apex.clone();
        (backends.rename)(&mut target);
        route["mirror"] = target["destination"].clone();
        route["mirrorPercentage"] = json!({"value": f64::from(share.percent())});
    }
    Ok(())
}

/// Istio writes a status only where it is told to; without one the object counts as in force.
fn observe(object: &Value) -> RouteObservation {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    if let (Some(generation), Some(observed)) = (
        number("/metadata/generation"),
        number("/status/observedGeneration"),
    ) && observed < generation
    {
        return RouteObservation::NotYet {
            why: format!("its status speaks of generation {observed} of {generation}"),
        };
    }
    let failed = items(object, "/status/validationMessages")
        .iter()
        .find(|message| text(message, "level") == "ERROR");
    match failed {
        Some(message) => RouteObservation::Rejected {
            why: format!(
                "{} {}",
                message
                    .pointer("/type/code")
                    .and_then(Value::as_str)
                    .unwrap_or("validation failed"),
                text(message, "documentationUrl")
            ),
        },
        None => RouteObservation::Programmed,
    }
}

#[cfg(test)]
mod tests;
