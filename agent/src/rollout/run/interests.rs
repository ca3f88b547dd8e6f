//! What wakes a run, and which of it is news to it.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::reference::ObjectRef;
use serde_json::Value;

use super::Run;
use crate::sync::watch::{Chosen, Dirty, Wants, WatchKey, is_after};

const APPS: &str = "apps/v1";
const SLICES: &str = "discovery.k8s.io/v1";

impl Run {
    /// What wakes the run: its own objects and what belongs to them. Another run's are no reason to
    /// look, else every change of one of many runs would be a look of them all.
    #[must_use]
    pub fn interests(&self) -> BTreeMap<WatchKey, Wants> {
        let mut interests = BTreeMap::new();
        let mut add = |key: WatchKey, wants: Wants| {
            let wants = match interests.remove(&key) {
                Some(known) => wants.or(known),
                None => wants,
            };
            interests.insert(key, wants);
        };
        for target in self.named() {
            let names = Wants::Names([target.name.clone()].into());
            add(WatchKey::of(&target), names);
        }
        for (api_version, kind, of) in self.owners() {
            let chosen = Chosen {
                of,
                // Updated in place, no Service but the apex is pinned, which is known by its name.
                unbound: kind == "Service" && self.scene.adapter.is_none(),
                ..Chosen::default()
            };
            add(self.key(api_version, kind), Wants::Chosen(chosen));
        }
        if self.waits_on_neighbours() {
            // Whoever goes may be the one that a Service still selects.
            for kind in ["Deployment", "ReplicaSet"] {
                add(self.key(APPS, kind), Wants::Any);
            }
            let workload = &self.scene.workload;
            add(self.key(&workload.api_version, &workload.kind), Wants::Any);
        }
        interests
    }

    /// Tells whether the run looks at an object by its name; its track is none of them.
    #[must_use]
    pub fn is_named(&self, object: &ObjectRef) -> bool {
        *object != self.track_ref() && self.named().contains(object)
    }

    /// Objects that the run looks at by name.
    fn named(&self) -> Vec<ObjectRef> {
        let scene = &self.scene;
        let mut named = vec![self.track_ref(), scene.workload.clone()];
        if scene.adapter.is_none() {
            named.push(scene.canary.clone());
        }
        named.extend(scene.service.clone());
        named.extend(scene.canary_service.clone());
        named.extend(scene.routes.iter().map(|route| route.target.clone()));
        named.extend(self.own_routes.watched().cloned());
        named.extend(scene.config_copies());
        named
    }

    /// By kind, to what the objects belong that the run looks at.
    fn owners(&self) -> Vec<(&'static str, &'static str, BTreeSet<String>)> {
        let scene = &self.scene;
        let services = [&scene.service, &scene.canary_service];
        let services = services.into_iter().flatten();
        let mut owners = Vec::new();
        if scene.adapter.is_none() {
            let sets = [scene.workload.name.clone(), scene.canary.name.clone()];
            // Where pods alone tell versions apart, the status changes with every one that counts.
            owners.extend(scene.version_kind().map(|kind| (APPS, kind, sets.into())));
        }
        if scene.adapter.is_none() || scene.service.is_some() {
            let slices = services.map(|service| service.name.clone()).collect();
            owners.push(("v1", "Service", [scene.label.clone()].into()));
            owners.push((SLICES, "EndpointSlice", slices));
        }
        owners
    }

    fn key(&self, api_version: &str, kind: &str) -> WatchKey {
        WatchKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.scene.namespace.clone()),
            name: None,
        }
    }

    /// Tells whether the run waits until a Service selects nothing but its own workload's pods.
    #[must_use]
    pub fn waits_on_neighbours(&self) -> bool {
        self.summary.as_ref().is_some_and(|summary| {
            let mut waits = summary.waiting_on.iter();
            waits.any(|wait| wait.reason == "ServiceUnpinnable")
        })
    }

    /// Takes note of what may have changed: what the run has decided on does not hold any more if it
    /// looks at any of it. `services` = those of its namespace as they are now; absent = none changed
    /// but those that belong to runs.
    pub fn note(&mut self, dirty: &Dirty, services: Option<&[Value]>) {
        let track = self.track_ref();
        self.track_is_old |= dirty.all
            || dirty.kinds.contains(&WatchKey::of(&track))
            || (dirty.objects.contains(&track) && self.is_news(&track, dirty));
        if self.concerns(dirty) || services.is_some_and(|all| self.services_moved(all)) {
            self.due = true;
            self.last_look = None;
        }
    }

    fn is_news(&self, track: &ObjectRef, dirty: &Dirty) -> bool {
        let change = dirty.changes.get(track);
        let seen = change.and_then(|change| change.version.as_deref());
        let own = self.track.metadata.resource_version.as_deref();
        match (seen, own) {
            (Some(seen), Some(own)) => is_after(seen, own),
            _ => true,
        }
    }

    fn concerns(&self, dirty: &Dirty) -> bool {
        if dirty.all {
            return true;
        }
        let track = self.track_ref();
        let interests = self.interests();
        let kinds = dirty.kinds.iter();
        if kinds
            .filter(|key| **key != WatchKey::of(&track))
            .any(|key| interests.contains_key(key))
        {
            return true;
        }
        let (named, owners) = (self.named(), self.owners());
        let neighbours = self.waits_on_neighbours();
        let belongs = |object: &ObjectRef| {
            let change = dirty.changes.get(object);
            let of = change.and_then(|change| change.of.as_ref());
            owners.iter().any(|(api_version, kind, names)| {
                (object.api_version.as_str(), object.kind.as_str()) == (*api_version, *kind)
                    && of.is_some_and(|of| names.contains(of))
            })
        };
        let mut changed = dirty.objects.iter().filter(|object| **object != track);
        changed.any(|object| {
            let near = object.namespace.as_ref() == Some(&self.scene.namespace);
            named.contains(object)
                || near && (belongs(object) || neighbours && object.api_version == APPS)
        })
    }
}
