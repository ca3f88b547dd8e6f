//! The webhook's certificate as it lies in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams},
};

use super::certificate::Material;

/// The Secret in the agent's namespace that holds certificate and authority, with their keys.
pub const SECRET_NAME: &str = "bellwether-agent-webhook";

const MANAGER: &str = "bellwether-agent";

/// Reads it; absent = there is none, or not all of it.
pub(super) async fn load(
    client: &kube::Client,
    namespace: &str,
) -> Result<Option<Material>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = secrets.get_opt(SECRET_NAME).await?;
    let data = found.and_then(|secret| secret.data).unwrap_or_default();
    let texts: BTreeMap<String, String> = data
        .into_iter()
        .filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?)))
        .collect();
    Ok(Material::read(&texts))
}

/// Makes the Secret hold this and nothing else.
pub(super) async fn save(
    client: &kube::Client,
    namespace: &str,
    material: &Material,
) -> Result<(), kube::Error> {
    let bytes = |(key, value): (String, String)| (key, ByteString(value.into_bytes()));
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET_NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(material.data().into_iter().map(bytes).collect()),
        type_: Some("bellwether.dev/webhook".to_owned()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(MANAGER).force();
    secrets
        .patch(SECRET_NAME, &params, &Patch::Apply(&secret))
        .await?;
    Ok(())
}
