//! What is seen of a Deployment and its ReplicaSets.

use serde_json::Value;

use super::marks::{Marks, annotation, count, is_controlled_by, text};
use crate::names::HASH_LABEL;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// A ReplicaSet of the Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSet {
    /// Its name.
    pub name: String,
    /// Its `pod-template-hash`.
    pub hash: String,
    /// Its revision as the Deployment's controller counts.
    pub revision: String,
    /// `spec.replicas`.
    pub wanted: u32,
    /// `status.replicas`.
    pub there: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// Its pod template, as the Deployment had it.
    pub template: Value,
}

impl PodSet {
    /// The larger of the pods that are wanted and those that are there.
    #[must_use]
    pub fn pods(&self) -> u32 {
        self.wanted.max(self.there)
    }
}

/// What is seen of a Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// Its pod template.
    pub template: Value,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// What it says of the Rollout that paused it.
    pub marks: Marks,
    /// The ReplicaSet of its template; absent = there is none.
    pub current: Option<PodSet>,
    /// Its other ReplicaSets that have pods, newest first.
    pub others: Vec<PodSet>,
}

impl Sight {
    /// Reads a live Deployment, and what is its own among the ReplicaSets of its namespace.
    #[must_use]
    pub fn of(deployment: &Value, replica_sets: &[Value]) -> Self {
        let uid = text(deployment, "/metadata/uid");
        let template = deployment
            .pointer("/spec/template")
            .cloned()
            .unwrap_or_default();
        let (mut of_template, mut others): (Vec<PodSet>, Vec<PodSet>) = replica_sets
            .iter()
            .filter(|set| is_controlled_by(set, &uid))
            .map(pod_set)
            .partition(|set| set.template == template);
        others.retain(|set| set.pods() > 0);
        let number = |set: &PodSet| set.revision.parse::<u64>().unwrap_or(0);
        others.sort_by_key(|set| std::cmp::Reverse(number(set)));
        // Two of one template are what a change of the hash leaves behind; the one with pods counts.
        of_template.sort_by_key(|set| (set.pods() > 0, number(set)));
        Self {
            template,
            replicas: deployment
                .pointer("/spec/replicas")
                .map_or(1, |_| count(deployment, "/spec/replicas")),
            paused: deployment.pointer("/spec/paused") == Some(&Value::Bool(true)),
            marks: Marks::of(deployment, "/status/observedGeneration"),
            current: of_template.pop(),
            others,
        }
    }

    /// Pods of the live template.
    #[must_use]
    pub fn current_pods(&self) -> u32 {
        self.current.as_ref().map_or(0, PodSet::pods)
    }

    /// Ready pods of the live template.
    #[must_use]
    pub fn current_ready(&self) -> u32 {
        self.current.as_ref().map_or(0, |set| set.ready)
    }

    /// Whether its Rollout paused it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.paused && self.marks.is_held()
    }
}

/// A ReplicaSet's pod template without the label that the Deployment's controller adds.
#[must_use]
pub fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(HASH_LABEL);
    }
    template
}

fn pod_set(set: &Value) -> PodSet {
    let template = set.pointer("/spec/template").unwrap_or(&Value::Null);
    PodSet {
        name: text(set, "/metadata/name"),
        hash: set
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(HASH_LABEL))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        revision: annotation(set, REVISION).unwrap_or_default(),
        wanted: count(set, "/spec/replicas"),
        there: count(set, "/status/replicas"),
        ready: count(set, "/status/readyReplicas"),
        template: without_hash(template),
    }
}
