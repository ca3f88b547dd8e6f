//! What to fetch.

use reqwest::Url;

use crate::{Credentials, SourceError, VersionRange, artifact::clean_path, settings::Limits};

/// A source, what it is opened with, and what it was before.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// What to fetch.
    pub source: Source,
    /// What it is opened with; the default is for public ones.
    pub credentials: Credentials,
    /// The revision that it was pinned to before; none if it never was. A Git tag or a version that means
    /// other content now is refused as moved.
    pub previous: Option<String>,
}

impl SourceRequest {
    /// Makes a request for a public source that was not fetched before.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            credentials: Credentials::default(),
            previous: None,
        }
    }
}

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A chart of a Helm repository.
    HelmRepository {
        /// `https://…`, the folder of the repository's `index.yaml`, or `oci://…`, the folder of the
        /// chart in a registry.
        url: String,
        /// The name of the chart.
        chart: String,
        /// An exact version, or a range like `^1.2` of which the highest is taken.
        version: String,
    },
    /// An artifact of a registry: a chart, archives, or files.
    Oci {
        /// `oci://HOST/REPOSITORY`, without a tag.
        url: String,
        /// Which one.
        reference: OciReference,
        /// The directory in it that is meant; empty for all of it.
        path: String,
    },
    /// A tree of a Git repository.
    Git {
        /// `https://…`, `ssh://…` or `USER@HOST:PATH`.
        url: String,
        /// Which commit.
        reference: GitReference,
        /// The directory in it that is meant; empty for all of it.
        path: String,
    },
}

/// Which artifact of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OciReference {
    /// What a tag names now. It may move.
    Tag(String),
    /// The highest version among the tags within a range.
    Semver(String),
    /// `sha256:…` of a manifest.
    Digest(String),
}

/// Which commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitReference {
    /// The newest commit of a branch.
    Branch(String),
    /// What a tag names. It may not move.
    Tag(String),
    /// The highest version among the tags within a range.
    Semver(String),
    /// A commit by its whole digest.
    Commit(String),
}

/// What a source is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The revision that [`Artifact::revision`](crate::Artifact::revision) would have: equal revisions
    /// are equal content.
    pub revision: String,
}

impl Source {
    /// Tells whether the name in its revisions must go on to mean the same content.
    fn is_fixed(&self) -> bool {
        match self {
            Self::HelmRepository { .. } => true,
            Self::Oci { reference, .. } => matches!(reference, OciReference::Semver(_)),
            Self::Git { reference, .. } => {
                matches!(reference, GitReference::Tag(_) | GitReference::Semver(_))
            }
        }
    }

    /// Refuses a name that now means something else than it was pinned to.
    ///
    /// # Errors
    ///
    /// [`SourceError::TagMoved`] if it does.
    pub(crate) fn refuse_moved(
        &self,
        previous: Option<&str>,
        revision: &str,
    ) -> Result<(), SourceError> {
        if let (true, Some((before, was)), Some((name, is))) = (
            self.is_fixed(),
            previous.and_then(|previous| previous.split_once('@')),
            revision.split_once('@'),
        ) && before == name
            && was != is
        {
            return Err(SourceError::TagMoved {
                name: name.to_owned(),
                was: was.to_owned(),
                is: is.to_owned(),
            });
        }
        Ok(())
    }
}

/// Reads the URL of a source, with one of some schemes.
pub(crate) fn parse_url(text: &str, schemes: &[&str]) -> Result<Url, SourceError> {
    let not_valid = |why: String| SourceError::Invalid { field: "url", why };
    let expected = schemes
        .iter()
        .map(|scheme| format!("{scheme}://"))
        .collect::<Vec<_>>()
        .join(" or ");
    let url = Url::parse(text)
        .map_err(|_| not_valid(format!("it is not a URL; it begins with {expected}")))?;
    if !schemes.contains(&url.scheme()) {
        let scheme = url.scheme();
        return Err(not_valid(format!(
            "{scheme}:// is not fetched; it begins with {expected}"
        )));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(not_valid("it has no host".to_owned()));
    }
    let user = !url.username().is_empty() && url.scheme() != "ssh";
    if user || url.password().is_some() {
        let why =
            "it has credentials in it, which logs and errors would show; give them as a Secret";
        return Err(not_valid(why.to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(not_valid("it has a query or a fragment".to_owned()));
    }
    Ok(url)
}

/// Reads the path of a source within it.
pub(crate) fn parse_path(text: &str, limits: &Limits) -> Result<String, SourceError> {
    clean_path(text.as_bytes(), limits).map_err(|error| SourceError::Invalid {
        field: "path",
        why: match error {
            SourceError::UnsafeArchive { why, .. } => {
                format!("{why}; write a directory like deploy/app")
            }
            other => other.to_string(),
        },
    })
}

/// Reads a range of versions in a field.
pub(crate) fn parse_range(field: &'static str, text: &str) -> Result<VersionRange, SourceError> {
    text.parse()
        .map_err(|error: crate::VersionRangeError| SourceError::Invalid {
            field,
            why: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(reference: GitReference) -> Source {
        Source::Git {
            url: "https://git.example/a".to_owned(),
            reference,
            path: String::new(),
        }
    }

    #[test]
    fn a_tag_or_version_that_moved_is_refused_and_a_branch_is_not() {
        let tag = git(GitReference::Tag("v1".to_owned()));
        let error = tag
            .refuse_moved(Some("v1@aaa"), "v1@bbb")
            .expect_err("moved");
        assert_eq!(error.to_string(), "v1 was moved: it was aaa and is bbb now");
        tag.refuse_moved(Some("v1@aaa"), "v1@aaa")
            .expect("the same");
        tag.refuse_moved(Some("v0@aaa"), "v1@bbb")
            .expect("another tag");
        tag.refuse_moved(None, "v1@bbb").expect("the first time");
        git(GitReference::Branch("main".to_owned()))
            .refuse_moved(Some("aaa"), "bbb")
            .expect("a branch moves");
        let chart = Source::HelmRepository {
            url: String::new(),
            chart: String::new(),
            version: "^1".to_owned(),
        };
        chart
            .refuse_moved(Some("1.0.0@sha256:a"), "1.0.0@sha256:b")
            .expect_err("a version that was published again");
        chart
            .refuse_moved(Some("1.0.0@sha256:a"), "1.0.1@sha256:b")
            .expect("a higher version");
        let latest = Source::Oci {
            url: String::new(),
            reference: OciReference::Tag("latest".to_owned()),
            path: String::new(),
        };
        latest
            .refuse_moved(Some("latest@sha256:a"), "latest@sha256:b")
            .expect("a tag of a registry moves");
    }

    #[test]
    fn urls_with_secrets_or_other_schemes_are_refused_without_showing_them() {
        for (text, said) in [
            ("https://user:hunter2@git.example/a", "credentials in it"),
            ("https://hunter2@git.example/a", "credentials in it"),
            ("https://git.example/a?token=hunter2", "a query"),
            ("file:///etc/passwd", "file:// is not fetched"),
            ("ext::sh -c hunter2", "ext:// is not fetched"),
            ("git.example/a", "is not a URL; it begins with https://"),
        ] {
            let error = parse_url(text, &["https", "ssh"])
                .expect_err(text)
                .to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        parse_url("https://git.example:8443/a", &["https"]).expect("a port");
        parse_url("ssh://git@git.example/a", &["ssh"]).expect("a user of SSH");
    }

    #[test]
    fn a_path_that_leads_out_is_refused_as_the_field() {
        let error = parse_path("../x", &Limits::default()).expect_err("out");
        assert!(
            error.to_string().starts_with("path is not valid"),
            "{error}"
        );
        assert_eq!(
            parse_path("./deploy/", &Limits::default()).expect("in"),
            "deploy"
        );
    }
}
