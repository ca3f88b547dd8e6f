//! Checks of which requests match.

use super::finding::Findings;
use crate::{
    document::FieldPath,
    matching::{Match, NamedMatch, ValueMatch},
    regex::fault,
};

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// Checks a list of matches.
pub(super) fn matches(findings: &mut Findings, path: &FieldPath, matches: &[Match]) {
    for (index, one) in matches.iter().enumerate() {
        let at = path.index(index);
        if *one == Match::default() {
            findings.error(
                &at,
                "it names nothing and would match every request; use a weight of 100",
            );
        }
        named(findings, &at.key("headers"), &one.headers, "header");
        named(findings, &at.key("cookies"), &one.cookies, "cookie");
        named(
            findings,
            &at.key("queryParams"),
            &one.query_params,
            "parameter",
        );
        if let Some(value) = &one.path {
            path_match(findings, &at.key("path"), value);
        }
        if let Some(method) = &one.method {
            known_method(findings, &at.key("method"), method);
        }
        if one.port == Some(0) {
            findings.error(&at.key("port"), "a port is a number of 1 to 65535");
        }
    }
}

fn named(findings: &mut Findings, path: &FieldPath, list: &[NamedMatch], what: &str) {
    for (index, one) in list.iter().enumerate() {
        let at = path.index(index);
        if !is_token(&one.name) {
            let message = format!("{:?} is no name of a {what}", one.name);
            findings.error(&at.key("name"), message);
        }
        exactly_one(findings, &at, &one.exact, &one.prefix, &one.regex);
        readable(findings, &at, &one.regex);
    }
}

fn path_match(findings: &mut Findings, path: &FieldPath, value: &ValueMatch) {
    exactly_one(findings, path, &value.exact, &value.prefix, &value.regex);
    readable(findings, path, &value.regex);
    for (field, text) in [("exact", &value.exact), ("prefix", &value.prefix)] {
        if text.as_ref().is_some_and(|text| !text.starts_with('/')) {
            findings.error(&path.key(field), "a path begins with /");
        }
    }
}

/// What only some data planes read is looked at where it is known which.
fn readable(findings: &mut Findings, path: &FieldPath, regex: &Option<String>) {
    let fault = regex.as_deref().and_then(fault);
    if let Some(fault) = fault.filter(|fault| !fault.is_pcre) {
        let message = format!("no data plane reads this regular expression: {fault}");
        findings.error(&path.key("regex"), message);
    }
}

fn exactly_one(
    findings: &mut Findings,
    path: &FieldPath,
    exact: &Option<String>,
    prefix: &Option<String>,
    regex: &Option<String>,
) {
    let forms = [("exact", exact), ("prefix", prefix), ("regex", regex)];
    let set: Vec<&str> = forms
        .iter()
        .filter(|(_, form)| form.is_some())
        .map(|(name, _)| *name)
        .collect();
    match set.as_slice() {
        [name] => {
            let empty = forms
                .iter()
                .any(|(_, form)| form.as_ref().is_some_and(String::is_empty));
            if empty && *name != "exact" {
                findings.error(&path.key(name), "an empty text matches every value");
            }
        }
        [] => findings.error(path, "exactly one of exact, prefix, regex must be set"),
        [_, second, ..] => findings.error(
            &path.key(second),
            format!(
                "exactly one of exact, prefix, regex may be set, found {}",
                set.join(" and ")
            ),
        ),
    }
}

fn known_method(findings: &mut Findings, path: &FieldPath, method: &str) {
    if METHODS.contains(&method) {
        return;
    }
    let upper = method.to_uppercase();
    let meant = METHODS.contains(&upper.as_str()).then_some(upper);
    let message = format!(
        "unknown method {method:?}; use one of {}",
        METHODS.join(", ")
    );
    findings.error_with(path, message, meant);
}

/// Tells whether a text can be the name of a header or cookie (RFC 9110 token).
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}
