//! What a push webhook says has changed, and which sources it concerns.

use serde::Deserialize;

use crate::{GitReference, OciReference, Source};

/// Most spellings of a repository that one push may carry.
const MAX_URLS: usize = 8;

/// What was pushed, as a webhook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The repository, by every URL that the webhook has for it.
    pub urls: Vec<String>,
    /// What in it has changed.
    pub reference: PushedReference,
}

/// What has changed in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushedReference {
    /// A Git branch.
    Branch(String),
    /// A tag, of Git or of a registry.
    Tag(String),
    /// The sender does not say.
    Any,
}

/// Why the body of a webhook is no push.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It is no JSON, or lacks what a push has.
    #[error("failed to read the push")]
    Json(#[source] serde_json::Error),
    /// It names no repository.
    #[error("the push names no repository")]
    NoRepository,
}

#[derive(Deserialize)]
struct GitHubPush {
    #[serde(rename = "ref")]
    reference: String,
    repository: GitHubRepository,
}

#[derive(Deserialize)]
struct GitHubRepository {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct GitLabPush {
    #[serde(rename = "ref")]
    reference: String,
    project: GitLabProject,
}

#[derive(Deserialize)]
struct GitLabProject {
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
    web_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenericPush {
    url: String,
    branch: Option<String>,
    tag: Option<String>,
}

impl Push {
    /// Reads GitHub's event `push` (`X-GitHub-Event`), which Gitea and Forgejo send too. Other events
    /// say nothing about sources: none.
    ///
    /// # Errors
    ///
    /// If the event is a push and its body is none.
    pub fn from_github(event: &str, body: &[u8]) -> Result<Option<Self>, PushError> {
        if event != "push" {
            return Ok(None);
        }
        let push: GitHubPush = serde_json::from_slice(body).map_err(PushError::Json)?;
        let GitHubRepository {
            clone_url,
            ssh_url,
            html_url,
        } = push.repository;
        Self::new([clone_url, ssh_url, html_url], of_git(&push.reference)).map(Some)
    }

    /// Reads GitLab's events `Push Hook` and `Tag Push Hook` (`X-Gitlab-Event`). Other events say
    /// nothing about sources: none.
    ///
    /// # Errors
    ///
    /// If the event is a push and its body is none.
    pub fn from_gitlab(event: &str, body: &[u8]) -> Result<Option<Self>, PushError> {
        if !matches!(event, "Push Hook" | "Tag Push Hook") {
            return Ok(None);
        }
        let push: GitLabPush = serde_json::from_slice(body).map_err(PushError::Json)?;
        let GitLabProject {
            git_http_url,
            git_ssh_url,
            web_url,
        } = push.project;
        let urls = [git_http_url, git_ssh_url, web_url];
        Self::new(urls, of_git(&push.reference)).map(Some)
    }

    /// Reads `{"url": …}`, with `"branch"` or `"tag"` where the sender knows: what any build can send.
    ///
    /// # Errors
    ///
    /// If the body is something else.
    pub fn from_generic(body: &[u8]) -> Result<Self, PushError> {
        let push: GenericPush = serde_json::from_slice(body).map_err(PushError::Json)?;
        let reference = match (push.branch, push.tag) {
            (Some(branch), None) => PushedReference::Branch(branch),
            (None, Some(tag)) => PushedReference::Tag(tag),
            _ => PushedReference::Any,
        };
        Self::new([Some(push.url)], reference)
    }

    fn new(
        urls: impl IntoIterator<Item = Option<String>>,
        reference: PushedReference,
    ) -> Result<Self, PushError> {
        let urls: Vec<String> = urls
            .into_iter()
            .flatten()
            .filter(|url| place(url).is_some())
            .take(MAX_URLS)
            .collect();
        if urls.is_empty() {
            return Err(PushError::NoRepository);
        }
        Ok(Self { urls, reference })
    }

    /// Tells whether a source may be another one since this push. It says only that it is worth a look:
    /// what the source is now is asked at the source.
    pub fn concerns(&self, source: &Source) -> bool {
        let (url, meant) = match source {
            Source::Git { url, reference, .. } => (url.clone(), self.changes_git(reference)),
            Source::Oci { url, reference, .. } => (url.clone(), self.changes_oci(reference)),
            Source::HelmRepository { url, chart, .. } if url.starts_with("oci://") => (
                format!("{}/{chart}", url.trim_end_matches('/')),
                self.is_tag(),
            ),
            Source::HelmRepository { url, .. } => (url.clone(), true),
        };
        let Some(place_of_source) = place(&url) else {
            return false;
        };
        meant
            && self
                .urls
                .iter()
                .any(|url| place(url).as_ref() == Some(&place_of_source))
    }

    fn is_tag(&self) -> bool {
        !matches!(self.reference, PushedReference::Branch(_))
    }

    fn changes_git(&self, reference: &GitReference) -> bool {
        match (&self.reference, reference) {
            (_, GitReference::Commit(_)) => false,
            (PushedReference::Any, _) => true,
            (PushedReference::Branch(pushed), GitReference::Branch(ours))
            | (PushedReference::Tag(pushed), GitReference::Tag(ours)) => pushed == ours,
            (PushedReference::Tag(_), GitReference::Semver(_)) => true,
            _ => false,
        }
    }

    fn changes_oci(&self, reference: &OciReference) -> bool {
        match (&self.reference, reference) {
            (_, OciReference::Digest(_)) => false,
            (PushedReference::Tag(pushed), OciReference::Tag(ours)) => pushed == ours,
            _ => self.is_tag(),
        }
    }
}

fn of_git(reference: &str) -> PushedReference {
    if let Some(branch) = reference.strip_prefix("refs/heads/") {
        return PushedReference::Branch(branch.to_owned());
    }
    let tag = reference.strip_prefix("refs/tags/").unwrap_or(reference);
    PushedReference::Tag(tag.to_owned())
}

/// Returns host and path of a repository, the same for every way to reach it. Ports are left out: those
/// of HTTPS and SSH differ.
fn place(url: &str) -> Option<(String, String)> {
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        // USER@HOST:PATH
        None => url.split_once(':')?,
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (!host.is_empty()).then(|| (host.to_lowercase(), path.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, reference: GitReference) -> Source {
        Source::Git {
            url: url.to_owned(),
            reference,
            path: String::new(),
        }
    }

    fn branch(name: &str) -> GitReference {
        GitReference::Branch(name.to_owned())
    }

    const GITHUB: &[u8] = br#"{"ref": "refs/heads/main", "after": "0", "repository": {
        "clone_url": "https://github.com/Acme/Shop.git", "ssh_url": "git@github.com:Acme/Shop.git",
        "html_url": "https://github.com/Acme/Shop"}}"#;

    #[test]
    fn a_push_concerns_its_repository_by_every_name_and_no_other() {
        let push = Push::from_github("push", GITHUB)
            .expect("a push")
            .expect("it says something");
        assert_eq!(push.reference, PushedReference::Branch("main".to_owned()));
        for url in [
            "https://github.com/acme/shop",
            "https://github.com/Acme/Shop.git/",
            "git@github.com:Acme/Shop.git",
            "ssh://git@github.com:22/Acme/Shop",
        ] {
            assert!(push.concerns(&git(url, branch("main"))), "{url}");
        }
        for url in [
            "https://github.com/acme/shop2",
            "https://gitlab.com/acme/shop",
            "",
            "nonsense",
        ] {
            assert!(!push.concerns(&git(url, branch("main"))), "{url}");
        }
    }

    #[test]
    fn a_push_of_one_branch_concerns_no_other_and_no_tag_or_commit() {
        let push = Push::from_github("push", GITHUB)
            .expect("a push")
            .expect("it says something");
        let url = "https://github.com/acme/shop";
        for reference in [
            branch("release"),
            GitReference::Tag("main".to_owned()),
            GitReference::Semver("*".to_owned()),
            GitReference::Commit("0".repeat(40)),
        ] {
            assert!(
                !push.concerns(&git(url, reference.clone())),
                "{reference:?}"
            );
        }
    }

    #[test]
    fn gitlabs_tags_concern_tags_and_ranges() {
        let body = br#"{"ref": "refs/tags/v1.2.3", "project": {
            "git_http_url": "https://gitlab.example/a/b/c.git"}}"#;
        let push = Push::from_gitlab("Tag Push Hook", body)
            .expect("a push")
            .expect("something");
        let url = "git@gitlab.example:a/b/c.git";
        assert!(push.concerns(&git(url, GitReference::Tag("v1.2.3".to_owned()))));
        assert!(push.concerns(&git(url, GitReference::Semver("^1".to_owned()))));
        assert!(!push.concerns(&git(url, GitReference::Tag("v1.2.4".to_owned()))));
        assert!(!push.concerns(&git(url, branch("v1.2.3"))));
        assert!(
            Push::from_gitlab("Issue Hook", body)
                .expect("fine")
                .is_none()
        );
    }

    #[test]
    fn a_build_can_tell_of_charts_and_artifacts() {
        let push =
            Push::from_generic(br#"{"url": "oci://registry.example/charts/web", "tag": "1.2.3"}"#)
                .expect("a push");
        let chart = |url: &str| Source::HelmRepository {
            url: url.to_owned(),
            chart: "web".to_owned(),
            version: "^1".to_owned(),
        };
        assert!(push.concerns(&chart("oci://registry.example/charts")));
        assert!(!push.concerns(&chart("oci://registry.example/other")));
        let artifact = |reference| Source::Oci {
            url: "oci://registry.example/charts/web".to_owned(),
            reference,
            path: String::new(),
        };
        assert!(push.concerns(&artifact(OciReference::Tag("1.2.3".to_owned()))));
        assert!(push.concerns(&artifact(OciReference::Semver("^1".to_owned()))));
        assert!(!push.concerns(&artifact(OciReference::Tag("1.2.4".to_owned()))));
        assert!(!push.concerns(&artifact(OciReference::Digest("sha256:0".to_owned()))));
        let any =
            Push::from_generic(br#"{"url": "https://charts.example/stable"}"#).expect("a push");
        assert!(any.concerns(&chart("https://charts.example/stable/")));
    }

    #[test]
    fn what_is_no_push_is_refused() {
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"ref": 1}"#,
            br#"{"ref": "x", "repository": {}}"#,
        ] {
            Push::from_github("push", body).expect_err("no push");
        }
        Push::from_generic(br#"{"url": "x", "extra": 1}"#).expect_err("an unknown key");
        assert!(Push::from_github("ping", b"{}").expect("fine").is_none());
    }
}
