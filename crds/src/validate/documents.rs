//! Checks of all documents of one input, with those that look from one to another.

use std::collections::BTreeMap;

use super::{
    alerts, application, finding::Findings, fleet, governed::governed, metric_template, repository,
    rollout,
};
use crate::document::{Document, DocumentError, DocumentWarning, in_order};

/// Checks documents that were parsed from one input. A Rollout whose application stands in the
/// same input is checked against it; the hub does the same with what it holds.
///
/// # Errors
///
/// Returns everything that is wrong with them, in the order of their lines.
pub fn documents(documents: &[Document]) -> Result<Vec<DocumentWarning>, Vec<DocumentError>> {
    let applications: BTreeMap<(Option<&str>, &str), _> = documents
        .iter()
        .filter_map(|document| match document {
            Document::Application(object) => {
                let metadata = &object.metadata;
                Some((
                    (metadata.namespace.as_deref(), metadata.name.as_str()),
                    &object.spec,
                ))
            }
            _ => None,
        })
        .collect();
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for document in documents {
        let mut findings = one(document);
        if let Document::Rollout(object) = document
            && let Some(name) = &object.spec.application
            && let Some(spec) =
                applications.get(&(object.metadata.namespace.as_deref(), name.as_str()))
        {
            let more = governed(&object.spec, spec);
            findings.errors.extend(more.errors);
            findings.warnings.extend(more.warnings);
        }
        let source = document.source();
        let errors_here = findings.errors.iter();
        errors.extend(errors_here.map(|finding| DocumentError::from_finding(source, finding)));
        let warnings_here = findings.warnings.iter();
        warnings
            .extend(warnings_here.map(|finding| DocumentWarning::from_finding(source, finding)));
    }
    if errors.is_empty() {
        return Ok(warnings);
    }
    let file = documents
        .first()
        .map_or("", |document| document.source().file());
    Err(in_order(file, errors))
}

fn one(document: &Document) -> Findings {
    match document {
        Document::Cluster(object) => fleet::check_cluster(object),
        Document::Fleet(object) => fleet::check_fleet(object),
        Document::Application(object) => application::check(object),
        Document::Rollout(object) => rollout::check(object),
        Document::MetricTemplate(object) => metric_template::check(object),
        Document::Repository(object) => repository::check(object),
        Document::AlertProvider(object) => alerts::provider(object),
    }
}
