//! Which version of an application is published.

use std::collections::BTreeMap;

use crate::application::ApplicationSpec;

/// The annotation of an Application that says the same as `spec.publishVersion`.
pub const ALIAS: &str = "app.oam.dev/publishVersion";

/// Returns the application with the version that its field or its annotation names as the one that is
/// published. The field wins; validation refuses two that differ.
#[must_use]
pub fn marked(
    mut spec: ApplicationSpec,
    annotations: &BTreeMap<String, String>,
) -> ApplicationSpec {
    if spec.publish_version.is_none() {
        spec.publish_version = annotations.get(ALIAS).cloned();
    }
    spec
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{ALIAS, marked};

    #[test]
    fn annotation_says_what_the_field_does_not() {
        for (field, annotation, expected) in [
            (None, None, None),
            (None, Some("v1"), Some("v1")),
            (Some("v2"), None, Some("v2")),
            (Some("v2"), Some("v1"), Some("v2")),
        ] {
            let spec = serde_json::from_value(json!({
                "destination": {"fleet": "all"}, "components": [], "publishVersion": field,
            }))
            .expect("a spec");
            let annotations: BTreeMap<String, String> = annotation
                .map(|value: &str| (ALIAS.to_owned(), value.to_owned()))
                .into_iter()
                .collect();
            let found = marked(spec, &annotations).publish_version;
            assert_eq!(found.as_deref(), expected, "{field:?} {annotation:?}");
        }
    }
}
