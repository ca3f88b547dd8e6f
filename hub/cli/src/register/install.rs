//! Applies the agent's objects to a cluster.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{GroupVersionKind, TypeMeta},
};
use serde_json::Value;

const MANAGER: &str = "bellwether-register";

/// Applies every object and waits until the kinds are served.
///
/// # Errors
/// The first object that the cluster refuses.
pub async fn install(client: &Client, objects: &[Value]) -> anyhow::Result<()> {
    for object in objects {
        apply(client, object).await?;
        if object["kind"] == "CustomResourceDefinition" {
            established(client, object).await?;
        }
    }
    Ok(())
}

async fn apply(client: &Client, object: &Value) -> anyhow::Result<()> {
    let (api, name) = api(client, object)?;
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("the cluster refused {} {name}", object["kind"]))?;
    Ok(())
}

/// Returns the API of an object's kind and place, and the object's name.
///
/// # Errors
/// When the object has no kind or name.
pub fn api(client: &Client, object: &Value) -> anyhow::Result<(Api<DynamicObject>, String)> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .ok_or_else(|| anyhow!("an object has no {pointer}"))
    };
    let types = TypeMeta {
        api_version: text("/apiVersion")?.into(),
        kind: text("/kind")?.into(),
    };
    let kind = GroupVersionKind::try_from(&types).context("an object has an odd apiVersion")?;
    let resource = ApiResource::from_gvk(&kind);
    let name = text("/metadata/name")?.to_owned();
    let api = match object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
    {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok((api, name))
}

async fn established(client: &Client, definition: &Value) -> anyhow::Result<()> {
    let (api, name) = api(client, definition)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let current = api
            .get(&name)
            .await
            .context("failed to look at a resource definition")?;
        let done = current.data["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
        if done {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the cluster does not serve {name}; `kubectl describe crd {name}` says why");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
