//! Kinds that adapters without a partition tell of, and the controller that makes their pods, played.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use anyhow::{Context as _, Result};
use bellwether_integration_tests::cluster::Member;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// A kind, and where it keeps what.
#[derive(Clone)]
pub struct Kind {
    pub api_version: &'static str,
    pub kind: &'static str,
    /// Group and plural.
    pub resource: [&'static str; 2],
    pub adapter: Value,
    /// Pointers to the number of pods and to what has the controller stand still.
    pub size: &'static str,
    pub paused: &'static str,
    /// The label by which pods of two versions differ.
    pub label: &'static str,
    /// Whether the label has the workload's name in it.
    whole_label: bool,
    pub pods: u32,
    /// What the spec has beside selector and template.
    spec: Value,
    /// What the status says of so many pods, so many of which are new, ready, and both.
    status: fn([usize; 4]) -> Value,
}

impl Kind {
    pub fn manifest(&self, namespace: &str, version: &str) -> Value {
        let labels = json!({"app": "web"});
        let mut spec = self.spec.clone();
        spec["selector"] = json!({"matchLabels": labels});
        spec["template"] = json!({
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers":
                [{"name": "web", "image": format!("bellwether.local/demo:{version}")}]},
        });
        json!({
            "apiVersion": self.api_version, "kind": self.kind,
            "metadata": {"name": "web", "namespace": namespace}, "spec": spec,
        })
    }

    /// The revision of an object's template, and what the label says on its pods.
    fn revision_of(&self, name: &str, object: &Value) -> [String; 2] {
        let mut hasher = DefaultHasher::new();
        let template = &object["spec"]["template"];
        template.to_string().hash(&mut hasher);
        let hash = format!("{:016x}", hasher.finish());
        let revision = format!("{name}-{hash}");
        let label = if self.whole_label { &revision } else { &hash };
        [revision.clone(), label.clone()]
    }
}

/// The kind of docs/workloads.md, which has a scale subresource and counts no pods of its newest revision.
pub fn ring() -> Kind {
    Kind {
        api_version: "example.dev/v1",
        kind: "Ring",
        resource: ["example.dev", "rings"],
        adapter: json!({
            "paused": "/spec/update/paused", "revisionLabel": "example.dev/revision",
            "replicas": "/spec/size/nodes", "total": "/status/nodes", "ready": "/status/readyNodes",
            "available": "/status/liveNodes",
        }),
        size: "/spec/size/nodes",
        paused: "/spec/update/paused",
        label: "example.dev/revision",
        whole_label: false,
        pods: 4,
        spec: json!({"size": {"nodes": 4, "zone": "a"}}),
        status: |[all, _, ready, _]| json!({"nodes": all, "readyNodes": ready, "liveNodes": ready, "selector": "app=web"}),
    }
}

pub fn ring_definition() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let [count, text, flag] = ["integer", "string", "boolean"].map(|one| json!({"type": one}));
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rings.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"kind": "Ring", "listKind": "RingList", "plural": "rings", "singular": "ring"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.size.nodes", "statusReplicasPath": ".status.nodes",
                    "labelSelectorPath": ".status.selector"}},
                "schema": {"openAPIV3Schema": object(json!({
                    "spec": object(json!({
                        "selector": any, "template": any,
                        "size": object(json!({"nodes": count, "zone": text})),
                        "update": object(json!({"paused": flag, "order": text})),
                    })),
                    "status": any,
                }))}}],
        },
    })
}

/// A CloneSet, which has a partition that its adapter leaves out.
pub fn clone_set() -> Kind {
    Kind {
        api_version: "apps.kruise.io/v1alpha1",
        kind: "CloneSet",
        resource: ["apps.kruise.io", "clonesets"],
        adapter: json!({
            "paused": "/spec/updateStrategy/paused", "revisionLabel": "controller-revision-hash",
            "updated": "/status/updatedReplicas", "updatedAvailable": "/status/updatedAvailableReplicas",
        }),
        size: "/spec/replicas",
        paused: "/spec/updateStrategy/paused",
        label: "controller-revision-hash",
        whole_label: true,
        pods: 4,
        spec: json!({"replicas": 4, "updateStrategy": {"type": "ReCreate", "maxUnavailable": "20%"}}),
        status: |[all, new, ready, both]| {
            json!({"replicas": all, "readyReplicas": ready, "availableReplicas": ready,
                "updatedReplicas": new, "updatedReadyReplicas": both, "updatedAvailableReplicas": both})
        },
    }
}

/// The version of a workload's template, by its image.
pub fn image(workload: &Value) -> Option<&str> {
    let image = workload.pointer("/spec/template/spec/containers/0/image")?;
    image.as_str()?.rsplit(':').next()
}

/// The controller of a kind in a namespace.
pub struct Player<'a> {
    member: &'a Member,
    namespace: String,
    kind: Kind,
}

impl<'a> Player<'a> {
    pub fn new(member: &'a Member, namespace: &str, kind: Kind) -> Self {
        Self {
            member,
            namespace: namespace.to_owned(),
            kind,
        }
    }

    /// Makes the pods that every object asks for, and reports them. One that stands still keeps the pods that it
    /// has; any other replaces all of its old ones at once.
    pub fn reconcile(&self) -> Result<()> {
        let Kind {
            api_version, kind, ..
        } = self.kind;
        for object in self.member.list(api_version, kind, &self.namespace)? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let done = self.reconcile_one(name, &object);
            // It may be gone since it was read.
            let read = self.member.get(api_version, kind, &self.namespace, name)?;
            if read.is_some_and(|read| read["metadata"]["uid"] == object["metadata"]["uid"]) {
                done?;
            }
        }
        Ok(())
    }

    fn reconcile_one(&self, name: &str, object: &Value) -> Result<()> {
        let wanted = object.pointer(self.kind.size).and_then(Value::as_u64);
        let wanted = usize::try_from(wanted.context("a size")?)?;
        let [revision, label] = self.kind.revision_of(name, object);
        let is_still = object.pointer(self.kind.paused) == Some(&json!(true));
        let stays = |pod: &Pod| is_still || label_of(pod, self.kind.label) == Some(&label);
        let (mut kept, mut going): (Vec<Pod>, Vec<Pod>) =
            self.own(object)?.into_iter().partition(stays);
        going.extend(kept.drain(wanted.min(kept.len())..));
        for pod in going {
            let pod = pod.metadata.name.context("a name")?;
            self.member.delete("v1", "Pod", &self.namespace, &pod)?;
        }
        for number in kept.len()..wanted {
            self.make(object, &format!("{revision}-{number}"), &label)?;
        }
        self.report(name, object, [&revision, &label])
    }

    /// Pods of an object that do not stop.
    fn own(&self, object: &Value) -> Result<Vec<Pod>> {
        let uid = object["metadata"]["uid"].as_str();
        let mut pods = self.member.pods(&self.namespace, "app=web")?;
        pods.retain(|pod| {
            let mut owners = pod.metadata.owner_references.iter().flatten();
            pod.metadata.deletion_timestamp.is_none()
                && owners.any(|owner| Some(owner.uid.as_str()) == uid)
        });
        Ok(pods)
    }

    fn make(&self, object: &Value, pod: &str, label: &str) -> Result<()> {
        let template = &object["spec"]["template"];
        let mut labels = template["metadata"]["labels"].clone();
        labels[self.kind.label] = json!(label);
        self.member.create(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": self.namespace, "labels": labels,
                "ownerReferences": [{"apiVersion": self.kind.api_version, "kind": self.kind.kind,
                    "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
                    "controller": true}]},
            "spec": template["spec"],
        }))
    }

    fn report(&self, name: &str, object: &Value, [revision, label]: [&str; 2]) -> Result<()> {
        let pods = self.own(object)?;
        let is_new = |pod: &&Pod| label_of(pod, self.kind.label).map(String::as_str) == Some(label);
        let count = |of: &dyn Fn(&&Pod) -> bool| pods.iter().filter(of).count();
        let counts = [
            pods.len(),
            count(&is_new),
            count(&is_ready),
            count(&|pod| is_new(pod) && is_ready(pod)),
        ];
        let mut status = (self.kind.status)(counts);
        status["observedGeneration"] = object["metadata"]["generation"].clone();
        status["updateRevision"] = json!(revision);
        if object.get("status") == Some(&status) {
            return Ok(());
        }
        let (api_version, kind) = (self.kind.api_version, self.kind.kind);
        let patch = json!({"status": status});
        self.member
            .patch_status(api_version, kind, &self.namespace, name, &patch)
    }

    /// UIDs of the pods of a workload that run a version.
    pub fn uids(&self, workload: &str, version: &str) -> Result<BTreeSet<String>> {
        let image = format!("bellwether.local/demo:{version}");
        let runs = |pod: &Pod| {
            let spec = pod.spec.as_ref();
            let mut containers = spec.into_iter().flat_map(|spec| &spec.containers);
            containers.any(|one| one.image.as_ref() == Some(&image))
        };
        let pods = self.pods_of(workload)?.into_iter().filter(runs);
        Ok(pods.filter_map(|pod| pod.metadata.uid).collect())
    }

    /// What the label says on pods of a workload.
    pub fn labels(&self, workload: &str) -> Result<BTreeSet<String>> {
        let pods = self.pods_of(workload)?;
        let labels = pods.iter().filter_map(|pod| label_of(pod, self.kind.label));
        Ok(labels.cloned().collect())
    }

    fn pods_of(&self, workload: &str) -> Result<Vec<Pod>> {
        let Kind {
            api_version, kind, ..
        } = self.kind;
        let object = self
            .member
            .get(api_version, kind, &self.namespace, workload)?;
        self.own(&object.context("the workload")?)
    }
}

fn label_of<'p>(pod: &'p Pod, label: &str) -> Option<&'p String> {
    pod.metadata.labels.as_ref()?.get(label)
}

fn is_ready(pod: &&Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|one| one.conditions.iter().flatten());
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}
