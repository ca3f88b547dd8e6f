//! The StatefulSet controller.

use serde_json::{Value, json};

use super::{
    super::field_managers::{IMAGE, PARTITION},
    world::{OLD, Running, World},
};

impl World {
    pub(super) fn lose(&mut self, number: usize) {
        self.pods.remove(&number);
    }

    pub(super) fn image(&self) -> String {
        let image = self.object.pointer(IMAGE).and_then(Value::as_str);
        image.expect("an image").to_owned()
    }

    fn number(&self, path: &str) -> usize {
        let number = self.object.pointer(path).and_then(Value::as_u64);
        usize::try_from(number.expect("a count")).unwrap_or(usize::MAX)
    }

    /// The StatefulSet controller: it comes to the pods in the turn after it has seen a change.
    pub(super) fn control(&mut self) {
        let image = self.image();
        let unseen =
            self.object["status"]["observedGeneration"] != self.object["metadata"]["generation"];
        if unseen {
            self.recorded.retain(|known| *known != image);
            self.recorded.push(image.clone());
        }
        self.count(&image);
        if unseen {
            return;
        }
        let (partition, wanted) = (self.number(PARTITION), self.number("/spec/replicas"));
        let waits = self.pods.len() != wanted || self.pods.values().any(|pod| !pod.ready);
        self.pods.retain(|number, _| *number < wanted);
        let held = self.object["status"]["currentRevision"].as_str();
        let held = held
            .and_then(|name| name.strip_prefix("web-"))
            .expect("a revision");
        for number in 0..wanted {
            // A missing pod below the partition is made of the revision that was last complete.
            let of = if number < partition { held } else { &image };
            self.pods.entry(number).or_insert_with(|| {
                self.came += usize::from(number >= partition && of != OLD);
                Running {
                    image: of.to_owned(),
                    ready: false,
                }
            });
        }
        let next = self
            .pods
            .iter()
            .rev()
            .find(|(number, pod)| **number >= partition && pod.image != image)
            .map(|(number, _)| *number);
        if let Some(number) = next.filter(|_| !waits) {
            self.pods.remove(&number);
        }
    }

    /// The status as the controller finds the pods. A template counts as complete as soon as all pods are
    /// of it and ready, wherever the partition stands.
    fn count(&mut self, image: &str) {
        let wanted = self.number("/spec/replicas");
        let ready = self.pods.values().filter(|pod| pod.ready).count();
        let updated = self.pods.values().filter(|pod| pod.image == image).count();
        let generation = self.object["metadata"]["generation"].clone();
        let status = &mut self.object["status"];
        status["observedGeneration"] = generation;
        status["updateRevision"] = json!(format!("web-{image}"));
        status["replicas"] = json!(self.pods.len());
        status["readyReplicas"] = json!(ready);
        status["availableReplicas"] = json!(ready);
        if [self.pods.len(), ready, updated] == [wanted; 3] {
            status["currentRevision"] = status["updateRevision"].clone();
        }
    }
}
