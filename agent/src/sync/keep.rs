//! Holds a set of objects: applies what is new, writes back what was changed, reads health.

mod look;
mod wanted;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bellwether_agent_core::{
    contention::{Contention, Fight},
    definitions::is_definition,
    health,
};
use bellwether_api::{
    application::DriftPolicy,
    reference::ObjectRef,
    status::{Health, ObjectStatus},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    cluster::{Cluster, ClusterError, SYNC_MANAGER},
    watch::Dirty,
};
use crate::desired::digest_of;

pub use wanted::{Care, OWN, Part, Wanted};

/// How long until an object that waits for another one, or for its own end, is looked at again.
const WAITING_PAUSE: Duration = Duration::from_secs(1);

/// How long until an object that the API server cannot convert is tried again.
pub const CONVERSION_PAUSE: Duration = Duration::from_secs(5);

/// The reason of an object that the API server cannot convert.
const NOT_CONVERTED: &str = "NotConverted";

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

impl Seen {
    /// Whether nothing is known of the object but that the API server cannot convert it, or what it is like: it
    /// is looked at as if it was never seen.
    fn is_unread(&self) -> bool {
        self.wanted == NOTHING && (self.clean.is_some() || self.status.reason == NOT_CONVERTED)
    }
}

/// Digest of what was applied of an object that could not be applied yet.
const NOTHING: [u8; 32] = [0; 32];

/// What is done with an object that this process has not seen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLook {
    /// It is applied.
    Apply,
    /// It was applied by an earlier process: it is written only where it is not as it was applied.
    Correct,
    /// It was applied by an earlier process: it is only looked at.
    Observe,
    /// As the drift policy of its component says: [`Self::Correct`] where drift is corrected, otherwise
    /// [`Self::Observe`].
    ByPolicy,
}

/// What a pass over the objects has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Objects that somebody had changed or deleted and that were written back.
    pub corrected: Vec<ObjectRef>,
    /// Objects that somebody changed and that are left so.
    pub drifted: Vec<ObjectRef>,
    /// Objects that are left because somebody writes the same field over and over.
    pub fighting: Vec<(ObjectRef, Fight)>,
    /// Those of `fighting` that were not told yet.
    pub to_tell: Vec<(ObjectRef, Fight)>,
    /// Objects that were deleted to be made anew, with the field that could not be changed.
    pub recreated: Vec<(ObjectRef, String)>,
    /// Objects that the API server cannot convert since this pass, with its words.
    pub unconverted: Vec<(ObjectRef, String)>,
    /// When to look again although no watch says so; absent = never.
    pub look_in: Option<Duration>,
}

/// A pass over the objects that met an error.
#[derive(Debug)]
pub struct Unkept {
    /// What it met.
    pub error: ClusterError,
    /// What it has done all the same.
    pub kept: Kept,
}

impl From<Box<Unkept>> for ClusterError {
    fn from(unkept: Box<Unkept>) -> Self {
        unkept.error
    }
}

impl Kept {
    fn look_in(&mut self, wait: Duration) {
        self.look_in = Some(self.look_in.map_or(wait, |known| known.min(wait)));
    }
}

/// What is known of a set of objects that one field manager applies.
#[derive(Debug)]
pub struct Keeper {
    manager: &'static str,
    seen: BTreeMap<ObjectRef, Seen>,
    written: BTreeMap<ObjectRef, Value>,
    contentions: BTreeMap<ObjectRef, Contention>,
    /// What ran before comes back: nothing is promoted without what runs do not look after themselves, and nobody
    /// else's rights are asked for.
    goes_back: bool,
    since: Instant,
}

impl Keeper {
    /// Knows nothing yet; objects are applied as `manager`.
    #[must_use]
    pub fn new(manager: &'static str) -> Self {
        Self {
            manager,
            seen: BTreeMap::new(),
            written: BTreeMap::new(),
            contentions: BTreeMap::new(),
            goes_back: false,
            since: Instant::now(),
        }
    }

    /// Says whether what ran before comes back, so that nothing waits for what runs do not look after themselves,
    /// or for rights that a ServiceAccount has lost since.
    pub const fn set_goes_back(&mut self, goes_back: bool) {
        self.goes_back = goes_back;
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes the cluster hold `wanted`, in its order; only objects that are new, changed in
    /// `wanted`, or `dirty` cost a request.
    ///
    /// # Errors
    /// The first object that the API server did not take, with what was done all the same; what stands
    /// before it is applied. While a run looks after any of them the others are tried all the same, since
    /// a route that must fall to weight 0 cannot wait for a ConfigMap that is refused; and so they are where what
    /// was let in is held and a ServiceAccount has lost its rights since. One that the API
    /// server cannot convert is no error, unless a run brings it in or looks after it: it is waited for
    /// by name.
    pub async fn keep(
        &mut self,
        cluster: &Cluster,
        wanted: &[Wanted],
        dirty: &Dirty,
        drift: DriftPolicy,
        look: FirstLook,
    ) -> Result<Kept, Box<Unkept>> {
        let targets: BTreeSet<&ObjectRef> = wanted.iter().map(|want| &want.target).collect();
        self.seen.retain(|target, _| targets.contains(target));
        self.contentions
            .retain(|target, _| targets.contains(target));
        let mut kept = Kept::default();
        let in_run = wanted.iter().any(|want| want.care != Care::Policy);
        let mut refused = None;
        let mut untaken = BTreeSet::new();
        for want in wanted {
            if !want.after.is_disjoint(&untaken) || self.waits_for_its_kind(want, &mut kept) {
                continue;
            }
            let done = self.hold(cluster, want, dirty, drift, look, &mut kept);
            let Err(error) = done.await else { continue };
            untaken.insert(want.target.clone());
            let is_held = look != FirstLook::Apply && want.part.account.is_some();
            let goes_on = in_run || is_held && error.lacks_rights();
            if self.is_passed_by(want, in_run, &error) {
                self.note_unconverted(want, &error, &mut kept);
                continue;
            }
            // What may be passed by is told only where it is all.
            if refused.as_ref().is_none_or(ClusterError::is_conversion) {
                refused = Some(error);
            }
            if !goes_on {
                break;
            }
        }
        if let Some(error) = refused {
            return Err(Box::new(Unkept { error, kept }));
        }
        let drifted = self.seen.iter().filter(|(_, seen)| seen.drifted);
        kept.drifted = drifted.map(|(at, _)| at.clone()).collect();
        self.note_fights(&mut kept);
        Ok(kept)
    }

    /// Makes the cluster hold one object.
    async fn hold(
        &mut self,
        cluster: &Cluster,
        want: &Wanted,
        dirty: &Dirty,
        drift: DriftPolicy,
        look: FirstLook,
        kept: &mut Kept,
    ) -> Result<(), ClusterError> {
        let digest = want.digest();
        let drift = want.part.drift.unwrap_or(drift);
        let look = match look {
            FirstLook::ByPolicy if drift == DriftPolicy::Correct => FirstLook::Correct,
            FirstLook::ByPolicy => FirstLook::Observe,
            look => look,
        };
        let seen = self.seen.get(&want.target);
        match seen.filter(|seen| !seen.is_unread()) {
            _ if want.care == Care::Frozen => Ok(()),
            Some(seen) if seen.wanted == digest => {
                let changed = dirty.all || dirty.objects.contains(&want.target);
                if changed || self.is_due(want) {
                    self.look_again(cluster, want, drift, kept).await
                } else {
                    Ok(())
                }
            }
            None if look == FirstLook::Observe => {
                self.look_first(cluster, want, digest, drift).await
            }
            None if look == FirstLook::Correct => {
                self.look_before_writing(cluster, want, digest, kept).await
            }
            _ => self.write(cluster, want, digest, kept).await,
        }
    }

    /// Tells whether what kept an object from being written or read is no error: the API server cannot
    /// convert it, and no run waits for it to be taken.
    fn is_passed_by(&self, want: &Wanted, in_run: bool, error: &ClusterError) -> bool {
        let is_left = want.care == Care::Policy && (self.goes_back || self.holds(want));
        let is_awaited = in_run && !is_left;
        error.is_conversion() && !is_awaited
    }

    /// Tells whether an object is looked at again although nothing says that it changed.
    fn is_due(&self, want: &Wanted) -> bool {
        let now_ms = self.now_ms();
        let contention = self.contentions.get(&want.target);
        let seen = self.seen.get(&want.target);
        if seen.is_some_and(|seen| seen.status.reason == NOT_CONVERTED) {
            return true;
        }
        let waits = is_definition(&want.target.api_version, &want.target.kind)
            && seen.is_some_and(|seen| seen.status.health != Health::Healthy);
        waits || contention.is_some_and(|contention| contention.is_due(now_ms))
    }

    fn note_fights(&self, kept: &mut Kept) {
        let now_ms = self.now_ms();
        for (target, contention) in &self.contentions {
            let Some(fight) = contention.fight(now_ms) else {
                continue;
            };
            kept.look_in(Duration::from_millis(fight.until_ms.saturating_sub(now_ms)));
            let is_drifted = self.seen.get(target).is_some_and(|seen| seen.drifted);
            if is_drifted {
                kept.fighting.push((target.clone(), fight.clone()));
            }
        }
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
        let status = health::of(&want.target, live, &want.custom);
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
            .is_some_and(|seen| seen.wanted == want.digest())
    }

    /// Tells whether an object is there as it is wanted now, and nothing says that it changed since it was seen so.
    #[must_use]
    pub fn is_settled(&self, want: &Wanted, dirty: &Dirty) -> bool {
        let is_fresh = !dirty.all && !dirty.objects.contains(&want.target);
        let seen = self.seen.get(&want.target).filter(|_| is_fresh);
        seen.is_some_and(|seen| {
            seen.wanted == want.digest()
                && seen.clean.is_some()
                && !seen.drifted
                && !seen.is_unread()
        })
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
mod conversion;
#[cfg(test)]
mod slow_webhook;
#[cfg(test)]
mod tests;
