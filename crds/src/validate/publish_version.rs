//! Checks of what names the published version.

use super::finding::Findings;
use crate::{
    application::ApplicationSpec,
    document::{FieldPath, Object},
    publish_version::ALIAS,
};

const MAX_BYTES: usize = 128;

pub(super) fn check(findings: &mut Findings, object: &Object<ApplicationSpec>) {
    let field = FieldPath::spec().key("publishVersion");
    let alias = FieldPath::metadata("annotations").key(ALIAS);
    let by_field = object.spec.publish_version.as_deref();
    let by_alias = object.metadata.annotations.get(ALIAS).map(String::as_str);
    for (path, version) in [(&field, by_field), (&alias, by_alias)] {
        if let Some(version) = version {
            word(findings, path, version);
        }
    }
    if let (Some(by_field), Some(by_alias)) = (by_field, by_alias)
        && by_field != by_alias
    {
        findings.error(
            &field,
            format!(
                "the annotation {ALIAS} says {by_alias:?}; write one of them, or the same in both"
            ),
        );
    }
}

fn word(findings: &mut Findings, path: &FieldPath, version: &str) {
    if version.is_empty() {
        findings.error(
            path,
            "it names nothing; leave it out where every change shall roll",
        );
    } else if version.len() > MAX_BYTES {
        findings.error(
            path,
            format!(
                "it has {} bytes; at most {MAX_BYTES} are allowed",
                version.len()
            ),
        );
    } else if version.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let meant: String = version
            .split_whitespace()
            .collect::<Vec<_>>()
            .join("-")
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        findings.error_with(
            path,
            "a version holds neither white space nor control characters",
            (!meant.is_empty()).then_some(meant),
        );
    }
}
