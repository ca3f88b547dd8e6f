//! Where Gloo's routes lead: to a Service, to the Upstream that Gloo discovers for it, or to one that
//! the user wrote, whose like the run makes for the canary.

use bellwether_api::reference::ObjectRef;
use serde_json::{Value, json};

use crate::{
    names::cut,
    provider::{
        Names, RenderError,
        backends::Backends,
        tree::{object, remove, text},
    },
};

/// The destinations of a route, each as `{destination, weight}`; empty where it has none of its own.
pub(super) fn destinations(route: &Value) -> Vec<Value> {
    let action = &route["routeAction"];
    if let Some(single) = action.get("single") {
        return vec![json!({"destination": single})];
    }
    action
        .pointer("/multi/destinations")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

/// Lets a route lead to these destinations.
pub(super) fn put(route: &mut Value, to: Vec<Value>) {
    // Beside a weight, a destination may have options, which only one of several has room for.
    let is_plain = |one: &Value| {
        let mut keys = one.as_object().into_iter().flat_map(|fields| fields.keys());
        keys.all(|key| key == "destination" || key == "weight")
    };
    let mut to = to;
    let single = match to.as_mut_slice() {
        [one] if is_plain(one) => one.get("destination").cloned(),
        [one] => {
            one["weight"] = json!(1);
            None
        }
        _ => None,
    };
    let Some(action) = object(route, "routeAction") else {
        return;
    };
    match single {
        Some(single) => {
            action.remove("multi");
            action.insert("single".to_owned(), single);
        }
        None => {
            action.remove("single");
            let mut multi = action.remove("multi").unwrap_or_else(|| json!({}));
            multi["destinations"] = json!(to);
            action.insert("multi".to_owned(), multi);
        }
    }
}

pub(super) fn with_backends<T>(
    namespace: &str,
    names: &Names,
    then: impl FnOnce(&Backends<'_>) -> T,
) -> T {
    then(&Backends {
        is_apex: &|backend| leads_to(backend, namespace, names, &names.apex, own_upstream(names)),
        is_canary: &|backend| {
            let upstream = target(names).map(|target| (target.name, names.namespace.clone()));
            leads_to(backend, namespace, names, &names.canary, upstream)
        },
        rename: &|backend| rename(&mut backend["destination"], names),
        // A weight that is left out beside others is 0.
        default_weight: 0,
        max_weight: i32::MAX as u64,
    })
}

fn leads_to(
    backend: &Value,
    namespace: &str,
    names: &Names,
    service: &str,
    upstream: Option<(String, String)>,
) -> bool {
    let destination = &backend["destination"];
    let within = |reference: &Value| match text(reference, "namespace") {
        "" => namespace.to_owned(),
        other => other.to_owned(),
    };
    if let Some(kube) = destination.pointer("/kube/ref") {
        return text(kube, "name") == service && within(kube) == names.namespace;
    }
    let Some(reference) = destination.get("upstream") else {
        return false;
    };
    let name = text(reference, "name");
    upstream.is_some_and(|(wanted, wanted_in)| name == wanted && within(reference) == wanted_in)
        || discovered_port(name, &names.namespace, service).is_some()
}

/// The port of the Upstream that Gloo discovers for a Service, `<namespace>-<service>-<port>`.
fn discovered_port<'a>(upstream: &'a str, namespace: &str, service: &str) -> Option<&'a str> {
    let rest = upstream.strip_prefix(namespace)?.strip_prefix('-')?;
    let port = rest.strip_prefix(service)?.strip_prefix('-')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then_some(port)
}

/// Name and namespace of the user's Upstream; absent = the rollout names none.
fn own_upstream(names: &Names) -> Option<(String, String)> {
    let meta = &names.copied.as_ref()?["metadata"];
    let of = |key| text(meta, key).to_owned();
    Some((of("name"), of("namespace")))
}

fn rename(destination: &mut Value, names: &Names) {
    if let Some(kube) = destination.pointer_mut("/kube/ref") {
        kube["name"] = json!(names.canary);
        return;
    }
    let name = text(&destination["upstream"], "name").to_owned();
    if let Some(port) = discovered_port(&name, &names.namespace, &names.apex) {
        let found = format!("{}-{}-{port}", names.namespace, names.canary);
        destination["upstream"]["name"] = json!(found);
    } else if let Some(target) = target(names) {
        destination["upstream"] = json!({"name": target.name, "namespace": names.namespace});
    }
}

/// What names the run's Upstream; `None` = the rollout names none of the user's.
pub(super) fn target(names: &Names) -> Option<ObjectRef> {
    let upstream = names.copied.as_ref()?;
    Some(ObjectRef {
        api_version: text(upstream, "apiVersion").to_owned(),
        kind: "Upstream".to_owned(),
        namespace: Some(names.namespace.clone()),
        name: cut(&format!(
            "{}-{}",
            names.canary,
            text(&upstream["metadata"], "name")
        )),
    })
}

/// The run's Upstream: the user's, for the canary's Service.
///
/// # Errors
/// The user's is not one of the rollout's Service.
pub(super) fn of_canary(names: &Names) -> Result<Option<Value>, RenderError> {
    let (Some(upstream), Some(target)) = (&names.copied, target(names)) else {
        return Ok(None);
    };
    let mut spec = upstream["spec"].clone();
    let is_apex = spec.get("kube").is_some_and(|kube| {
        text(kube, "serviceName") == names.apex && text(kube, "serviceNamespace") == names.namespace
    });
    if !is_apex {
        return Err(RenderError::Unsplittable {
            what: format!("Upstream {}", text(&upstream["metadata"], "name")),
            why: "its spec.kube is not the Service of the rollout; name that one's, or leave \
                  upstream out",
        });
    }
    spec["kube"]["serviceName"] = json!(names.canary);
    remove(&mut spec, "discoveryMetadata");
    Ok(Some(json!({
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": names.namespace},
        "spec": spec,
    })))
}
