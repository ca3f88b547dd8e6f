//! How a unit is woken, and what for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bellwether_api::reference::ObjectRef;
use tokio::sync::Notify;

use super::WatchKey;

/// How a unit is woken, and what for.
#[derive(Default)]
pub struct Poke {
    wake: Notify,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    dirty: Dirty,
    /// The versions that the unit itself has written, of objects that nobody else should write.
    own: BTreeMap<ObjectRef, String>,
}

/// What a unit has to look at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Everything.
    pub all: bool,
    /// These objects.
    pub objects: BTreeSet<ObjectRef>,
    /// Whatever may have changed unseen under these watches.
    pub kinds: BTreeSet<WatchKey>,
    /// What is known of some of [`Self::objects`].
    pub changes: BTreeMap<ObjectRef, Change>,
}

/// What is known of an object that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Its `resourceVersion`; absent = it is gone.
    pub version: Option<String>,
    /// What it belongs to; absent = to nothing that is known of its kind.
    pub of: Option<String>,
}

impl Dirty {
    /// Adds what else is to be looked at.
    pub fn add(&mut self, later: Self) {
        self.all |= later.all;
        for object in &later.objects {
            self.changes.remove(object);
        }
        self.objects.extend(later.objects);
        self.kinds.extend(later.kinds);
        self.changes.extend(later.changes);
    }

    /// Tells whether there is nothing to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.objects.is_empty() && self.kinds.is_empty()
    }
}

impl Poke {
    /// Wakes without naming an object.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Wakes and has one object looked at, unless the change is one that the unit itself has made;
    /// `change` absent = nothing is known of it.
    pub fn touch(&self, object: ObjectRef, change: Option<Change>) {
        let mut noted = self.lock();
        let version = change.as_ref().and_then(|change| change.version.as_ref());
        if let (Some(version), Some(own)) = (version, noted.own.get(&object))
            && !is_after(version, own)
        {
            return;
        }
        match change {
            Some(change) => noted.dirty.changes.insert(object.clone(), change),
            None => noted.dirty.changes.remove(&object),
        };
        noted.dirty.objects.insert(object);
        drop(noted);
        self.wake.notify_one();
    }

    /// Wakes and has whatever a watch sees looked at.
    pub fn touch_kind(&self, key: WatchKey) {
        self.lock().dirty.kinds.insert(key);
        self.wake.notify_one();
    }

    /// Notes which version of an object the unit itself has written: an event of it is no news.
    pub fn wrote(&self, object: ObjectRef, version: String) {
        self.lock().own.insert(object, version);
    }

    /// Forgets what the unit itself has written of an object.
    pub fn forget(&self, object: &ObjectRef) {
        self.lock().own.remove(object);
    }

    /// Waits until woken.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes what is to be looked at.
    #[must_use]
    pub fn take(&self) -> Dirty {
        std::mem::take(&mut self.lock().dirty)
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a version came after another of the same object. Versions rise, where they are numbers;
/// any other two are only known to differ.
#[must_use]
pub fn is_after(version: &str, other: &str) -> bool {
    match (version.parse::<u64>(), other.parse::<u64>()) {
        (Ok(version), Ok(other)) => version > other,
        _ => version != other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> ObjectRef {
        ObjectRef {
            api_version: "bellwether.dev/v1alpha1".to_owned(),
            kind: "RolloutTrack".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        }
    }

    fn version(version: &str) -> Option<Change> {
        Some(Change {
            version: Some(version.to_owned()),
            of: None,
        })
    }

    #[test]
    fn what_the_unit_wrote_itself_is_no_news() {
        let poke = Poke::default();
        poke.wrote(track(), "7".to_owned());
        for known in ["7", "6"] {
            poke.touch(track(), version(known));
            assert!(poke.take().is_empty());
        }
        for change in [version("8"), Some(Change::default()), None] {
            poke.touch(track(), change);
            assert_eq!(poke.take().objects, BTreeSet::from([track()]));
        }
        poke.forget(&track());
        poke.touch(track(), version("7"));
        assert!(!poke.take().is_empty());
        assert!(is_after("10", "9") && !is_after("9", "10"));
        assert!(is_after("a", "b") && !is_after("a", "a"));
    }

    #[test]
    fn what_is_unknown_of_a_later_change_is_not_taken_from_an_earlier_one() {
        let poke = Poke::default();
        poke.touch(track(), version("7"));
        let mut dirty = poke.take();
        poke.touch(track(), None);
        dirty.add(poke.take());
        assert_eq!(dirty.changes, BTreeMap::new());
        assert_eq!(dirty.objects, BTreeSet::from([track()]));
    }
}
