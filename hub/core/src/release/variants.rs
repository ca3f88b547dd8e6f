//! Rollouts that components render, which may differ from cluster to cluster.

use std::collections::BTreeMap;

use bellwether_api::{legacy::normalised, rollout::RolloutSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Change, ReleaseContent, ReleaseRollout, RolloutRecord, canonical_json, created};

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
        let likes = Likes::of(&self.rollouts);
        content.rollouts.retain(|rollout| {
            rollout.rendered_as.is_none()
                || rendered.iter().any(|record| likes.mean(record, rollout))
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
        let likes = Likes::of(&self.rollouts);
        let is_there = |record: &RolloutRecord| {
            let mut rollouts = self.rollouts.iter();
            rollouts.any(|rollout| likes.mean(record, rollout))
        };
        match rendered.iter().find(|record| !is_there(record)) {
            Some(record) => Err(OtherVariant {
                name: record.name.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// How many rollouts a release has of each name and workload.
struct Likes(BTreeMap<(String, String), usize>);

impl Likes {
    fn of(rollouts: &[ReleaseRollout]) -> Self {
        let mut counts = BTreeMap::new();
        for rollout in rollouts {
            *counts
                .entry(like(&rollout.name, &rollout.spec))
                .or_default() += 1;
        }
        Self(counts)
    }

    /// Tells whether a rendered Rollout is that one of the release. Where the release has one of its name and
    /// workload alone it is that one.
    fn mean(&self, record: &RolloutRecord, rollout: &ReleaseRollout) -> bool {
        let is_alone = || self.0.get(&like(&record.name, &record.spec)) == Some(&1);
        rollout.name == record.name
            && (rollout.rendered_as == record.rendered_as
                || rollout.spec.workload == record.spec.workload && is_alone())
    }
}

fn like(name: &str, spec: &RolloutSpec) -> (String, String) {
    let workload = serde_json::to_string(&spec.workload);
    let workload = workload.expect("types of the API always serialise");
    (name.to_owned(), workload)
}

/// By which rollouts what the records say now differs from a release.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RolloutsChanged {
    /// Some are there that the release lacks.
    added: bool,
    /// One of these somebody wrote.
    added_written: bool,
    /// One that somebody wrote is gone. Of those that are rendered for no cluster any more nobody took anything away:
    /// what follows from the clusters that are gone is no other release.
    gone_written: bool,
    /// There are fewer.
    fewer: bool,
}

impl RolloutsChanged {
    /// Compares the rollouts of a release with those of `next`.
    pub(super) fn between(before: &[ReleaseRollout], next: &[ReleaseRollout]) -> Self {
        let lacks = |list: &[ReleaseRollout], one: &ReleaseRollout| {
            !list.iter().any(|other| other.says(one))
        };
        let added = || next.iter().filter(|one| lacks(before, one));
        let mut gone = before.iter().filter(|own| lacks(next, own));
        Self {
            added: added().next().is_some(),
            added_written: added().any(|one| one.rendered_as.is_none()),
            gone_written: gone.any(|own| own.rendered_as.is_none()),
            fewer: next.len() < before.len(),
        }
    }

    /// What that means where nothing else differs.
    pub(super) const fn change(self) -> Change {
        match self {
            Self {
                added: false,
                gone_written: false,
                ..
            } => Change::None,
            Self {
                added: false,
                fewer: true,
                ..
            } => Change::RolloutsRemoved,
            Self {
                added: true,
                added_written: false,
                gone_written: false,
                ..
            } => Change::VariantsAdded,
            _ => Change::Content,
        }
    }
}

#[cfg(test)]
mod tests;
