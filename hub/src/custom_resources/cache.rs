//! The custom resources as the API server showed them last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_api::{call::Item, custom_resource::KINDS, document::Kind};
use bellwether_store::records::{RecordKey, RecordKind};
use kube::{api::DynamicObject, runtime::watcher::Event};
use serde_json::Value;

use crate::http::Followed;

/// Custom resources by the record that each stands for.
#[derive(Default)]
pub(super) struct Cache {
    objects: BTreeMap<RecordKey, Arc<Value>>,
    /// Lists that are not complete yet.
    coming: BTreeMap<Kind, BTreeMap<RecordKey, Arc<Value>>>,
    /// Kinds that were listed as a whole.
    listed: BTreeSet<Kind>,
}

/// What an event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Records whose custom resources came, changed or went.
    pub changed: BTreeSet<RecordKey>,
    /// A kind of which everything is known now; absent = no list came to its end.
    pub listed: Option<Kind>,
}

impl Cache {
    /// Takes an event in.
    pub fn take(&mut self, kind: Kind, event: Event<DynamicObject>) -> News {
        let mut news = News::default();
        match event {
            Event::Init => {
                self.coming.insert(kind, BTreeMap::new());
            }
            Event::InitApply(object) => {
                if let Some((key, object)) = read(kind, &object) {
                    self.coming.entry(kind).or_default().insert(key, object);
                }
            }
            Event::InitDone => {
                let now = self.coming.remove(&kind).unwrap_or_default();
                let before = self.of(kind);
                news.changed = before.into_iter().chain(now.keys().cloned()).collect();
                self.objects.retain(|key, _| kind_of(key.kind) != kind);
                self.objects.extend(now);
                self.listed.insert(kind);
                news.listed = Some(kind);
            }
            Event::Apply(object) => {
                if let Some((key, object)) = read(kind, &object) {
                    self.objects.insert(key.clone(), object);
                    news.changed.insert(key);
                }
            }
            Event::Delete(object) => {
                if let Some((key, _)) = read(kind, &object) {
                    self.objects.remove(&key);
                    news.changed.insert(key);
                }
            }
        }
        news
    }

    /// Remembers an object as the API server answered it, unless a newer one was seen or it is gone.
    pub fn put(&mut self, key: &RecordKey, seen: &Value, object: Value) {
        if let Some(held) = self.objects.get_mut(key)
            && held["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]
        {
            *held = Arc::new(object);
        }
    }

    /// The custom resource of a record; absent = there is none, or its kind was not listed yet.
    pub fn get(&self, key: &RecordKey) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// Tells whether everything of a kind is known.
    pub fn knows(&self, kind: RecordKind) -> bool {
        self.listed.contains(&kind_of(kind))
    }

    /// Kinds that were not listed yet.
    pub fn unlisted(&self) -> impl Iterator<Item = Kind> {
        KINDS.into_iter().filter(|kind| !self.listed.contains(kind))
    }

    /// Every record that a custom resource stands for.
    pub fn keys(&self) -> impl Iterator<Item = &RecordKey> {
        self.objects.keys()
    }

    fn of(&self, kind: Kind) -> Vec<RecordKey> {
        let all = self.objects.keys();
        all.filter(|key| kind_of(key.kind) == kind)
            .cloned()
            .collect()
    }
}

fn read(kind: Kind, object: &DynamicObject) -> Option<(RecordKey, Arc<Value>)> {
    let key = RecordKey {
        kind: record_kind(kind)?,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone()?,
    };
    // What was read from JSON is JSON.
    let value = serde_json::to_value(object).ok()?;
    Some((key, Arc::new(value)))
}

/// The kind of a record's document.
pub(super) const fn kind_of(kind: RecordKind) -> Kind {
    match kind {
        RecordKind::Fleet => Kind::Fleet,
        RecordKind::Application => Kind::Application,
        RecordKind::Rollout => Kind::Rollout,
        RecordKind::MetricTemplate => Kind::MetricTemplate,
        RecordKind::AlertProvider => Kind::AlertProvider,
        RecordKind::Repository => Kind::Repository,
    }
}

/// The kind of a document's record; absent = clusters have none.
pub(super) const fn record_kind(kind: Kind) -> Option<RecordKind> {
    Some(match kind {
        Kind::Cluster => return None,
        Kind::Fleet => RecordKind::Fleet,
        Kind::Application => RecordKind::Application,
        Kind::Rollout => RecordKind::Rollout,
        Kind::MetricTemplate => RecordKind::MetricTemplate,
        Kind::AlertProvider => RecordKind::AlertProvider,
        Kind::Repository => RecordKind::Repository,
    })
}

/// The record that an object of the API is; absent = clusters are none.
pub(super) fn key_of(kind: Followed, item: &Item) -> Option<RecordKey> {
    let Followed::Record(kind) = kind else {
        return None;
    };
    Some(RecordKey {
        kind,
        namespace: item.metadata.namespace.clone().unwrap_or_default(),
        name: item.metadata.name.clone(),
    })
}

/// Where a kind stands in the order in which records are written.
pub(super) fn rank(kind: RecordKind) -> usize {
    let kind = kind_of(kind);
    KINDS
        .iter()
        .position(|one| *one == kind)
        .unwrap_or(KINDS.len())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet(name: &str, version: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet",
            "metadata": {"name": name, "resourceVersion": version}, "spec": {},
        }))
        .unwrap()
    }

    fn key(name: &str) -> RecordKey {
        RecordKey {
            kind: RecordKind::Fleet,
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_list_that_is_not_complete_says_nothing_of_what_is_gone() {
        let mut cache = Cache::default();
        cache.take(Kind::Fleet, Event::Init);
        cache.take(Kind::Fleet, Event::InitApply(fleet("a", "1")));
        cache.take(Kind::Fleet, Event::InitApply(fleet("b", "1")));
        assert!(cache.get(&key("a")).is_none() && !cache.knows(RecordKind::Fleet));
        let news = cache.take(Kind::Fleet, Event::InitDone);
        assert_eq!(news.listed, Some(Kind::Fleet));
        assert_eq!(news.changed, [key("a"), key("b")].into());
        assert!(!cache.knows(RecordKind::Application));
        // The watch broke, and is listed anew: until it is complete, all is as it was.
        cache.take(Kind::Fleet, Event::Init);
        cache.take(Kind::Fleet, Event::InitApply(fleet("b", "2")));
        assert!(cache.get(&key("a")).is_some());
        let news = cache.take(Kind::Fleet, Event::InitDone);
        assert_eq!(news.changed, [key("a"), key("b")].into());
        assert!(cache.get(&key("a")).is_none());
    }

    #[test]
    fn an_answer_does_not_replace_what_is_newer() {
        let mut cache = Cache::default();
        cache.take(Kind::Fleet, Event::Apply(fleet("a", "1")));
        let seen = cache.get(&key("a")).unwrap();
        cache.take(Kind::Fleet, Event::Apply(fleet("a", "3")));
        let answer = serde_json::to_value(fleet("a", "2")).unwrap();
        cache.put(&key("a"), &seen, answer.clone());
        let held = cache.get(&key("a")).unwrap();
        assert_eq!(held["metadata"]["resourceVersion"], "3");
        cache.take(Kind::Fleet, Event::Delete(fleet("a", "3")));
        cache.put(&key("a"), &held, answer);
        assert!(cache.get(&key("a")).is_none());
    }
}
