//! Copies of kinds that an adapter without a partition tells of: what it has to say, and what a manifest.

use serde_json::Value;

use crate::{rollout::RolloutSpec, workload_adapter::WorkloadAdapter};

/// Where the sizes stand that are left to an autoscaler.
pub const AUTOSCALED_SIZE: &str = "/spec/replicas";

impl RolloutSpec {
    /// How a copy of the workload's kind is made and held apart, where its own adapter says so; `None` = no
    /// such copy is made.
    #[must_use]
    pub fn copy_adapter(&self) -> Option<&WorkloadAdapter> {
        let adapter = self.workload.adapter.as_ref();
        adapter.filter(|adapter| self.strategy.batch.is_none() && adapter.partition.is_none())
    }
}

/// Says why no copy can run beside a workload, as its manifest has it; `None` = one can.
#[must_use]
pub fn unfit(adapter: &WorkloadAdapter, manifest: &Value) -> Option<String> {
    let is_filled = |pointer: &str| {
        let found = manifest.pointer(pointer).and_then(Value::as_object);
        found.is_some_and(|found| !found.is_empty())
    };
    if !is_filled("/spec/selector/matchLabels") {
        return Some(
            "its copy selects its pods by one label more, and its manifest has no \
             spec.selector.matchLabels to add it to"
                .to_owned(),
        );
    }
    if !is_filled("/spec/template") {
        return Some(
            "its copy is told by its pod template, and its manifest has no spec.template"
                .to_owned(),
        );
    }
    if let Some(why) = unfit_labels(adapter.revision_label(), manifest) {
        return Some(why);
    }
    let size = manifest.pointer(&adapter.replicas).and_then(Value::as_u64);
    size.is_none().then(|| {
        format!(
            "its copy is sized by what its manifest says, which does not say how many pods it has; set \
             {} there",
            adapter.replicas.trim_start_matches('/').replace('/', ".")
        )
    })
}

/// Says why a workload's own labels do not tell its pods from others, or those of two versions apart.
fn unfit_labels(revision_label: &str, manifest: &Value) -> Option<String> {
    let selected = "spec.selector.matchLabels";
    let template = "spec.template.metadata.labels";
    let labels = manifest.pointer("/spec/template/metadata/labels");
    let wanted = manifest.pointer("/spec/selector/matchLabels");
    for (field, found) in [(selected, wanted), (template, labels)] {
        if found.is_some_and(|found| found.get(revision_label).is_some()) {
            return Some(format!(
                "{revision_label} is what its controller tells versions apart by, and {field} sets it, \
                 which gives the pods of both versions one value; leave it out there, or name another label \
                 in revisionLabel"
            ));
        }
    }
    let has = |key: &str, value: &Value| labels.and_then(|labels| labels.get(key)) == Some(value);
    let wanted = wanted.and_then(Value::as_object)?;
    let (key, _) = wanted.iter().find(|(key, value)| !has(key, value))?;
    Some(format!(
        "its Services are found by the labels of its pod template, and {selected} asks for {key}, which \
         {template} does not give that value; set it there"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_copy_needs_of_a_manifest_is_named_by_its_field() {
        let adapter: WorkloadAdapter =
            serde_json::from_value(json!({"replicas": "/spec/shards/count"})).expect("an adapter");
        let whole = json!({"spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}},
            "shards": {"count": 3},
        }});
        assert_eq!(unfit(&adapter, &whole), None);
        for (pointer, field) in [
            ("/spec/selector/matchLabels", "spec.selector.matchLabels"),
            ("/spec/selector", "spec.selector.matchLabels"),
            ("/spec/template", "spec.template"),
            ("/spec/shards/count", "spec.shards.count"),
        ] {
            let mut manifest = whole.clone();
            *manifest.pointer_mut(pointer).expect("a field") = Value::Null;
            let why = unfit(&adapter, &manifest).expect(field);
            assert!(why.contains(field), "{why}");
        }
    }

    #[test]
    fn a_revision_label_that_the_user_sets_tells_no_versions_apart() {
        let adapter: WorkloadAdapter =
            serde_json::from_value(json!({"paused": "/spec/paused", "revisionLabel": "version"}))
                .expect("an adapter");
        let manifest = |selected: Value, labels: Value| {
            json!({"spec": {
                "replicas": 3, "selector": {"matchLabels": selected},
                "template": {"metadata": {"labels": labels}},
            }})
        };
        let app = json!({"app": "web"});
        let both = json!({"app": "web", "version": "1"});
        assert_eq!(unfit(&adapter, &manifest(app.clone(), app.clone())), None);
        for (selected, labels, field) in [
            (app.clone(), both.clone(), "spec.template.metadata.labels"),
            (both, app, "spec.selector.matchLabels"),
        ] {
            let why = unfit(&adapter, &manifest(selected, labels)).expect(field);
            assert!(why.starts_with("version is what its controller"), "{why}");
            assert!(why.contains(&format!("and {field} sets it")), "{why}");
        }
    }

    #[test]
    fn a_selector_that_asks_for_more_than_the_template_has_is_unfit() {
        let adapter: WorkloadAdapter =
            serde_json::from_value(json!({"paused": "/spec/paused"})).expect("an adapter");
        for labels in [json!({"app": "web", "ring": "b"}), json!({"app": "web"})] {
            let manifest = json!({"spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "web", "ring": "a"}},
                "template": {"metadata": {"labels": labels}},
            }});
            let why = unfit(&adapter, &manifest).expect("unfit");
            assert!(why.contains("asks for ring, which"), "{why}");
        }
    }
}
