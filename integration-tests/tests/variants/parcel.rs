//! The documents of applications that need no gateway.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// An application of ConfigMaps and, where wanted, a Deployment with a Rollout.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Its name.
    pub name: String,
    /// Namespace in the member clusters.
    pub namespace: String,
    /// What its ConfigMaps say, and the version of its Deployment.
    pub version: String,
    /// ConfigMaps, `<name>-0` and so on.
    pub items: usize,
    /// Whether it has the Deployment `web` that changes by a canary of its pods.
    pub governed: bool,
    /// Which clusters: the destination, as YAML on one line.
    pub destination: String,
    /// The waves, as YAML on one line; empty = none.
    pub waves: String,
    /// Annotations of the Application.
    pub annotations: Vec<(String, String)>,
}

impl Parcel {
    /// Makes an application of two ConfigMaps on the whole fleet at once.
    pub fn new(name: &str, namespace: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            version: "v1".to_owned(),
            items: 2,
            governed: false,
            destination: "{fleet: breadth}".to_owned(),
            waves: "[{name: all, maxConcurrent: 100%}]".to_owned(),
            annotations: Vec::new(),
        }
    }

    /// Returns the same application with an annotation more.
    pub fn annotated(&self, key: &str, value: &str) -> Self {
        let mut annotated = self.clone();
        annotated
            .annotations
            .push((key.to_owned(), value.to_owned()));
        annotated
    }

    /// Returns the Application, with its Rollout where it is governed.
    pub fn documents(&self) -> String {
        let annotations: serde_json::Map<String, Value> = self
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let mut text = format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
             metadata: {{name: {name}, namespace: default, annotations: {annotations}}}\n\
             spec:\n  destination: {destination}\n  targetNamespace: {namespace}\n",
            name = self.name,
            annotations = Value::Object(annotations),
            destination = self.destination,
            namespace = self.namespace,
        );
        if !self.waves.is_empty() {
            let _infallible = writeln!(text, "  waves: {}", self.waves);
        }
        text.push_str("  components:\n  - name: parcel\n    manifests:\n");
        for manifest in self.manifests() {
            let _infallible = writeln!(text, "    - {manifest}");
        }
        if self.governed {
            text.push_str(&self.rollout());
        }
        text
    }

    fn rollout(&self) -> String {
        format!(
            "---\napiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
             metadata: {{name: {name}-web, namespace: default}}\nspec:\n  application: {name}\n  \
             workload: {{apiVersion: apps/v1, kind: Deployment, namespace: {namespace}, name: web}}\n  \
             strategy: {{canary: {{weights: [50]}}}}\n  analysis: {{interval: 1s}}\n  \
             progressDeadline: 60s\n",
            name = self.name,
            namespace = self.namespace,
        )
    }

    fn manifests(&self) -> Vec<Value> {
        let item = |number: usize| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {
                    "name": format!("{}-{number}", self.name), "namespace": self.namespace,
                    "labels": {"parcel": self.name},
                },
                "data": {"version": self.version},
            })
        };
        let mut manifests: Vec<Value> = (0..self.items).map(item).collect();
        if self.governed {
            manifests.push(self.deployment());
        }
        manifests
    }

    fn deployment(&self) -> Value {
        let labels = json!({"app": "web"});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{
                        "name": "web",
                        "image": format!("bellwether.local/demo:{}", self.version),
                    }]},
                },
            },
        })
    }
}
