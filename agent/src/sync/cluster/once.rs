//! Requests for objects that are made once and taken away as a whole.

use bellwether_api::reference::ObjectRef;
use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions, PropagationPolicy};
use serde_json::Value;

use super::{Cluster, ClusterError, SYNC_MANAGER, reference, to_value};

impl Cluster {
    /// Creates a namespace where it is missing.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn ensure_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let target = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: name.to_owned(),
        };
        if self.get(&target).await?.is_some() {
            return Ok(());
        }
        let api = self.api("v1", "Namespace", None).await?;
        let served = self.kind("v1", "Namespace").await?;
        let namespace = DynamicObject::new(name, &served.resource);
        let params = PostParams::default();
        let request = api.create(&params, &namespace);
        match self.writing("create", &target.to_string(), request).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(409) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes an object and gives what came out; absent = there is one of its name already.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn create(&self, object: &Value) -> Result<Option<Value>, ClusterError> {
        let target = reference(object).ok_or(ClusterError::Unnamed)?;
        let name = self.written(&target);
        let json = |source| ClusterError::Json {
            object: name.clone(),
            source,
        };
        let new: DynamicObject = serde_json::from_value(object.clone()).map_err(json)?;
        let api = self.acting_api(&target).await?;
        let params = PostParams {
            field_manager: Some(SYNC_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self
            .writing("create", &name, api.create(&params, &new))
            .await
        {
            Ok(made) => Ok(Some(to_value(made, &target)?)),
            Err(error) if error.code() == Some(409) => Ok(None),
            Err(error) => Err(error.of_write(&target.kind)),
        }
    }

    /// Deletes that very object once everything that it owns is gone: its name is free only when none
    /// of its pods is at work any more.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn delete_as_a_whole(
        &self,
        object: &ObjectRef,
        uid: &str,
    ) -> Result<(), ClusterError> {
        let api = self
            .api(
                &object.api_version,
                &object.kind,
                object.namespace.as_deref(),
            )
            .await?;
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let name = object.to_string();
        let request = api.delete(&object.name, &params);
        match self.writing("delete", &name, request).await {
            Ok(_) => Ok(()),
            // 409 = another object has the name now: ours is gone.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
