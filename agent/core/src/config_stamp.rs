//! The stamp on governed pod templates: a digest of the template and the configuration that it uses, so that a
//! change of configuration alone makes new pods.
//!
//! A workload that was there before has pods without it, and taking it over must not replace them. So it gets no
//! stamp while a release has the very template and configuration with which it was taken over; the first release
//! that changes either brings one.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    reference::ObjectRef,
    sync_record::{HeldObject, SyncUnit},
};
use serde_json::{Value, json};

/// Annotation on governed pod templates.
pub const CONFIG_ANNOTATION: &str = "bellwether.dev/config-digest";

/// Workloads that were taken over with the pods that they had, by the digest of their template and configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsFound(BTreeMap<ObjectRef, String>);

impl AsFound {
    /// Those of a unit.
    #[must_use]
    pub fn of(unit: &SyncUnit) -> Self {
        let digest = |held: &HeldObject| {
            let digest = held.adopted.as_ref()?.as_found.clone()?;
            Some((held.object(), digest))
        };
        Self(unit.objects.iter().filter_map(digest).collect())
    }

    /// Adds one that is to be taken over.
    pub fn add(&mut self, workload: ObjectRef, digest: String) {
        self.0.insert(workload, digest);
    }

    /// The digest with which a workload was taken over; absent = it was not, or its pods have a stamp.
    #[must_use]
    pub fn digest(&self, workload: &ObjectRef) -> Option<&String> {
        self.0.get(workload)
    }

    /// Puts the stamp `digest` into the template of a workload, unless it was taken over with just that.
    pub fn stamp(&self, target: &ObjectRef, workload: &mut Value, digest: &str) {
        let template = workload.pointer_mut("/spec/template");
        let Some(template) = template.filter(|template| template.is_object()) else {
            return;
        };
        if self.digest(target).is_none_or(|found| found != digest) {
            template["metadata"]["annotations"][CONFIG_ANNOTATION] = json!(digest);
        }
    }
}

/// Tells whether the pods of a live workload have no stamp: it is nobody's that an agent governed before.
#[must_use]
pub fn has_none(live: &Value) -> bool {
    live.pointer("/spec/template/metadata/annotations")
        .and_then(|annotations| annotations.get(CONFIG_ANNOTATION))
        .is_none()
}

/// Tells whether pods may stay that run already when their workload is taken over: every ConfigMap and Secret
/// that its version uses, `tracked`, holds already what the release brings. Those that do are `unchanged`.
#[must_use]
pub fn keeps_pods(tracked: &[ObjectRef], unchanged: &BTreeSet<ObjectRef>) -> bool {
    tracked.iter().all(|object| unchanged.contains(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn unit(as_found: &Value) -> SyncUnit {
        let mut adopted = json!({"release": "r", "revision": 1});
        if !as_found.is_null() {
            adopted["asFound"] = as_found.clone();
        }
        serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": "d",
            "objects": [
                {"apiVersion": "v1", "kind": "W", "namespace": "shop", "name": "web", "uid": "u",
                 "adopted": adopted},
                {"apiVersion": "v1", "kind": "W", "namespace": "shop", "name": "made", "uid": "v"},
            ],
        }))
        .expect("a unit")
    }

    #[test]
    fn a_stamp_comes_with_the_first_change_of_what_was_taken_over() {
        let none = Value::Null;
        for (found, name, digest, stamped) in [
            (&none, "web", "one", true),
            (&json!("one"), "web", "one", false),
            (&json!("one"), "web", "two", true),
            (&json!("one"), "made", "one", true),
            (&json!("one"), "unknown", "one", true),
        ] {
            let found = AsFound::of(&unit(found));
            let mut workload = json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
            found.stamp(&object("W", name), &mut workload, digest);
            assert_eq!(!has_none(&workload), stamped, "{found:?} {name} {digest}");
            if stamped {
                let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
                assert_eq!(annotations[CONFIG_ANNOTATION], *digest);
            }
        }
    }

    #[test]
    fn what_has_no_template_gets_no_stamp() {
        let mut workload = json!({"spec": {"replicas": 1}});
        AsFound::default().stamp(&object("W", "web"), &mut workload, "one");
        assert_eq!(workload, json!({"spec": {"replicas": 1}}));
    }

    #[test]
    fn pods_stay_while_all_that_they_read_stays() {
        let (env, key) = (object("ConfigMap", "env"), object("Secret", "key"));
        let all = [env.clone(), key.clone()];
        for (tracked, unchanged, stay) in [
            (&all[..], vec![&env, &key], true),
            (&all, vec![&env], false),
            (&all, vec![], false),
            (&all[..1], vec![&env], true),
            (&[], vec![], true),
        ] {
            let unchanged = unchanged.into_iter().cloned().collect();
            assert_eq!(keeps_pods(tracked, &unchanged), stay, "{unchanged:?}");
        }
    }
}
