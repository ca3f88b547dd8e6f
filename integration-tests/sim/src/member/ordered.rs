//! A workload that is updated in place: pods in an order, and a partition that holds back the first.

use rand::{Rng, rngs::StdRng};

use super::starts;

/// The pods of a StatefulSet.
#[derive(Clone, Debug, Default)]
pub struct Ordered {
    pods: Vec<Pod>,
    /// Pods that are kept from the template; absent = as the user wrote it, which is none.
    pub partition: Option<u32>,
}

#[derive(Clone, Debug)]
struct Pod {
    image: String,
    ready: bool,
}

impl Ordered {
    fn held(&self) -> usize {
        usize::try_from(self.partition.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Lets its controller work for a second; `seen` = it knows what is written.
    pub(super) fn tick(&mut self, image: &str, replicas: u32, seen: bool, rng: &mut StdRng) {
        for pod in &mut self.pods {
            pod.ready = pod.ready || starts(&pod.image) && rng.random_bool(0.6);
        }
        if !seen {
            return;
        }
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        if self.pods.len() != wanted {
            self.resize(wanted, image);
            return;
        }
        // A pod that never becomes ready keeps every other from being updated.
        if self.pods.iter().any(|pod| !pod.ready) {
            return;
        }
        let held = self.held();
        let next = self.pods.iter_mut().skip(held).rev();
        if let Some(pod) = next.into_iter().find(|pod| pod.image != image) {
            image.clone_into(&mut pod.image);
            pod.ready = false;
        }
    }

    /// Pods that the partition keeps from the template are made of the version of the first.
    fn resize(&mut self, wanted: usize, image: &str) {
        let before = self.pods.first().map(|pod| pod.image.clone());
        self.pods.truncate(wanted);
        while self.pods.len() < wanted {
            let held = before.as_deref().filter(|_| self.pods.len() < self.held());
            self.pods.push(Pod {
                image: held.unwrap_or(image).to_owned(),
                ready: false,
            });
        }
    }

    /// Deletes pods of other versions that are not ready: they come again with the template.
    pub(super) fn clear(&mut self, image: &str) {
        let held = self.held();
        for pod in self.pods.iter_mut().skip(held) {
            if !pod.ready && pod.image != image {
                image.clone_into(&mut pod.image);
            }
        }
    }

    pub(super) fn kill(&mut self) -> bool {
        match self.pods.last_mut() {
            Some(pod) if pod.ready => {
                pod.ready = false;
                true
            }
            _ => false,
        }
    }

    /// All and ready pods of the versions that are meant.
    pub(super) fn count(&self, of: impl Fn(&str) -> bool) -> (u32, u32) {
        let meant = self.pods.iter().filter(|pod| of(&pod.image));
        meant.fold((0, 0), |(all, ready), pod| {
            (all + 1, ready + u32::from(pod.ready))
        })
    }

    /// Pods of an image that the partition would keep back.
    pub(super) fn kept(&self, image: &str) -> u32 {
        let below = self.pods.iter().take(self.held());
        let kept = below.filter(|pod| pod.image == image).count();
        u32::try_from(kept).unwrap_or(u32::MAX)
    }

    /// Whether the first pods, as many as are wanted, are there and ready.
    pub(super) fn stands(&self, replicas: u32) -> bool {
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        let mut kept = self.pods.iter().take(wanted);
        self.pods.len() >= wanted && kept.all(|pod| pod.ready)
    }

    pub(super) fn runs(&self, image: &str, replicas: u32) -> bool {
        let all = usize::try_from(replicas).unwrap_or(usize::MAX);
        self.pods.len() == all && self.pods.iter().all(|pod| pod.ready && pod.image == image)
    }
}
