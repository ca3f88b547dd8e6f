//! Sizes of workloads that an autoscaler sets: what is applied leaves them alone.

use std::borrow::Cow;

use bellwether_api::reference::ObjectRef;
use futures::future::try_join;
use serde_json::{Value, json};

use super::{ApplyMode, Cluster, ClusterError, SYNC_MANAGER};
use crate::rollout::targets;

/// Field manager of `spec.replicas` between its last writer and the autoscaler's first write. A field
/// that is left out of an apply, and that nobody else owns, is reset to its default.
pub const SIZE_MANAGER: &str = "bellwether-size";

impl Cluster {
    /// Applies an object as [`Self::apply`] does, without `spec.replicas` if an autoscaler sets it.
    /// An object that does not exist yet begins with the size that is written down.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn apply_but_size(
        &self,
        manager: &str,
        object: &Value,
        target: &ObjectRef,
        mode: ApplyMode,
    ) -> Result<Value, ClusterError> {
        let object = if manager == SYNC_MANAGER && object.pointer("/spec/replicas").is_some() {
            self.but_size(object, target, mode).await?
        } else {
            Cow::Borrowed(object)
        };
        self.apply(manager, &object, mode).await
    }

    async fn but_size<'a>(
        &self,
        object: &'a Value,
        target: &ObjectRef,
        mode: ApplyMode,
    ) -> Result<Cow<'a, Value>, ClusterError> {
        let Some(live) = self.get(target).await? else {
            return Ok(Cow::Borrowed(object));
        };
        if !self.is_autoscaled(target).await? {
            return Ok(Cow::Borrowed(object));
        }
        let size = live.pointer("/spec/replicas").cloned();
        let mut object = object.clone();
        match size {
            // Nothing is handed over when it is only asked what would come out.
            Some(size) if mode == ApplyMode::DryRun => object["spec"]["replicas"] = size,
            size => {
                if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.remove("replicas");
                }
                if let Some(size) = size.filter(|_| owns_size(&live)) {
                    self.hand_over(target, &live, &size).await?;
                }
            }
        }
        Ok(Cow::Owned(object))
    }

    /// Tells whether an autoscaler sets the size of a workload.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn is_autoscaled(&self, target: &ObjectRef) -> Result<bool, ClusterError> {
        let namespace = target.namespace.as_deref();
        let (by_pods, by_events) = try_join(
            self.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace, None),
            self.list("keda.sh/v1alpha1", "ScaledObject", namespace, None),
        )
        .await?;
        Ok(by_pods
            .iter()
            .chain(&by_events)
            .any(|autoscaler| targets(autoscaler, target)))
    }

    /// Keeps the size as it is while its owner changes. Whoever scales in between is not written
    /// over: the version of the object that was read is named.
    async fn hand_over(
        &self,
        target: &ObjectRef,
        live: &Value,
        size: &Value,
    ) -> Result<(), ClusterError> {
        let keeps = json!({
            "apiVersion": target.api_version, "kind": target.kind,
            "metadata": {
                "name": target.name, "namespace": target.namespace,
                "resourceVersion": live.pointer("/metadata/resourceVersion"),
            },
            "spec": {"replicas": size},
        });
        self.apply(SIZE_MANAGER, &keeps, ApplyMode::Force).await?;
        Ok(())
    }

    /// Gives a workload at least `least` pods as `manager`; one that has them is left alone, and so is
    /// one that somebody changes at the same time. Gives whether it was written.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn grow(
        &self,
        manager: &str,
        target: &ObjectRef,
        live: &Value,
        least: u32,
    ) -> Result<bool, ClusterError> {
        let size = live.pointer("/spec/replicas").and_then(Value::as_u64);
        if size.is_none_or(|size| size >= u64::from(least)) {
            return Ok(false);
        }
        let patch = json!({
            "metadata": {"resourceVersion": live.pointer("/metadata/resourceVersion")},
            "spec": {"replicas": least},
        });
        match self.patch(manager, target, &patch).await {
            Err(error) if error.code() == Some(409) => Ok(false),
            Err(error) => Err(error),
            Ok(_) => Ok(true),
        }
    }
}

/// Has an object written over `live` alone, if that has `over` pods or as many as are to be written:
/// whoever scales it in between is not written over.
///
/// # Errors
/// Somebody has scaled it.
pub fn write_over_size(
    object: &mut Value,
    live: &Value,
    target: &ObjectRef,
    over: u32,
) -> Result<(), ClusterError> {
    let size = |object: &Value| {
        let size = object.pointer("/spec/replicas");
        size.and_then(Value::as_u64).unwrap_or(1)
    };
    let found = size(live);
    if found != u64::from(over) && found != size(object) {
        return Err(ClusterError::Scaled {
            object: target.to_string(),
            found,
            over,
        });
    }
    object["metadata"]["resourceVersion"] = live
        .pointer("/metadata/resourceVersion")
        .cloned()
        .unwrap_or_default();
    Ok(())
}

/// Tells whether the sync applied the size of a live object.
fn owns_size(live: &Value) -> bool {
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        text("manager") == Some(SYNC_MANAGER)
            && text("operation") == Some("Apply")
            && entry.pointer("/fieldsV1/f:spec/f:replicas").is_some()
    })
}
