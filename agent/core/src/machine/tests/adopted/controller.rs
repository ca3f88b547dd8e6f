//! The Deployment controller, with `maxSurge: 1` and `maxUnavailable: 0`.

use serde_json::{Value, json};

use super::super::field_managers::IMAGE;
use super::world::{World, template};

const SURGE: u32 = 1;

/// A ReplicaSet; its pods are there at once.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) image: String,
    pub(super) revision: u64,
    pub(super) wanted: u32,
    pub(super) ready: u32,
}

impl Set {
    pub(super) fn first(image: &str, pods: u32) -> Self {
        Self {
            image: image.to_owned(),
            revision: 1,
            wanted: pods,
            ready: pods,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("web-{}", self.image)
    }

    pub(super) fn hash(&self) -> String {
        format!("hash-{}", self.image)
    }

    pub(super) fn become_ready(&mut self, works: bool) {
        self.ready = if works {
            self.wanted
        } else {
            self.ready.min(self.wanted)
        };
    }

    pub(super) fn object(&self) -> Value {
        let mut template = template(&self.image);
        template["metadata"]["labels"]["pod-template-hash"] = json!(self.hash());
        json!({
            "metadata": {
                "name": self.name(), "labels": {"pod-template-hash": self.hash()},
                "annotations": {"deployment.kubernetes.io/revision": self.revision.to_string()},
                "ownerReferences": [{"controller": true, "uid": "u"}],
            },
            "spec": {"replicas": self.wanted, "template": template},
            "status": {"replicas": self.wanted, "readyReplicas": self.ready},
        })
    }
}

impl World {
    /// It comes to the ReplicaSets in the turn after it has seen a change.
    pub(super) fn control(&mut self) {
        let metadata = &self.object["metadata"];
        let unseen = self.object["status"]["observedGeneration"] != metadata["generation"];
        let image = self.object.pointer(IMAGE).and_then(Value::as_str);
        let image = image.expect("an image").to_owned();
        if !unseen {
            let replicas = self.object["spec"]["replicas"].as_u64().expect("a count");
            let replicas = u32::try_from(replicas).expect("few pods");
            let paused = self.object["spec"]["paused"] == true;
            let new = self.newest(&image, paused);
            match new {
                Some(new) if !paused => self.roll(new, replicas),
                _ => self.scale(new, replicas),
            }
        }
        self.count(&image);
    }

    /// The ReplicaSet of the live template, which counts as the newest; a paused Deployment makes none.
    fn newest(&mut self, image: &str, paused: bool) -> Option<usize> {
        let found = self.sets.iter().position(|set| set.image == image);
        let last = self.sets.iter().map(|set| set.revision).max().unwrap_or(0);
        if found.is_none() && !paused {
            self.sets.push(Set {
                revision: last + 1,
                ..Set::first(image, 0)
            });
            return Some(self.sets.len() - 1);
        }
        let set = &mut self.sets[found?];
        if set.revision < last {
            set.revision = last + 1;
        }
        let revision = set.revision.to_string();
        self.object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
            json!(revision);
        found
    }

    fn total(&self) -> u32 {
        self.sets.iter().map(|set| set.wanted).sum()
    }

    /// What a paused one does: one ReplicaSet follows the size, several keep the sum.
    fn scale(&mut self, new: Option<usize>, replicas: u32) {
        let with_pods = self.sets.iter().filter(|set| set.wanted > 0).count();
        let by_size = |(_, set): &(usize, &Set)| (set.wanted, set.revision);
        let largest = self.sets.iter().enumerate().max_by_key(by_size);
        let largest = largest.map(|(number, _)| number).expect("a ReplicaSet");
        match with_pods {
            0 => self.sets[new.unwrap_or(largest)].wanted = replicas,
            1 => self.sets[largest].wanted = replicas,
            _ => {
                let (allowed, total) = (replicas + SURGE, self.total());
                let set = &mut self.sets[largest];
                set.wanted = (set.wanted + allowed).saturating_sub(total);
            }
        }
    }

    fn roll(&mut self, new: usize, replicas: u32) {
        let room = (replicas + SURGE).saturating_sub(self.total());
        let set = &mut self.sets[new];
        set.wanted = (set.wanted + room).min(replicas);
        let waits = set.wanted.saturating_sub(set.ready);
        let mut may_go = self.total().saturating_sub(replicas + waits);
        let mut spare: u32 = self.sets.iter().map(|set| set.ready).sum();
        spare = spare.saturating_sub(replicas);
        let old = |(number, _): &(usize, &mut Set)| *number != new;
        for (_, set) in self.sets.iter_mut().enumerate().filter(old) {
            let broken = set.wanted.saturating_sub(set.ready).min(may_go);
            let ready = (may_go - broken).min(spare).min(set.ready);
            set.wanted -= broken + ready;
            set.ready -= ready;
            may_go -= broken + ready;
            spare -= ready;
        }
    }

    fn count(&mut self, image: &str) {
        let ready: u32 = self.sets.iter().map(|set| set.ready).sum();
        let updated = self.sets.iter().find(|set| set.image == image);
        self.object["status"] = json!({
            "observedGeneration": self.object["metadata"]["generation"],
            "replicas": self.total(), "updatedReplicas": updated.map_or(0, |set| set.wanted),
            "readyReplicas": ready, "availableReplicas": ready,
        });
    }
}
