//! Checks of where an adapter's pointers lead.

use super::finding::Findings;
use crate::{document::FieldPath, workload_adapter::WorkloadAdapter};

const SPEC: &str = "/spec/";

/// Checks that an adapter's pointers lead where such fields are, and that its label has a name.
pub(super) fn pointers(findings: &mut Findings, path: &FieldPath, adapter: &WorkloadAdapter) {
    for (field, pointer, below) in adapter.pointers() {
        let within = pointer.strip_prefix(below).is_some_and(|rest| {
            rest.split('/')
                .all(|part| !part.is_empty() && !part.contains('~'))
        });
        if !within {
            findings.error(
                &path.key(field),
                format!("{pointer:?} is no JSON pointer below {below}, such as {below}partition"),
            );
        }
    }
    driven(findings, path, adapter);
    apart(findings, path, adapter);
    if adapter.revision_label().is_empty() {
        findings.error(
            &path.key("revisionLabel"),
            "pods are told apart by a label; name it",
        );
    }
}

/// What a run writes stands in an object of its own, beside what tells which pods there are.
fn driven(findings: &mut Findings, path: &FieldPath, adapter: &WorkloadAdapter) {
    let fields: &[&str] = match adapter.partition {
        Some(_) => &["partition"],
        None => &["paused", "replicas"],
    };
    for (field, pointer, _) in adapter.pointers() {
        if !fields.contains(&field) {
            continue;
        }
        if holds("/spec/template", pointer) {
            let message = format!("the pod template is what changes; {field} stands beside it");
            findings.error(&path.key(field), message);
        } else if holds("/spec/selector", pointer) {
            let message = format!("the selector never changes; {field} stands beside it");
            findings.error(&path.key(field), message);
        }
        let is_index = |part: &str| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            digits && !part.is_empty()
        };
        if pointer.split('/').any(is_index) {
            let message = format!(
                "{pointer:?} leads into a list, of which a run owns no part; name a field that stands in \
                 no list"
            );
            findings.error(&path.key(field), message);
        }
    }
}

/// Two fields cannot be one, nor one a part of the other.
fn apart(findings: &mut Findings, path: &FieldPath, adapter: &WorkloadAdapter) {
    let pointers = adapter.pointers();
    let specs: Vec<_> = pointers
        .iter()
        .filter(|(.., below)| *below == SPEC)
        .collect();
    for (index, (field, pointer, _)) in specs.iter().enumerate() {
        let other = specs
            .iter()
            .take(index)
            .find(|(_, other, _)| holds(other, pointer) || holds(pointer, other));
        if let Some((other, place, _)) = other {
            let message = format!(
                "{pointer:?} and {other}, which is {place:?}, are one field or a part of it"
            );
            findings.error(&path.key(field), message);
        }
    }
}

/// Whether one pointer leads to where the other leads, or below it.
fn holds(outer: &str, inner: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
