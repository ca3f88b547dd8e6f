//! Whether the renderers that documents name are registered at this hub.

use bellwether_api::{
    call::ProblemItem,
    document::{Document, FieldPath, closest},
};

use super::references::finding;
use crate::rendering::Plugins;

/// Says which renderers documents name that are not there.
pub fn unknown(plugins: &Plugins, documents: &[Document]) -> Vec<ProblemItem> {
    let mut found = Vec::new();
    for document in documents {
        let Document::Application(object) = document else {
            continue;
        };
        for (index, component) in object.spec.components.iter().enumerate() {
            let Some(source) = &component.plugin else {
                continue;
            };
            let Err(error) = plugins.pin(source) else {
                continue;
            };
            let at = FieldPath::spec().key("components").index(index);
            found.push(finding(
                &object.source,
                at.key("plugin").key("name"),
                error.to_string(),
                closest(&source.name, plugins.names()),
            ));
        }
    }
    found
}
