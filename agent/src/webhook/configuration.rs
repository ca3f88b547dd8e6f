//! The configuration by which the API server knows whom to ask, as it lies in the cluster.

use bellwether_agent_core::covers::covers;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::CONFIGURATION;

const MANAGER: &str = "bellwether-agent";

/// What was done about the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The API server trusted other certificates until now.
    pub(super) trust: bool,
}

/// Makes the configuration list these webhooks, and go with the agent's namespace, whoever removes that.
///
/// # Errors
/// It is not there, or the agent may not read or write it.
pub(super) async fn write(
    client: &kube::Client,
    namespace: &str,
    webhooks: &Value,
) -> Result<Written, kube::Error> {
    let kind = GroupVersionKind::gvk(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
    );
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let mut live = all.get(CONFIGURATION).await?;
    let listed = live.data.get("webhooks").cloned().unwrap_or(json!([]));
    let is_owned = live.metadata.owner_references.is_some();
    if is_owned && covers(&listed, webhooks) {
        return Ok(Written::default());
    }
    if !is_owned {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let owner = namespaces.get(namespace).await?;
        live.metadata.owner_references = Some(vec![owner_of(&owner)]);
    }
    live.data["webhooks"] = webhooks.clone();
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    all.replace(CONFIGURATION, &params, &live).await?;
    Ok(Written {
        trust: trust_of(&listed).is_some_and(|before| Some(before) != trust_of(webhooks)),
    })
}

fn trust_of(webhooks: &Value) -> Option<&Value> {
    webhooks.pointer("/0/clientConfig/caBundle")
}

fn owner_of(
    namespace: &Namespace,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        name: namespace.metadata.name.clone().unwrap_or_default(),
        uid: namespace.metadata.uid.clone().unwrap_or_default(),
        ..Default::default()
    }
}
