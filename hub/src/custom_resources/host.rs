//! The cluster that hosts the hub: its custom resources, and the configuration of the webhook.

use std::{path::Path, time::Duration};

use bellwether_api::{
    API_VERSION, GROUP, VERSION,
    custom_resource::{FINALIZER, KINDS, MANAGER, WEBHOOK_CONFIGURATION},
    document::Kind,
};
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};

use super::pauses::Pauses;

/// How long one request to watch lasts; an API server that is silent for longer is dead.
const WATCH_S: u32 = 50;

/// Why the cluster did not do something.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kubeconfig cannot be read or used.
    #[error("failed to use the kubeconfig; name another by --kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The hub is no pod there.
    #[error("failed to find a service account; outside the cluster name a file by --kubeconfig")]
    InCluster(#[from] kube::config::InClusterError),
    /// The client cannot be made.
    #[error("failed to make a Kubernetes client")]
    Client(#[source] kube::Error),
    /// A custom resource was not written.
    #[error("failed to write a custom resource")]
    Write(#[source] kube::Error),
    /// The webhook's configuration was not read or written.
    #[error("failed to access the ValidatingWebhookConfiguration {WEBHOOK_CONFIGURATION:?}")]
    Configuration(#[source] kube::Error),
    /// An object is no JSON, or JSON is no object.
    #[error("failed to read an object of the cluster")]
    Malformed(#[from] serde_json::Error),
}

impl HostError {
    /// Tells whether the object changed or went in the meantime, which a watch tells too.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Write(kube::Error::Api(status)) if matches!(status.code, 404 | 409))
    }

    /// Tells whether the API server says that there is no such object.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Configuration(kube::Error::Api(status)) if status.code == 404)
    }
}

/// What is told of the custom resources of one kind.
pub(super) type Told = (Kind, Result<Event<DynamicObject>, watcher::Error>);

/// The connection.
pub(super) struct Host {
    client: Client,
}

impl Host {
    /// Connects with a kubeconfig, or as a pod of the cluster; nothing is dialled yet.
    ///
    /// # Errors
    /// There is no way in.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, HostError> {
        let mut config = match kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?
            }
            None => Config::incluster()?,
        };
        let name = HeaderValue::from_static(concat!("bellwether-hub/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, name));
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(Duration::from_secs(u64::from(WATCH_S) + 10));
        // The time that a connection lay idle is not the next answer's.
        config.reset_reader_on_write = true;
        config.write_timeout = Some(Duration::from_secs(30));
        let client = Client::try_from(config).map_err(HostError::Client)?;
        Ok(Self { client })
    }

    /// Follows every custom resource, beginning with those that there are.
    pub fn watch(&self) -> BoxStream<'static, Told> {
        let streams = KINDS.map(|kind| {
            let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind));
            watcher(all, watcher::Config::default().timeout(WATCH_S))
                .backoff(Pauses::default())
                .map(move |told| (kind, told))
                .boxed()
        });
        futures::stream::select_all(streams).boxed()
    }

    /// Puts the hub's finalizer on a custom resource, or takes it off; gives what it is then.
    ///
    /// # Errors
    /// The API server refuses; [`HostError::is_late`] where it changed meanwhile.
    pub async fn set_finalizer(
        &self,
        kind: Kind,
        object: &Value,
        wanted: bool,
    ) -> Result<Value, HostError> {
        let held = object.pointer("/metadata/finalizers");
        let held = held.and_then(Value::as_array).cloned().unwrap_or_default();
        let mut finalizers: Vec<Value> = held.into_iter().filter(|one| one != FINALIZER).collect();
        if wanted {
            finalizers.push(Value::from(FINALIZER));
        }
        let patch = json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": object["metadata"]["resourceVersion"],
        }});
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let written = self
            .api(kind, object)
            .patch(name(object), &params, &Patch::Merge(&patch))
            .await;
        Ok(serde_json::to_value(written.map_err(HostError::Write)?)?)
    }

    /// Writes the status of a custom resource; gives what it is then.
    ///
    /// # Errors
    /// As [`Self::set_finalizer`].
    pub async fn write_status(
        &self,
        kind: Kind,
        object: &Value,
        status: Value,
    ) -> Result<Value, HostError> {
        let mut wanted = object.clone();
        wanted["apiVersion"] = Value::from(API_VERSION);
        wanted["kind"] = Value::from(kind.name());
        wanted["status"] = status;
        let wanted: DynamicObject = serde_json::from_value(wanted)?;
        let written = self
            .api(kind, object)
            .replace_status(name(object), &params(), &wanted)
            .await;
        Ok(serde_json::to_value(written.map_err(HostError::Write)?)?)
    }

    /// Makes the webhook's configuration list these webhooks; gives whether it did not before.
    ///
    /// # Errors
    /// It is not there ([`HostError::is_absent`]), or the hub may not read or write it.
    pub async fn configure_webhooks(&self, webhooks: &Value) -> Result<bool, HostError> {
        let kind = GroupVersionKind::gvk(
            "admissionregistration.k8s.io",
            "v1",
            "ValidatingWebhookConfiguration",
        );
        let all: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind));
        let mut live = all
            .get(WEBHOOK_CONFIGURATION)
            .await
            .map_err(HostError::Configuration)?;
        let listed = live.data.get("webhooks").cloned().unwrap_or(json!([]));
        if listed == *webhooks {
            return Ok(false);
        }
        live.data["webhooks"] = webhooks.clone();
        all.replace(WEBHOOK_CONFIGURATION, &params(), &live)
            .await
            .map_err(HostError::Configuration)?;
        Ok(true)
    }

    fn api(&self, kind: Kind, object: &Value) -> Api<DynamicObject> {
        let client = self.client.clone();
        match object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
        {
            Some(namespace) if kind.is_namespaced() => {
                Api::namespaced_with(client, namespace, &resource(kind))
            }
            _ => Api::all_with(client, &resource(kind)),
        }
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn name(object: &Value) -> &str {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default()
}

fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}
