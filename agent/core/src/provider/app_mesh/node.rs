//! The user's VirtualNode of the apex, and its like for the canary's Service.

use bellwether_api::reference::ObjectRef;
use serde_json::{Value, json};

use crate::{
    names::cut,
    provider::{
        Names, RenderError,
        istio::{canary_host, names_service},
        tree::{namespace_of, remove, text},
    },
};

/// Name and namespace of the user's; absent = the release has none.
pub(super) fn of_user(names: &Names) -> Option<(String, String)> {
    let node = names.copied.as_ref()?;
    let name = text(&node["metadata"], "name").to_owned();
    Some((name, namespace_of(node).to_owned()))
}

/// What names the run's.
pub(super) fn target(names: &Names) -> Option<ObjectRef> {
    let node = names.copied.as_ref()?;
    Some(ObjectRef {
        api_version: text(node, "apiVersion").to_owned(),
        kind: "VirtualNode".to_owned(),
        namespace: Some(names.namespace.clone()),
        name: cut(&format!(
            "{}-{}",
            names.canary,
            text(&node["metadata"], "name")
        )),
    })
}

/// The run's VirtualNode: the user's, found by the name of the canary's Service. It selects no pods:
/// the canary's have the labels of the user's, whose proxy they get, and the mesh refuses pods that
/// two of them select.
///
/// # Errors
/// The user's is not one of the rollout's Service.
pub(super) fn of_canary(names: &Names) -> Result<Option<Value>, RenderError> {
    let (Some(node), Some(target)) = (&names.copied, target(names)) else {
        return Ok(None);
    };
    let mut spec = node["spec"].clone();
    let host = spec
        .pointer("/serviceDiscovery/dns/hostname")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    if !names_service(&host, namespace_of(node), names, &names.apex) {
        return Err(RenderError::Unsplittable {
            what: format!("VirtualNode {}", text(&node["metadata"], "name")),
            why: "its serviceDiscovery.dns.hostname is not the Service of the rollout; name that \
                  one's in virtualNode",
        });
    }
    spec["serviceDiscovery"]["dns"]["hostname"] = json!(canary_host(&host, names));
    remove(&mut spec, "awsName");
    remove(&mut spec, "podSelector");
    Ok(Some(json!({
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": target.name, "namespace": names.namespace},
        "spec": spec,
    })))
}
