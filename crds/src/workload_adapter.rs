//! How a kind of workload is updated: where it keeps what, and how its pods are told apart.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::rollout::WorkloadRef;

/// Where a kind with a pod template under `/spec/template` keeps what an update needs. With a partition
/// it is updated in place; without one a copy runs beside it, which takes `paused` and `revisionLabel`, and
/// the word of whoever writes it that pods are all that its controller makes of an object. Places are JSON
/// pointers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadAdapter {
    /// How many pods stay on the old version, below `/spec`; absent = the kind holds no pod back, and a
    /// copy runs beside the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Whether the controller stands still, below `/spec`; absent = the kind cannot be paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// How many pods are wanted; `/spec/replicas` unless set.
    #[serde(default = "defaults::replicas")]
    pub replicas: String,
    /// The generation that the controller has seen; `/status/observedGeneration` unless set.
    #[serde(default = "defaults::observed_generation")]
    pub observed_generation: String,
    /// The revision of the template; `/status/updateRevision` unless set.
    #[serde(default = "defaults::revision")]
    pub revision: String,
    /// Pods of every version; `/status/replicas` unless set.
    #[serde(default = "defaults::total")]
    pub total: String,
    /// Ready pods of every version; `/status/readyReplicas` unless set.
    #[serde(default = "defaults::ready")]
    pub ready: String,
    /// Available pods of every version; `/status/availableReplicas` unless set.
    #[serde(default = "defaults::available")]
    pub available: String,
    /// Pods of the template's revision, below `/status`; absent = counted by `revisionLabel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// Available pods of the template's revision, below `/status`; absent = counted by
    /// `revisionLabel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_available: Option<String>,
    /// The pods' label that holds their revision; `controller-revision-hash` unless set. Required without
    /// a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_label: Option<String>,
    /// Whether the partition is an ordinal, so that pods below it stay on whatever version they are;
    /// otherwise it is a number of pods that are not of the template's revision.
    #[serde(default)]
    pub by_ordinal: bool,
    /// Whether the kind has a pod on each node and no partition: held, its controller replaces no pod,
    /// and the run evicts those that may change. Known of kinds, never written.
    #[serde(skip)]
    #[schemars(skip)]
    pub by_node: bool,
    /// Whether the kind keeps a revision of each template itself and shares requests between them: no
    /// pod of it is held, counted or sized. Known of kinds, never written.
    #[serde(skip)]
    #[schemars(skip)]
    pub by_revision: bool,
    /// Whether a partition may be larger than the workload, so that pods that come later are kept on the
    /// old version too. Known of kinds, never written.
    #[serde(skip)]
    #[schemars(skip)]
    pub holds_later_pods: bool,
    /// Whether the controller waits for a pod that never becomes ready before it takes an older
    /// version back: such pods are deleted then.
    #[serde(default)]
    pub waits_for_broken_pods: bool,
}

mod defaults {
    pub(super) fn replicas() -> String {
        "/spec/replicas".to_owned()
    }

    pub(super) fn observed_generation() -> String {
        "/status/observedGeneration".to_owned()
    }

    pub(super) fn revision() -> String {
        "/status/updateRevision".to_owned()
    }

    pub(super) fn total() -> String {
        "/status/replicas".to_owned()
    }

    pub(super) fn ready() -> String {
        "/status/readyReplicas".to_owned()
    }

    pub(super) fn available() -> String {
        "/status/availableReplicas".to_owned()
    }
}

const REVISION_LABEL: &str = "controller-revision-hash";

/// Reads an adapter whose label is written wherever it has one, so that what is stored does not depend on
/// whether its author wrote the default.
pub(crate) fn with_label<'de, D>(deserializer: D) -> Result<Option<WorkloadAdapter>, D::Error>
where
    D: Deserializer<'de>,
{
    let read = Option::<WorkloadAdapter>::deserialize(deserializer)?;
    Ok(read.map(|mut adapter| {
        if adapter.partition.is_some() {
            let default = || REVISION_LABEL.to_owned();
            adapter.revision_label.get_or_insert_with(default);
        }
        adapter
    }))
}

impl WorkloadAdapter {
    /// An adapter of a kind that keeps everything but its partition where most kinds do.
    #[must_use]
    pub fn of_partition(partition: &str) -> Self {
        Self {
            partition: Some(partition.to_owned()),
            paused: None,
            replicas: defaults::replicas(),
            observed_generation: defaults::observed_generation(),
            revision: defaults::revision(),
            total: defaults::total(),
            ready: defaults::ready(),
            available: defaults::available(),
            updated: None,
            updated_available: None,
            revision_label: Some(REVISION_LABEL.to_owned()),
            by_ordinal: false,
            by_node: false,
            by_revision: false,
            holds_later_pods: false,
            waits_for_broken_pods: false,
        }
    }

    /// How a workload is updated in place: by its own adapter, or by the one that is known for its kind;
    /// `None` = it is not.
    #[must_use]
    pub fn of(workload: &WorkloadRef) -> Option<Self> {
        workload
            .adapter
            .clone()
            .or_else(|| Self::known(&workload.api_version, &workload.kind))
            .filter(|adapter| adapter.partition.is_some())
    }

    /// The pods' label that holds their revision.
    #[must_use]
    pub fn revision_label(&self) -> &str {
        self.revision_label.as_deref().unwrap_or(REVISION_LABEL)
    }

    /// The adapter that is known for a kind, whatever the version of its API.
    #[must_use]
    pub fn known(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("apps", "StatefulSet") => Some(Self {
                by_ordinal: true,
                holds_later_pods: true,
                waits_for_broken_pods: true,
                ..Self::of_partition("/spec/updateStrategy/rollingUpdate/partition")
            }),
            ("apps", "DaemonSet") => Some(Self {
                replicas: "/status/desiredNumberScheduled".to_owned(),
                total: "/status/currentNumberScheduled".to_owned(),
                ready: "/status/numberReady".to_owned(),
                available: "/status/numberAvailable".to_owned(),
                by_node: true,
                ..Self::of_partition("/spec/updateStrategy/type")
            }),
            ("apps.kruise.io", "CloneSet") => Some(Self {
                holds_later_pods: true,
                paused: Some("/spec/updateStrategy/paused".to_owned()),
                updated: Some("/status/updatedReplicas".to_owned()),
                updated_available: Some("/status/updatedAvailableReplicas".to_owned()),
                ..Self::of_partition("/spec/updateStrategy/partition")
            }),
            ("serving.knative.dev", "Service") => Some(Self {
                by_revision: true,
                revision: "/status/latestCreatedRevisionName".to_owned(),
                revision_label: Some("serving.knative.dev/revision".to_owned()),
                ..Self::of_partition("/spec/traffic")
            }),
            _ => None,
        }
    }

    /// Every pointer with the field that holds it and the part of an object that it points into.
    #[must_use]
    pub fn pointers(&self) -> Vec<(&'static str, &str, &'static str)> {
        let mut pointers = vec![
            ("replicas", self.replicas.as_str(), "/spec/"),
            ("observedGeneration", &self.observed_generation, "/status/"),
            ("revision", &self.revision, "/status/"),
            ("total", &self.total, "/status/"),
            ("ready", &self.ready, "/status/"),
            ("available", &self.available, "/status/"),
        ];
        let optional = [
            ("partition", &self.partition, "/spec/"),
            ("paused", &self.paused, "/spec/"),
            ("updated", &self.updated, "/status/"),
            ("updatedAvailable", &self.updated_available, "/status/"),
        ];
        pointers.extend(
            optional
                .into_iter()
                .filter_map(|(field, pointer, below)| Some((field, pointer.as_deref()?, below))),
        );
        pointers
    }

    /// Says why a workload, as its manifest has it, cannot be updated in place; `None` = it can.
    #[must_use]
    pub fn unfit(&self, manifest: &Value) -> Option<String> {
        if self.by_node {
            return None;
        }
        if self.by_revision {
            return unfit_revisions(manifest);
        }
        if manifest.pointer("/spec/updateStrategy/type") == Some(&Value::from("OnDelete")) {
            return Some(
                "its updateStrategy is OnDelete, so that its partition holds nothing; use \
                 RollingUpdate"
                    .to_owned(),
            );
        }
        if manifest
            .pointer(&self.replicas)
            .and_then(Value::as_u64)
            .is_none()
        {
            return Some(format!(
                "an update in place divides its pods, and its manifest does not say how many they \
                 are; set {} there",
                self.replicas.trim_start_matches('/').replace('/', ".")
            ));
        }
        None
    }
}

/// Says why revisions of a workload could not be told apart, or would not all be reached at the end;
/// `None` = they can and will.
fn unfit_revisions(manifest: &Value) -> Option<String> {
    if manifest.pointer("/spec/template/metadata/name").is_some() {
        return Some(
            "its template names its revision, which the way back could not make again; leave \
             spec.template.metadata.name out"
                .to_owned(),
        );
    }
    let pinned = manifest.pointer("/spec/traffic").and_then(Value::as_array);
    let shared = |target: &&Value| {
        let percent = target.get("percent").and_then(Value::as_u64).unwrap_or(0);
        percent > 0 && target.get("latestRevision") != Some(&Value::Bool(true))
    };
    let held = pinned.and_then(|targets| targets.iter().find(shared))?;
    let name = held.get("revisionName").and_then(Value::as_str);
    Some(format!(
        "its spec.traffic gives requests to revision {}, so that a new version would never have all of \
         them; give them to latestRevision, or leave traffic out",
        name.unwrap_or("that it does not name")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_known_by_their_group() {
        let known = |api_version, kind| WorkloadAdapter::known(api_version, kind).is_some();
        assert!(known("apps/v1", "StatefulSet"));
        assert!(known("apps.kruise.io/v1alpha1", "CloneSet"));
        assert!(known("apps/v1", "DaemonSet"));
        assert!(!known("example.dev/v1", "StatefulSet"));
        assert!(!known("apps/v1", "Deployment"));
        assert!(known("serving.knative.dev/v1", "Service"));
        assert!(!known("v1", "Service"));
    }

    #[test]
    fn revisions_that_somebody_names_are_unfit() {
        let adapter = WorkloadAdapter::known("serving.knative.dev/v1", "Service").expect("known");
        let unfit = |spec: Value| adapter.unfit(&json!({"spec": spec}));
        let latest = json!([
            {"latestRevision": true, "percent": 100},
            {"revisionName": "web-00001", "tag": "first"},
        ]);
        assert_eq!(unfit(json!({"template": {}})), None);
        assert_eq!(unfit(json!({"traffic": latest})), None);
        let pinned = json!([{"revisionName": "web-00001", "percent": 100}]);
        let pinned = unfit(json!({"traffic": pinned})).expect("unfit");
        assert!(pinned.contains("web-00001"), "{pinned}");
        let named = unfit(json!({"template": {"metadata": {"name": "web-a"}}}));
        assert!(
            named
                .expect("unfit")
                .contains("spec.template.metadata.name")
        );
    }

    #[test]
    fn a_partition_alone_makes_an_adapter() {
        let read = |adapter: Value| {
            let workload: WorkloadRef = serde_json::from_value(json!({
                "apiVersion": "example.dev/v1", "kind": "Shard", "name": "web", "adapter": adapter,
            }))
            .expect("a workload");
            workload.adapter.expect("an adapter")
        };
        let plain = read(json!({"partition": "/spec/held"}));
        assert_eq!(plain, WorkloadAdapter::of_partition("/spec/held"));
        let written = json!(plain);
        let label = written.get("revisionLabel").and_then(Value::as_str);
        assert_eq!(
            label,
            Some("controller-revision-hash"),
            "as records of before"
        );
        assert_eq!(read(written), plain);
        let apart = read(json!({"paused": "/spec/paused"}));
        assert_eq!(apart.revision_label, None, "nothing is taken for granted");
    }

    #[test]
    fn an_adapter_without_a_partition_updates_nothing_in_place() {
        let workload: WorkloadRef = serde_json::from_value(json!({
            "apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "web",
            "adapter": {"paused": "/spec/updateStrategy/paused", "revisionLabel": "revision"},
        }))
        .expect("a workload");
        assert_eq!(WorkloadAdapter::of(&workload), None, "whatever is known");
        let written = json!(workload.adapter.expect("an adapter"));
        assert_eq!(written.get("partition"), None, "{written}");
    }

    #[test]
    fn workloads_that_a_partition_cannot_hold_are_unfit() {
        let adapter = WorkloadAdapter::known("apps/v1", "StatefulSet").expect("known");
        let unfit = |spec: Value| adapter.unfit(&json!({"spec": spec}));
        assert_eq!(unfit(json!({"replicas": 3})), None);
        let on_delete = unfit(json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}));
        assert!(on_delete.expect("unfit").contains("OnDelete"));
        let unsized_ = unfit(json!({}));
        assert!(unsized_.expect("unfit").contains("spec.replicas"));
    }
}
