//! The names that a repository has, and what they stand for.

use std::{collections::BTreeMap, ffi::OsStr};

use super::{
    Target,
    command::{Git, Session},
};
use crate::SourceError;

/// What a server lists: digests by the whole name of a reference.
#[derive(Debug)]
pub(super) struct Refs(BTreeMap<String, String>);

impl Refs {
    /// Asks for the references that fit some patterns.
    pub async fn ask(
        git: &Git<'_>,
        session: &Session,
        patterns: &[&str],
    ) -> Result<Self, SourceError> {
        let mut arguments: Vec<&OsStr> = vec![
            "ls-remote".as_ref(),
            "--quiet".as_ref(),
            "--".as_ref(),
            session.url().as_ref(),
        ];
        arguments.extend(patterns.iter().map(|pattern| OsStr::new(*pattern)));
        let output = git.run(&arguments).await?;
        Ok(Self::read(&String::from_utf8_lossy(&output)))
    }

    fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (digest, name) = line.split_once('\t')?;
            check_commit(digest).ok()?;
            Some((name.to_owned(), digest.to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Returns what a whole name stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the names of all tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.0
            .keys()
            .filter_map(|name| name.strip_prefix("refs/tags/"))
            .filter(|name| !name.ends_with("^{}"))
    }

    /// Returns the commit of a tag, which may have an object of its own.
    pub fn tag(&self, tag: &str) -> Option<Target> {
        let advertised = self.get(&format!("refs/tags/{tag}"))?;
        let commit = self
            .get(&format!("refs/tags/{tag}^{{}}"))
            .unwrap_or(advertised);
        Some(Target {
            tag: Some(tag.to_owned()),
            commit: commit.to_owned(),
            advertised: Some(advertised.to_owned()),
        })
    }
}

/// Refuses a name that no branch or tag has, or that is a pattern.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), SourceError> {
    let bad = name.is_empty()
        || name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || name.ends_with(".lock")
        || ["..", "//", "@{", "/."]
            .iter()
            .any(|part| name.contains(part))
        || name
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    if bad {
        let why = format!(
            "{name:?} is no name that a {field} can have; leave out refs/heads/ and the like"
        );
        return Err(SourceError::Invalid { field, why });
    }
    Ok(())
}

/// Refuses what is no whole digest of a commit.
pub(super) fn check_commit(commit: &str) -> Result<(), SourceError> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if matches!(commit.len(), 40 | 64) && commit.bytes().all(is_hex) {
        return Ok(());
    }
    Err(SourceError::Invalid {
        field: "commit",
        why: "it is the whole digest of a commit: 40 hexadecimal digits, or 64".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_lead_to_their_commits() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let refs = Refs::read(&format!(
            "{a}\trefs/heads/main\n{b}\trefs/tags/v1\n{c}\trefs/tags/v1^{{}}\n{a}\trefs/tags/v0\nodd\n"
        ));
        assert_eq!(refs.get("refs/heads/main"), Some(a.as_str()));
        assert_eq!(refs.tags().collect::<Vec<_>>(), ["v0", "v1"]);
        let v1 = refs.tag("v1").expect("v1");
        assert_eq!(
            (v1.commit.as_str(), v1.advertised.as_deref()),
            (&*c, Some(&*b))
        );
        assert_eq!(v1.revision(), format!("v1@{c}"));
        assert_eq!(refs.tag("v0").expect("v0").commit, a);
        assert_eq!(refs.tag("v2"), None);
    }

    #[test]
    fn names_are_names_and_commits_are_whole() {
        for name in ["main", "feature/x", "v1.2.3", "release-1"] {
            check_name("branch", name).expect(name);
        }
        for name in [
            "", "-x", "a..b", "a b", "a*", "a:b", "a^{}", ".a", "a/.b", "a.lock", "a/", "@{x",
        ] {
            check_name("branch", name).expect_err(name);
        }
        check_commit(&"0".repeat(40)).expect("SHA-1");
        check_commit(&"0".repeat(64)).expect("SHA-256");
        for commit in ["", "HEAD", "abc1234", &"g".repeat(40), &"A".repeat(40)] {
            check_commit(commit).expect_err(commit);
        }
    }
}
