//! Names, labels and selectors by the rules of Kubernetes.

use std::collections::BTreeMap;

use super::finding::Findings;
use crate::{
    document::{FieldPath, Kind, Metadata},
    selector::{Operator, Requirement, Selector},
};

const MAX_LABEL_BYTES: usize = 63;
const MAX_DOMAIN_BYTES: usize = 253;

/// Tells whether `name` is a DNS-1123 label: 1 to 63 of `a-z`, `0-9` and `-`, with a letter or
/// digit at both ends.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty()
        && name.len() <= MAX_LABEL_BYTES
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Tells whether `name` is a DNS-1123 subdomain, as names of ServiceAccounts are: labels with dots between
/// them, at most 253 characters.
#[must_use]
pub fn is_dns_domain(name: &str) -> bool {
    name.len() <= MAX_DOMAIN_BYTES && name.split('.').all(is_dns_label)
}

/// Checks one name.
pub(super) fn name(findings: &mut Findings, path: &FieldPath, name: &str) {
    if is_dns_label(name) {
        return;
    }
    let lower: String = name
        .to_lowercase()
        .chars()
        .map(|c| if matches!(c, '_' | '.' | ' ') { '-' } else { c })
        .collect();
    let meant = is_dns_label(&lower).then_some(lower);
    let message = if name.is_empty() {
        "a name is empty".to_owned()
    } else if name.len() > MAX_LABEL_BYTES {
        format!(
            "a name has {} characters; at most {MAX_LABEL_BYTES} are allowed",
            name.len()
        )
    } else {
        format!("{name:?} is no name; use a-z, 0-9 and -, with a letter or digit at both ends")
    };
    findings.error_with(path, message, meant);
}

/// Checks the name of a ServiceAccount. A whole user name and `namespace/name` are told from a typing error: the
/// namespace is none to choose.
pub(super) fn service_account(findings: &mut Findings, path: &FieldPath, account: &str) {
    if is_dns_domain(account) {
        return;
    }
    let name = account.rsplit(['/', ':']).next().unwrap_or(account);
    let meant = name.to_lowercase().replace(['_', ' '], "-");
    let message = if account.is_empty() {
        "a name is empty; leave it out to apply with the agent's own rights".to_owned()
    } else if account.len() > MAX_DOMAIN_BYTES {
        format!(
            "a name has {} characters; at most {MAX_DOMAIN_BYTES} are allowed",
            account.len()
        )
    } else if name != account {
        format!(
            "{account:?} is no name: the ServiceAccount lies in the target namespace; write its name alone"
        )
    } else {
        format!(
            "{account:?} is no name of a ServiceAccount; use a-z, 0-9, - and ., with a letter or digit at \
             both ends of each part"
        )
    };
    findings.error_with(path, message, is_dns_domain(&meant).then_some(meant));
}

/// Checks a list of cluster names: each a name, none twice.
pub(super) fn cluster_list(findings: &mut Findings, path: &FieldPath, clusters: &[String]) {
    let mut seen = BTreeMap::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let at = path.index(index);
        name(findings, &at, cluster);
        if let Some(first) = seen.insert(cluster, index) {
            findings.error(
                &at,
                format!("{cluster:?} stands here twice; the first is at index {first}"),
            );
        }
    }
}

/// Checks what names and labels an object.
pub(super) fn metadata(findings: &mut Findings, kind: Kind, metadata: &Metadata) {
    name(findings, &FieldPath::metadata("name"), &metadata.name);
    let path = FieldPath::metadata("namespace");
    match &metadata.namespace {
        Some(_) if !kind.is_namespaced() => {
            findings.error(
                &path,
                format!("a {kind} lives in no namespace; leave the field out"),
            );
        }
        Some(namespace) => name(findings, &path, namespace),
        None => {}
    }
    let path = FieldPath::metadata("labels");
    for (key, value) in &metadata.labels {
        label(findings, &path.key(key), key, value);
    }
    let path = FieldPath::metadata("annotations");
    for key in metadata.annotations.keys().filter(|key| !is_label_key(key)) {
        findings.error(&path.key(key), "no valid annotation key");
    }
}

/// Checks the key of a label or an annotation.
pub(super) fn metadata_key(findings: &mut Findings, path: &FieldPath, key: &str) {
    if !is_label_key(key) {
        findings.error(path, "no valid key of a label or an annotation");
    }
}

fn label(findings: &mut Findings, path: &FieldPath, key: &str, value: &str) {
    if !is_label_key(key) {
        findings.error(path, "no valid label key");
    }
    label_value(findings, path, value);
}

pub(super) fn label_value(findings: &mut Findings, path: &FieldPath, value: &str) {
    if !value.is_empty() && !is_label_word(value) {
        findings.error(
            path,
            "no valid label value; at most 63 letters, digits, -, _ and ., with a letter or digit \
             at both ends",
        );
    }
}

pub(super) fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, word)) => is_dns_domain(prefix) && is_label_word(word),
        None => is_label_word(key),
    }
}

fn is_label_word(word: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    word.len() <= MAX_LABEL_BYTES
        && word.chars().all(inner)
        && ends(word.chars().next())
        && ends(word.chars().last())
}

/// Checks a selector of clusters.
pub(super) fn selector(findings: &mut Findings, path: &FieldPath, selector: &Selector) {
    let labels = path.key("matchLabels");
    for (key, value) in &selector.match_labels {
        label(findings, &labels.key(key), key, value);
    }
    let expressions = path.key("matchExpressions");
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        expression(findings, &expressions.index(index), requirement);
    }
}

fn expression(findings: &mut Findings, path: &FieldPath, requirement: &Requirement) {
    if !is_label_key(&requirement.key) {
        findings.error(&path.key("key"), "no valid label key");
    }
    let values = path.key("values");
    let takes_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
    if takes_values && requirement.values.is_empty() {
        findings.error(
            &values,
            format!("{:?} needs at least one value", requirement.operator),
        );
    }
    if !takes_values && !requirement.values.is_empty() {
        findings.error(
            &values,
            format!("{:?} takes no values", requirement.operator),
        );
    }
    for (index, value) in requirement.values.iter().enumerate() {
        label_value(findings, &values.index(index), value);
    }
}
