use serde_json::{Value, json};

use super::Fields;

/// The workload that a record governs.
pub(super) struct Workload<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
}

impl<'a> Workload<'a> {
    /// Reads which one it is: `objectRef.workloadRef` in v1alpha1, `workloadRef` later.
    pub fn read(spec: &Fields<'a>, is_alpha: bool) -> Option<Self> {
        if !is_alpha {
            return Self::named(spec);
        }
        let Some(reference) = spec.object("objectRef") else {
            spec.refuse("objectRef", "name the workload");
            return None;
        };
        if reference
            .text("type")
            .is_some_and(|kind| kind != "workloadRef")
        {
            reference.refuse("type", "a workload is named by workloadRef");
        }
        let found = Self::named(&reference);
        reference.done();
        found
    }

    fn named(holder: &Fields<'a>) -> Option<Self> {
        let Some(fields) = holder.object("workloadRef") else {
            holder.refuse("workloadRef", "name the workload");
            return None;
        };
        let part = |key: &'static str| {
            let found = fields.text(key);
            if found.is_none() {
                fields.refuse(key, "it is empty");
            }
            found
        };
        let parts = (part("apiVersion"), part("kind"), part("name"));
        fields.done();
        let (Some(api_version), Some(kind), Some(name)) = parts else {
            return None;
        };
        Some(Self {
            api_version,
            kind,
            name,
        })
    }

    /// Tells whether a copy of it can be made; any other kind is updated in place, there as here.
    pub fn is_deployment(&self) -> bool {
        (self.api_version, self.kind) == ("apps/v1", "Deployment")
    }

    /// As a Rollout names it; an empty namespace = the application's.
    pub fn reference(&self, namespace: &str) -> Value {
        let mut reference =
            json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name});
        if !namespace.is_empty() {
            reference["namespace"] = json!(namespace);
        }
        reference
    }
}
