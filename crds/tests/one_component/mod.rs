//! An application of one component, whose lines the tests write, and what is wrong with it.

use bellwether_api::document::load;

/// An application whose component `name` has these lines. Each is indented as that of a component's.
pub fn application(name: &str, lines: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  destination: {{fleet: all}}
  components:
  - name: {name}
{lines}"
    )
}

/// What is wrong with a document, `path: message` each, paths from the rollout on; empty = nothing.
pub fn errors(text: &str) -> Vec<String> {
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    let said = errors
        .iter()
        .map(|error| format!("{}: {}", error.path, error.message));
    said.map(|text| text.replace("spec.components[0].rollout.", ""))
        .collect()
}
