//! The member cluster's API server, for objects of any kind.

mod acting;
#[cfg(test)]
pub(crate) mod double;
mod error;
mod evict;
mod exact;
mod merge;
mod nowhere;
mod once;
mod size;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bellwether_api::reference::{NamespacedName, ObjectRef};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        Preconditions, PropagationPolicy,
    },
    core::PartialObjectMeta,
    discovery::{Scope, pinned_kind},
};

use serde_json::Value;
use tokio::time::Instant;

pub use error::ClusterError;
pub use size::{SIZE_MANAGER, write_over_size};

use crate::desired::Fence;

/// Field manager of everything that a release holds.
pub const SYNC_MANAGER: &str = "bellwether-sync";
/// Field manager of what a run creates.
pub const ROLLOUT_MANAGER: &str = bellwether_agent_core::adopted::ROLLOUT_MANAGER;
/// How long a kind that was not served is taken for missing.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A kind as the cluster serves it.
#[derive(Clone, Debug)]
pub struct ServedKind {
    /// The resource.
    pub resource: ApiResource,
    /// Whether objects lie in namespaces.
    pub namespaced: bool,
}

impl ServedKind {
    /// The API for the kind in one namespace; cluster-scoped kinds ignore the namespace.
    fn api(&self, client: Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if self.namespaced => {
                Api::namespaced_with(client, namespace, &self.resource)
            }
            _ => Api::all_with(client, &self.resource),
        }
    }
}

/// How an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyMode {
    /// Written; fields of others are taken over.
    Force,
    /// Only asked what would come out.
    DryRun,
}

/// The API server of the member cluster; clones share what is known of it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    fence: Fence,
    served: Arc<Mutex<BTreeMap<(String, String), Answer>>>,
    /// Clients that speak in the names of ServiceAccounts.
    accounts: Arc<Mutex<BTreeMap<NamespacedName, Client>>>,
    /// In whose name objects are applied and made; absent = in the agent's own.
    acting: Option<acting::Acting>,
}

/// What discovery said of a kind.
#[derive(Clone, Debug)]
enum Answer {
    Served(ServedKind),
    /// Asked again after a while: a definition may have come.
    NotServed(Instant),
}

impl Cluster {
    /// Uses a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::fenced(client, Fence::default())
    }

    /// Uses a client; nothing is written once a newer agent has taken over.
    #[must_use]
    pub fn fenced(client: Client, fence: Fence) -> Self {
        Self {
            client,
            fence,
            served: Arc::default(),
            accounts: Arc::default(),
            acting: None,
        }
    }

    /// Bounds a request that writes, and does not make it once a newer agent has taken over.
    async fn writing<T>(
        &self,
        verb: &'static str,
        object: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        if self.fence.newer().is_some() {
            return Err(ClusterError::NewerAgent {
                verb,
                object: object.to_owned(),
            });
        }
        within(verb, object, request).await
    }

    /// The client itself, for typed kinds.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Finds how a kind is served; the answer is remembered.
    ///
    /// # Errors
    /// It is not served, or the API server does not answer.
    pub async fn kind(&self, api_version: &str, kind: &str) -> Result<ServedKind, ClusterError> {
        let key = (api_version.to_owned(), kind.to_owned());
        let not_served = || ClusterError::NotServed {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        };
        match self.served().get(&key) {
            Some(Answer::Served(served)) => return Ok(served.clone()),
            Some(Answer::NotServed(at)) if at.elapsed() < ASK_AGAIN => return Err(not_served()),
            _ => {}
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let found = within("discover", kind, pinned_kind(&self.client, &gvk)).await;
        let (resource, capabilities) = match found {
            Ok(found) => found,
            Err(error) if error.code() == Some(404) || error.is_discovery() => {
                self.served().insert(key, Answer::NotServed(Instant::now()));
                return Err(not_served());
            }
            Err(error) => return Err(error),
        };
        let served = ServedKind {
            resource,
            namespaced: capabilities.scope == Scope::Namespaced,
        };
        self.served().insert(key, Answer::Served(served.clone()));
        Ok(served)
    }

    /// Has the API server asked again for a kind that it did not serve.
    pub fn ask_again(&self, object: &ObjectRef) {
        let key = (object.api_version.clone(), object.kind.clone());
        let mut served = self.served();
        if matches!(served.get(&key), Some(Answer::NotServed(_))) {
            served.remove(&key);
        }
    }

    fn served(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Answer>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API for one kind in one namespace; cluster-scoped kinds ignore the namespace.
    ///
    /// # Errors
    /// The kind is not served, or the API server does not answer.
    pub async fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Api<DynamicObject>, ClusterError> {
        let served = self.kind(api_version, kind).await?;
        Ok(served.api(self.client.clone(), namespace))
    }

    /// As [`Self::api`], in the name of whoever objects are applied as.
    async fn acting_api(&self, target: &ObjectRef) -> Result<Api<DynamicObject>, ClusterError> {
        let served = self.kind(&target.api_version, &target.kind).await?;
        Ok(served.api(self.acting_client().clone(), target.namespace.as_deref()))
    }

    /// The same for names, labels and annotations alone.
    ///
    /// # Errors
    /// The kind is not served, or the API server does not answer.
    pub async fn metadata_api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Api<PartialObjectMeta<DynamicObject>>, ClusterError> {
        let served = self.kind(api_version, kind).await?;
        Ok(match namespace {
            Some(namespace) if served.namespaced => {
                Api::namespaced_with(self.client.clone(), namespace, &served.resource)
            }
            _ => Api::all_with(self.client.clone(), &served.resource),
        })
    }

    /// Fetches an object; absent = it, its kind or its namespace does not exist.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        let api = match self
            .api(
                &object.api_version,
                &object.kind,
                object.namespace.as_deref(),
            )
            .await
        {
            Ok(api) => api,
            Err(ClusterError::NotServed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = object.to_string();
        match within("get", &name, api.get_opt(&object.name)).await {
            Ok(Some(found)) => Ok(Some(to_value(found, object)?)),
            Ok(None) => Ok(None),
            Err(error) => {
                let namespace = object.namespace.as_deref();
                let is_gone = self.lies_nowhere(&error, namespace).await;
                if is_gone { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Lists a kind; empty when the kind is not served. `labels` is a label selector.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, ClusterError> {
        let api = match self.api(api_version, kind, namespace).await {
            Ok(api) => api,
            Err(ClusterError::NotServed { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // Any version that the server has cached would be cheaper, and could be older than what
        // the agent itself wrote: decisions take the newest.
        let mut params = ListParams::default();
        if let Some(labels) = labels {
            params = params.labels(labels);
        }
        let listed = within("list", kind, api.list(&params)).await?;
        listed
            .items
            .into_iter()
            .map(|item| {
                let object = ObjectRef {
                    api_version: api_version.to_owned(),
                    kind: kind.to_owned(),
                    namespace: item.metadata.namespace.clone(),
                    name: item.metadata.name.clone().unwrap_or_default(),
                };
                to_value(item, &object)
            })
            .collect()
    }

    /// Applies an object server-side and gives what came out.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn apply(
        &self,
        manager: &str,
        object: &Value,
        mode: ApplyMode,
    ) -> Result<Value, ClusterError> {
        let target = reference(object).ok_or(ClusterError::Unnamed)?;
        let api = self.acting_api(&target).await?;
        let mut params = PatchParams::apply(manager).force();
        if mode == ApplyMode::DryRun {
            params = params.dry_run();
        }
        let patch = Patch::Apply(object);
        let name = self.written(&target);
        let request = api.patch(&target.name, &params, &patch);
        let applied = match mode {
            ApplyMode::Force => self.writing("apply", &name, request).await,
            ApplyMode::DryRun => within("apply", &name, request).await,
        };
        let applied = applied.map_err(|error| error.of_write(&target.kind))?;
        if target.kind == "CustomResourceDefinition" {
            self.served()
                .retain(|_, answer| matches!(answer, Answer::Served(_)));
        }
        to_value(applied, &target)
    }

    /// Deletes an object and what it owns; one that is gone already is no error. With `uid` only
    /// that very object is deleted.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete(&self, object: &ObjectRef, uid: Option<&str>) -> Result<(), ClusterError> {
        let api = match self
            .api(
                &object.api_version,
                &object.kind,
                object.namespace.as_deref(),
            )
            .await
        {
            Ok(api) => api,
            Err(ClusterError::NotServed { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = object.to_string();
        let request = api.delete(&object.name, &params);
        match self.writing("delete", &name, request).await {
            Ok(_) => Ok(()),
            Err(error) if self.lies_nowhere(&error, object.namespace.as_deref()).await => Ok(()),
            // 409 = another object has the name now: ours is gone.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Bounds a request, and says what it was when it fails.
pub async fn within<T>(
    verb: &'static str,
    object: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ClusterError::Request {
            verb,
            object: object.to_owned(),
            source,
        }),
        Err(_) => Err(ClusterError::Timeout {
            verb,
            object: object.to_owned(),
        }),
    }
}

fn to_value(object: DynamicObject, target: &ObjectRef) -> Result<Value, ClusterError> {
    let mut value = serde_json::to_value(object).map_err(|source| ClusterError::Json {
        object: target.to_string(),
        source,
    })?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".to_owned(), target.api_version.clone().into());
        fields.insert("kind".to_owned(), target.kind.clone().into());
    }
    Ok(value)
}

/// Names an object by its own fields; absent = it lacks apiVersion, kind or name.
#[must_use]
pub fn reference(object: &Value) -> Option<ObjectRef> {
    let text = |path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Some(ObjectRef {
        api_version: text("/apiVersion")?,
        kind: text("/kind")?,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name")?,
    })
}

#[cfg(test)]
mod tests;
