//! Rollouts that components render, which may differ from cluster to cluster.

use std::collections::BTreeMap;

use bellwether_api::legacy::normalised;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{ReleaseContent, ReleaseRollout, RolloutRecord, canonical_json, created};

/// A cluster's rendering has a Rollout that is in no rendering which the release was made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to find Rollout {name} as it is rendered for this cluster in the release; the next release \
     has it"
)]
pub struct OtherVariant {
    /// Its name.
    pub name: String,
}

/// What a component rendered a Rollout as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderedAs {
    /// The component.
    pub component: String,
    /// Hex SHA-256 over the canonical JSON of the `spec` as it came out: however a hub of another version reads
    /// it, it is the same.
    pub digest: String,
}

impl RenderedAs {
    /// Names the `spec` of a Rollout that a component rendered.
    #[must_use]
    pub fn of(component: &str, spec: &Value) -> Self {
        Self {
            component: component.to_owned(),
            digest: hex::encode(Sha256::digest(canonical_json(spec))),
        }
    }
}

impl ReleaseRollout {
    /// Tells whether both say the same, wherever they hold.
    pub(super) fn says(&self, other: &Self) -> bool {
        (&self.name, &self.spec) == (&other.name, &other.spec)
    }

    /// Tells whether one component renders the one for some clusters and the other for others.
    pub fn is_variant_of(&self, other: &Self) -> bool {
        let (one, other) = (self.rendered_as.as_ref(), other.rendered_as.as_ref());
        one.zip(other)
            .is_some_and(|(one, other)| one.component == other.component && one != other)
    }
}

impl ReleaseContent {
    /// Returns the content as one cluster gets it: with these objects, by component, and of the rollouts
    /// that components render those that are rendered for it.
    ///
    /// # Errors
    /// Such a Rollout is not in the release.
    pub fn for_cluster(
        &self,
        objects: &BTreeMap<String, Vec<Value>>,
        rendered: &[RolloutRecord],
    ) -> Result<Self, OtherVariant> {
        self.refuse_other(rendered)?;
        let mut content = self.clone();
        for component in &mut content.components {
            if component.rendered.is_some() {
                component.objects = objects
                    .get(&component.name)
                    .into_iter()
                    .flatten()
                    .map(normalised)
                    .collect();
            }
        }
        content.rollouts.retain(|rollout| {
            rollout.rendered_as.is_none()
                || rendered.iter().any(|record| self.is_meant(record, rollout))
        });
        for rollout in &content.rollouts {
            let component = rollout.spec.component.as_deref().unwrap_or_default();
            created::add(&mut content.components, component, &rollout.spec);
        }
        Ok(content)
    }

    /// Finds the first of the rollouts that are rendered for a cluster which the release lacks.
    ///
    /// # Errors
    /// There is one.
    pub fn refuse_other(&self, rendered: &[RolloutRecord]) -> Result<(), OtherVariant> {
        let is_there = |record: &RolloutRecord| {
            let mut rollouts = self.rollouts.iter();
            rollouts.any(|rollout| self.is_meant(record, rollout))
        };
        match rendered.iter().find(|record| !is_there(record)) {
            Some(record) => Err(OtherVariant {
                name: record.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Tells whether a rendered Rollout is that one of the release. Where the release has one of its name and
    /// workload alone it is that one.
    fn is_meant(&self, record: &RolloutRecord, rollout: &ReleaseRollout) -> bool {
        let is_like = |rollout: &ReleaseRollout| {
            rollout.name == record.name && rollout.spec.workload == record.spec.workload
        };
        let is_alone = || self.rollouts.iter().filter(|one| is_like(one)).count() == 1;
        rollout.name == record.name
            && (rollout.rendered_as == record.rendered_as || is_like(rollout) && is_alone())
    }

    /// Tells whether this says what `before` says, and has more rollouts that are rendered for some clusters.
    pub(super) fn only_adds_variants_to(&self, before: &Self) -> bool {
        let rest = |content: &Self| Self {
            rollouts: Vec::new(),
            ..content.as_asked()
        };
        let was_there = |one: &ReleaseRollout| before.rollouts.iter().any(|own| own.says(one));
        rest(self) == rest(before)
            && before.rollouts.iter().all(|own| {
                own.rendered_as.is_some() || self.rollouts.iter().any(|one| one.says(own))
            })
            && self
                .rollouts
                .iter()
                .all(|one| one.rendered_as.is_some() || was_there(one))
    }

    /// Tells whether `next` says the same, but for rollouts that are rendered for no cluster any more: what
    /// follows from the clusters that are gone is no other release.
    pub(super) fn has_every_variant_of(&self, next: &Self) -> bool {
        let (asked, wanted) = (self.as_asked(), next.as_asked());
        let rest = |content: &Self| Self {
            rollouts: Vec::new(),
            ..content.clone()
        };
        let is_here = |one: &ReleaseRollout| self.rollouts.iter().any(|own| own.says(one));
        let stays = |own: &ReleaseRollout| {
            own.rendered_as.is_some() || next.rollouts.iter().any(|one| one.says(own))
        };
        rest(&asked) == rest(&wanted)
            && next.rollouts.iter().all(is_here)
            && self.rollouts.iter().all(stays)
    }
}

#[cfg(test)]
mod tests;
