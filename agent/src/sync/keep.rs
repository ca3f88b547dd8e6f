//! Holds a set of objects: applies what is new, writes back what was changed, reads health.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_agent_core::health;
use bellwether_api::{
    application::{AdoptPolicy, DriftPolicy},
    bundle::BundleComponent,
    reference::ObjectRef,
    status::{Health, ObjectStatus},
};
use serde_json::{Value, json};

use super::{
    cluster::{ApplyMode, Cluster, ClusterError, reference},
    watch::Dirty,
};
use crate::desired::digest_of;

/// One object as it is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What names it.
    pub target: ObjectRef,
    /// What is applied.
    pub object: Value,
    /// How changes of others are met.
    pub care: Care,
    /// Objects without which it is not written: those among them that stand before it in the order
    /// must have been taken.
    pub after: BTreeSet<ObjectRef>,
    /// The component that it is of.
    pub part: Arc<Part>,
}

/// A component, as far as it matters for each of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its own drift policy; absent = the bundle's.
    pub drift: Option<DriftPolicy>,
    /// Whether it takes over what exists already; absent = as the bundle says.
    pub adopt: Option<AdoptPolicy>,
}

impl Part {
    /// Takes what matters of a component.
    #[must_use]
    pub fn of(component: &BundleComponent) -> Self {
        let sync = component.sync.as_ref();
        Self {
            name: component.name.clone(),
            drift: sync.and_then(|sync| sync.drift),
            adopt: sync.and_then(|sync| sync.adopt),
        }
    }
}

/// How changes of others are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// By the application's drift policy.
    Policy,
    /// A run looks after them: only what the run itself changes is written.
    Run,
    /// Not at all: a human's edit is held, and nothing is written.
    Frozen,
}

impl Wanted {
    /// Takes an object that names itself; absent = it does not.
    #[must_use]
    pub fn new(object: Value) -> Option<Self> {
        Some(Self {
            target: reference(&object)?,
            object,
            care: Care::Policy,
            after: BTreeSet::new(),
            part: Arc::default(),
        })
    }
}

/// What was seen of an object last.
#[derive(Clone, Debug)]
struct Seen {
    /// Digest of what was applied.
    wanted: [u8; 32],
    /// Digest of what came out, without status and bookkeeping; absent = it does not exist.
    clean: Option<[u8; 32]>,
    status: ObjectStatus,
    drifted: bool,
}

/// What is done with an object that this process has not seen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLook {
    /// It is applied.
    Apply,
    /// It was applied by an earlier process: it is only looked at.
    Observe,
    /// As the drift policy of its component says: where drift is corrected it is applied, and
    /// otherwise only looked at.
    ByPolicy,
}

/// What a pass over the objects has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Objects that somebody had changed or deleted and that were written back.
    pub corrected: Vec<ObjectRef>,
    /// Objects that somebody changed and that are left so.
    pub drifted: Vec<ObjectRef>,
}

/// What is known of a set of objects that one field manager applies.
#[derive(Debug)]
pub struct Keeper {
    manager: &'static str,
    seen: BTreeMap<ObjectRef, Seen>,
    written: BTreeMap<ObjectRef, Value>,
}

impl Keeper {
    /// Knows nothing yet; objects are applied as `manager`.
    #[must_use]
    pub const fn new(manager: &'static str) -> Self {
        Self {
            manager,
            seen: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Makes the cluster hold `wanted`, in its order; only objects that are new, changed in
    /// `wanted`, or `dirty` cost a request.
    ///
    /// # Errors
    /// The first object that the API server did not take; what stands before it is applied. While a
    /// run looks after any of them the others are tried all the same, since a route that must fall
    /// to weight 0 cannot wait for a ConfigMap that is refused.
    pub async fn keep(
        &mut self,
        cluster: &Cluster,
        wanted: &[Wanted],
        dirty: &Dirty,
        drift: DriftPolicy,
        look: FirstLook,
    ) -> Result<Kept, ClusterError> {
        let targets: BTreeSet<&ObjectRef> = wanted.iter().map(|want| &want.target).collect();
        self.seen.retain(|target, _| targets.contains(target));
        let mut kept = Kept::default();
        let in_run = wanted.iter().any(|want| want.care != Care::Policy);
        let mut refused = None;
        let mut untaken = BTreeSet::new();
        for want in wanted {
            if !want.after.is_disjoint(&untaken) {
                continue;
            }
            let digest = digest_of(want.object.to_string().as_bytes());
            let drift = want.part.drift.unwrap_or(drift);
            let look = match look {
                FirstLook::ByPolicy if drift == DriftPolicy::Correct => FirstLook::Apply,
                FirstLook::ByPolicy => FirstLook::Observe,
                look => look,
            };
            let done = match self.seen.get(&want.target) {
                _ if want.care == Care::Frozen => Ok(()),
                Some(seen) if seen.wanted == digest => {
                    if dirty.all || dirty.objects.contains(&want.target) {
                        self.look_again(cluster, want, drift, &mut kept).await
                    } else {
                        Ok(())
                    }
                }
                None if look == FirstLook::Observe => {
                    self.look_first(cluster, want, digest, drift).await
                }
                _ => self.write(cluster, want, digest).await,
            };
            match done {
                Err(error) if in_run => {
                    untaken.insert(want.target.clone());
                    refused.get_or_insert(error);
                }
                done => done?,
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
        kept.drifted = self
            .seen
            .iter()
            .filter(|(_, seen)| seen.drifted)
            .map(|(at, _)| at.clone())
            .collect();
        Ok(kept)
    }

    async fn write(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        digest: [u8; 32],
    ) -> Result<(), ClusterError> {
        let live = cluster
            .apply_but_size(self.manager, &want.object, &want.target, ApplyMode::Force)
            .await?;
        self.note_written(want, &live);
        self.note(want, digest, Some(&live), false);
        Ok(())
    }

    /// Looks at an object whose drift is not corrected.
    async fn look_first(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        digest: [u8; 32],
        drift: DriftPolicy,
    ) -> Result<(), ClusterError> {
        let live = cluster.get(&want.target).await?;
        let mut drifted = false;
        if drift == DriftPolicy::Report {
            let planned = cluster
                .apply_but_size(self.manager, &want.object, &want.target, ApplyMode::DryRun)
                .await?;
            drifted = live.as_ref().map(clean_digest) != Some(clean_digest(&planned));
        }
        self.note(want, digest, live.as_ref(), drifted);
        Ok(())
    }

    /// Looks at an object that may have changed.
    async fn look_again(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        drift: DriftPolicy,
        kept: &mut Kept,
    ) -> Result<(), ClusterError> {
        let Some(seen) = self.seen.get(&want.target).cloned() else {
            return Ok(());
        };
        let live = cluster.get(&want.target).await?;
        let clean = live.as_ref().map(clean_digest);
        if clean == seen.clean && !seen.drifted {
            self.note(want, seen.wanted, live.as_ref(), false);
            return Ok(());
        }
        if want.care == Care::Run {
            // What was applied stays the measure: see `is_edited`.
            if let Some(seen) = self.seen.get_mut(&want.target) {
                seen.status = object_status(&want.target, live.as_ref());
            }
            return Ok(());
        }
        match drift {
            DriftPolicy::Correct => {
                let applied = cluster
                    .apply_but_size(self.manager, &want.object, &want.target, ApplyMode::Force)
                    .await?;
                self.note_written(want, &applied);
                // Fields that others own may change as they like: only what applying had to put
                // back was drift.
                if Some(clean_digest(&applied)) != clean {
                    kept.corrected.push(want.target.clone());
                }
                self.note(want, seen.wanted, Some(&applied), false);
            }
            DriftPolicy::Report => {
                let planned = cluster
                    .apply_but_size(self.manager, &want.object, &want.target, ApplyMode::DryRun)
                    .await?;
                let drifted = Some(clean_digest(&planned)) != clean;
                self.note(want, seen.wanted, live.as_ref(), drifted);
            }
            DriftPolicy::Off => self.note(want, seen.wanted, live.as_ref(), false),
        }
        Ok(())
    }

    fn note_written(&mut self, want: &Wanted, live: &Value) {
        let metadata = |field: &str| live.pointer(&format!("/metadata/{field}")).cloned();
        let kept = json!({"metadata": {
            "uid": metadata("uid"), "managedFields": metadata("managedFields"),
        }});
        self.written.insert(want.target.clone(), kept);
    }

    /// Uid and field managers of the objects that were written to and that nobody has recorded yet.
    #[must_use]
    pub const fn written(&self) -> &BTreeMap<ObjectRef, Value> {
        &self.written
    }

    /// What was written is recorded.
    pub fn recorded(&mut self) {
        self.written.clear();
    }

    fn note(&mut self, want: &Wanted, wanted: [u8; 32], live: Option<&Value>, drifted: bool) {
        let status = object_status(&want.target, live);
        let clean = live.map(clean_digest);
        self.seen.insert(
            want.target.clone(),
            Seen {
                wanted,
                clean,
                status,
                drifted,
            },
        );
    }

    /// Tells whether somebody changed what a run had applied: whether applying it again would
    /// change `live`. Fields that others own may change as they like.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn is_edited(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        live: &Value,
    ) -> Result<bool, ClusterError> {
        let clean = clean_digest(live);
        match self.seen.get_mut(&want.target) {
            Some(seen) if seen.clean == Some(clean) => Ok(false),
            Some(seen) => {
                let planned = cluster
                    .apply_but_size(self.manager, &want.object, &want.target, ApplyMode::DryRun)
                    .await?;
                let edited = clean_digest(&planned) != clean;
                if !edited {
                    seen.clean = Some(clean);
                }
                Ok(edited)
            }
            None => Ok(false),
        }
    }

    /// Forgets what was applied of one object, so that it is applied again.
    pub fn forget_one(&mut self, target: &ObjectRef) {
        self.seen.remove(target);
    }

    /// Forgets what was applied, so that everything is applied again.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Tells whether an object was applied as it is wanted now.
    #[must_use]
    pub fn holds(&self, want: &Wanted) -> bool {
        self.seen
            .get(&want.target)
            .is_some_and(|seen| seen.wanted == digest_of(want.object.to_string().as_bytes()))
    }

    /// The health of every object, by name.
    #[must_use]
    pub fn statuses(&self) -> Vec<ObjectStatus> {
        self.seen.values().map(|seen| seen.status.clone()).collect()
    }

    /// The health of one object; absent = it was not looked at.
    #[must_use]
    pub fn health_of(&self, target: &ObjectRef) -> Option<Health> {
        self.seen.get(target).map(|seen| seen.status.health)
    }

    /// The worst health of all; Healthy when there are no objects.
    #[must_use]
    pub fn health(&self) -> Health {
        self.seen
            .values()
            .map(|seen| seen.status.health)
            .max()
            .unwrap_or(Health::Healthy)
    }
}

fn object_status(target: &ObjectRef, live: Option<&Value>) -> ObjectStatus {
    match live {
        Some(live) => health::of(target, live),
        None => ObjectStatus {
            object: target.clone(),
            health: Health::Missing,
            reason: "Missing".to_owned(),
            message: format!("{target} does not exist"),
        },
    }
}

/// Digest of an object without status and what every write changes.
fn clean_digest(object: &Value) -> [u8; 32] {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    digest_of(object.to_string().as_bytes())
}

#[cfg(test)]
mod tests;
