//! A member cluster as its administrator sees it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A client of one cluster that blocks, since tests read top to bottom.
pub struct Member {
    runtime: Runtime,
    client: Client,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

impl Member {
    /// Connects with an administrator's kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub fn connect(kubeconfig: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(kubeconfig)?;
            let mut config =
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            config.read_timeout = Some(Duration::from_secs(30));
            // The time that a connection lay idle is not the next answer's.
            config.reset_reader_on_write = true;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Ok(Api::namespaced_with(
            self.client.clone(),
            namespace,
            &resource,
        ))
    }

    /// The kind and the name of an object in a namespace, as it says itself.
    fn named<'a>(&self, object: &'a Value) -> Result<(Api<DynamicObject>, &'a str)> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let api = self.api(
            text("/apiVersion").context("apiVersion")?,
            text("/kind").context("kind")?,
            text("/metadata/namespace").context("namespace")?,
        )?;
        Ok((api, text("/metadata/name").context("name")?))
    }

    /// Makes a namespace unless it exists.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn create_namespace(&self, name: &str) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        match self
            .runtime
            .block_on(api.create(&PostParams::default(), &namespace))
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads one object; `None` when it does not exist.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        let api = self.api(api_version, kind, namespace)?;
        let found = self.runtime.block_on(api.get_opt(name))?;
        found
            .map(serde_json::to_value)
            .transpose()
            .map_err(Into::into)
    }

    /// Lists objects of one kind.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn list(&self, api_version: &str, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let api = self.api(api_version, kind, namespace)?;
        let found = self.runtime.block_on(api.list(&ListParams::default()))?;
        found
            .items
            .into_iter()
            .map(|item| Ok(serde_json::to_value(item)?))
            .collect()
    }

    /// Reads one cluster-scoped object; `None` when it does not exist.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn get_cluster(&self, api_version: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let found = self
            .runtime
            .block_on(self.cluster_api(api_version, kind).get_opt(name))?;
        found
            .map(serde_json::to_value)
            .transpose()
            .map_err(Into::into)
    }

    fn cluster_api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::all_with(self.client.clone(), &resource)
    }

    /// Lists cluster-scoped objects of one kind.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn list_cluster(&self, api_version: &str, kind: &str) -> Result<Vec<Value>> {
        let api = self.cluster_api(api_version, kind);
        let found = self.runtime.block_on(api.list(&ListParams::default()))?;
        found
            .items
            .into_iter()
            .map(|item| Ok(serde_json::to_value(item)?))
            .collect()
    }

    /// Changes an object by a merge patch, as a human with kubectl would.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn patch(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let api = self.api(api_version, kind, namespace)?;
        let parameters = PatchParams {
            field_manager: Some("kubectl-edit".into()),
            ..PatchParams::default()
        };
        self.runtime
            .block_on(api.patch(name, &parameters, &Patch::Merge(patch)))?;
        Ok(())
    }

    /// Changes a cluster-scoped object by a merge patch.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn patch_cluster(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let api = self.cluster_api(api_version, kind);
        self.runtime
            .block_on(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)))?;
        Ok(())
    }

    /// Asks what the API server would make of a merge patch, and writes nothing.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn patch_dry(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value> {
        let api = self.api(api_version, kind, namespace)?;
        let parameters = PatchParams::default().dry_run();
        let patched = self
            .runtime
            .block_on(api.patch(name, &parameters, &Patch::Merge(patch)))?;
        Ok(serde_json::to_value(patched)?)
    }

    /// Deletes a namespace with all that is in it; it takes a while.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        self.runtime
            .block_on(api.delete(name, &DeleteParams::default()))?;
        Ok(())
    }

    /// Scales a Deployment as an autoscaler would, through its scale subresource.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn scale(&self, namespace: &str, name: &str, replicas: u32) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let patch = serde_json::json!({"spec": {"replicas": replicas}});
        let parameters = PatchParams {
            field_manager: Some("autoscaler".into()),
            ..PatchParams::default()
        };
        self.runtime
            .block_on(api.patch_scale(name, &parameters, &Patch::Merge(&patch)))?;
        Ok(())
    }

    /// Asks what the API server would make of an object that is applied as agents apply, and writes
    /// nothing. Fields that its definition does not know are refused.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn apply_dry(&self, object: &Value) -> Result<Value> {
        let (api, name) = self.named(object)?;
        let parameters = PatchParams::apply("dry-run").dry_run().validation_strict();
        let applied = self
            .runtime
            .block_on(api.patch(name, &parameters, &Patch::Apply(object)))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// Applies an object server-side as `manager`, as a GitOps applier does: it takes fields over.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn apply(&self, manager: &str, object: &Value) -> Result<()> {
        let (api, name) = self.named(object)?;
        let parameters = PatchParams::apply(manager).force();
        self.runtime
            .block_on(api.patch(name, &parameters, &Patch::Apply(object)))?;
        Ok(())
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn create(&self, object: &Value) -> Result<()> {
        let (api, _) = self.named(object)?;
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        self.runtime
            .block_on(api.create(&PostParams::default(), &object))?;
        Ok(())
    }

    /// Creates a cluster-scoped object.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn create_cluster_scoped(&self, object: &Value) -> Result<()> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").context("apiVersion")?;
        let api = self.cluster_api(api_version, text("/kind").context("kind")?);
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        self.runtime
            .block_on(api.create(&PostParams::default(), &object))?;
        Ok(())
    }

    /// Changes an object's status by a merge patch, as its controller would.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn patch_status(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let api = self.api(api_version, kind, namespace)?;
        let parameters = PatchParams::default();
        self.runtime
            .block_on(api.patch_status(name, &parameters, &Patch::Merge(patch)))?;
        Ok(())
    }

    /// Deletes one object.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn delete(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let api = self.api(api_version, kind, namespace)?;
        self.runtime
            .block_on(api.delete(name, &DeleteParams::default()))?;
        Ok(())
    }

    /// Returns the pods of a namespace whose labels match `selector`.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let parameters = ListParams::default().labels(selector);
        Ok(self.runtime.block_on(api.list(&parameters))?.items)
    }

    /// Ends pods at once, as a crash would; gives how many. One that is gone by itself meanwhile is none of them.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn kill_pods(&self, namespace: &str, selector: &str) -> Result<usize> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut ended = 0;
        for pod in self.pods(namespace, selector)? {
            let name = pod.metadata.name.as_deref().context("pods have names")?;
            let parameters = DeleteParams::default().grace_period(0);
            match self.runtime.block_on(api.delete(name, &parameters)) {
                Ok(_) => ended += 1,
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ended)
    }

    /// Returns the UIDs of the pods labelled `app=web` that run `image`, ready or not.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn pod_uids(&self, namespace: &str, image: &str) -> Result<BTreeSet<String>> {
        self.pods_running(namespace, "app=web", image)
    }

    /// Returns the UIDs of the pods whose labels match `selector` and that run `image`, ready or not.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub fn pods_running(
        &self,
        namespace: &str,
        selector: &str,
        image: &str,
    ) -> Result<BTreeSet<String>> {
        let runs = |pod: &Pod| {
            let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers.any(|container| container.image.as_deref() == Some(image))
        };
        let pods = self.pods(namespace, selector)?.into_iter().filter(runs);
        Ok(pods.filter_map(|pod| pod.metadata.uid).collect())
    }
}
