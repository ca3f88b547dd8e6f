//! Paths by which a match would take requests that another rule has today.
//!
//! Where the longest path wins, a match that narrows its rule's path can come to stand before a rule
//! of another backend: `/` of the shop, matched by `/api/new`, would win over `/api` of the API.

use super::RenderError;

/// A condition on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path<'a> {
    /// The whole path.
    Exact(&'a str),
    /// Its first segments.
    Prefix(&'a str),
    /// A regular expression; what it leaves to others is not known.
    Regex(&'a str),
}

impl Path<'_> {
    const fn value(&self) -> &str {
        match self {
            Self::Exact(value) | Self::Prefix(value) | Self::Regex(value) => value,
        }
    }
}

/// Refuses a match that makes `own` of a rule's path `joined`, where a rule in `others` has some of
/// those requests today because its path is the more specific one.
///
/// # Errors
/// Names both paths.
pub(super) fn refuse<'a>(
    own: Path<'_>,
    joined: Path<'_>,
    others: impl Iterator<Item = Path<'a>>,
) -> Result<(), RenderError> {
    if joined == own {
        return Ok(());
    }
    for other in others {
        if is_before(other, own) && meets(joined, other) {
            return Err(RenderError::Overtaking {
                path: joined.value().to_owned(),
                other: other.value().to_owned(),
            });
        }
    }
    Ok(())
}

/// Tells whether `other` wins over `own` where both hold.
fn is_before(other: Path<'_>, own: Path<'_>) -> bool {
    match (other, own) {
        (Path::Regex(_), _) => true,
        (_, Path::Regex(_)) => false,
        (other, own) => other != own && is_under(other.value(), own.value()),
    }
}

/// Tells whether `joined` takes requests of `other`.
fn meets(joined: Path<'_>, other: Path<'_>) -> bool {
    match (joined, other) {
        (Path::Regex(regex), other) | (other, Path::Regex(regex)) => {
            let (beginning, other) = (beginning(regex), beginning_of(other));
            beginning.starts_with(other) || other.starts_with(beginning)
        }
        (Path::Exact(path), Path::Exact(other)) => path == other,
        (Path::Exact(path) | Path::Prefix(path), Path::Prefix(other)) => is_under(path, other),
        // A whole path wins over a prefix.
        (Path::Prefix(_), Path::Exact(_)) => false,
    }
}

fn beginning_of(path: Path<'_>) -> &str {
    match path {
        Path::Exact(value) | Path::Prefix(value) => value,
        Path::Regex(regex) => beginning(regex),
    }
}

/// What every path that a regular expression matches begins with; empty = nobody knows.
fn beginning(regex: &str) -> &str {
    let inner = regex.strip_prefix('^').unwrap_or(regex);
    let inner = inner.strip_prefix("(?:").unwrap_or(inner);
    if inner.contains('|') {
        return "";
    }
    let end = inner
        .find(|one: char| "\\.+*?()[]{}^$".contains(one))
        .unwrap_or(inner.len());
    let literal = &inner[..end];
    match inner[end..].chars().next() {
        // The last character may be missing.
        Some('*' | '?' | '{') => {
            let mut rest = literal.chars();
            rest.next_back();
            rest.as_str()
        }
        _ => literal,
    }
}

/// Tells whether a path lies under a prefix, by whole segments.
pub(super) fn is_under(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path == prefix
        || path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::{Path::*, *};

    #[test]
    fn only_what_another_rule_has_is_refused() {
        for (own, joined, other, refused) in [
            (Prefix("/"), Prefix("/api/new"), Prefix("/api"), true),
            (Prefix("/"), Exact("/api"), Prefix("/api"), true),
            (Prefix("/"), Prefix("/api"), Prefix("/api"), true),
            (Prefix("/"), Exact("/api"), Exact("/api"), true),
            // The other rule still wins.
            (Prefix("/"), Prefix("/api"), Prefix("/api/v2"), false),
            (Prefix("/"), Prefix("/api"), Exact("/api"), false),
            // They do not meet.
            (Prefix("/"), Prefix("/apis"), Prefix("/api"), false),
            (Prefix("/shop"), Prefix("/shop/new"), Prefix("/api"), false),
            // The rule's own path wins already.
            (Prefix("/api"), Prefix("/api/new"), Prefix("/"), false),
            // Nothing was narrowed.
            (Prefix("/"), Prefix("/"), Prefix("/api"), false),
            // Of a regular expression the beginning is known at most.
            (Prefix("/"), Regex("/api/v[0-9]+"), Prefix("/api"), true),
            (Prefix("/"), Regex("/a.*"), Prefix("/api"), true),
            (Prefix("/"), Regex("^(?:/apix?)$"), Prefix("/api"), true),
            (Prefix("/"), Regex("/v1|/api"), Prefix("/api"), true),
            (Prefix("/"), Prefix("/api"), Regex("/a.*"), true),
            (Prefix("/"), Regex("^(?:/v[0-9]+)$"), Prefix("/api"), false),
            (Prefix("/"), Prefix("/new"), Regex("/api/.*"), false),
        ] {
            let found = refuse(own, joined, std::iter::once(other));
            assert_eq!(found.is_err(), refused, "{own:?} {joined:?} {other:?}");
        }
    }
}
