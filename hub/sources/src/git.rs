//! Trees of Git repositories, fetched by the program `git`.
//!
//! Nothing is checked out: hooks, filters, attributes and submodules have no occasion to act. Files are
//! read from Git's own store by their digest.

mod cache;
mod command;
mod failure;
mod location;
mod refs;
mod ssh;
mod tree;

use std::{path::Path, sync::Arc};

use crate::{
    AddressPolicy, Artifact, Credentials, GitReference, SourceError,
    request::{parse_path, parse_range},
    settings::{Limits, Settings},
    version::parse_version,
};

use cache::Cache;
use command::{Git, Session};
use location::Location;
use refs::Refs;

/// Git repositories, with what was fetched of them before.
#[derive(Debug)]
pub(crate) struct GitStore {
    policy: Arc<AddressPolicy>,
    limits: Limits,
    cache: Cache,
    /// How long one run of `git` may take, in seconds.
    timeout_s: u64,
}

/// Which tree of which repository.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub url: &'a str,
    pub reference: &'a GitReference,
    pub path: &'a str,
}

/// A commit, and how it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// The tag that it was chosen by, for revisions.
    tag: Option<String>,
    commit: String,
    /// What the server calls by a name: the commit, or a tag's own object; none if it may call it by none.
    advertised: Option<String>,
}

impl Target {
    fn revision(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{tag}@{}", self.commit),
            None => self.commit.clone(),
        }
    }
}

impl Wanted<'_> {
    /// Checks what can be checked without asking anybody.
    pub fn check(&self, limits: &Limits) -> Result<Location, SourceError> {
        let location = Location::parse(self.url)?;
        parse_path(self.path, limits)?;
        match self.reference {
            GitReference::Branch(name) => refs::check_name("branch", name)?,
            GitReference::Tag(name) => refs::check_name("tag", name)?,
            GitReference::Semver(range) => {
                parse_range("semver", range)?;
            }
            GitReference::Commit(commit) => refs::check_commit(commit)?,
        }
        Ok(location)
    }
}

impl GitStore {
    pub fn open(settings: &Settings, policy: Arc<AddressPolicy>) -> Result<Self, SourceError> {
        Ok(Self {
            policy,
            limits: settings.limits.clone(),
            cache: Cache::open(&settings.directory, settings.git_cache_bytes)?,
            timeout_s: settings.timeout.as_secs().max(1),
        })
    }

    /// Fetches a tree.
    pub async fn fetch(
        &self,
        wanted: Wanted<'_>,
        credentials: &Credentials,
    ) -> Result<Artifact, SourceError> {
        let location = wanted.check(&self.limits)?;
        let path = parse_path(wanted.path, &self.limits)?;
        let session = self.session(&location, credentials).await?;
        let target = self.target(&session, wanted.reference).await?;
        let key = cache::key(wanted.url, credentials, &target.commit);
        let repository = self.cache.repository(key).await?;
        let bring = || self.bring_and_read(&session, repository.path(), &target, &path);
        let mut result = bring().await;
        if result.as_ref().is_err_and(is_broken) && repository.was_there() {
            // A process that was killed may have left half of something. Nothing in a cache is precious.
            repository.clear()?;
            result = bring().await;
        }
        if result.as_ref().is_err_and(|error| !is_absence(error)) {
            // Nor is what a refused fetch has brought.
            repository.clear()?;
        }
        drop(repository);
        self.cache.evict()?;
        result
    }

    async fn bring_and_read(
        &self,
        session: &Session,
        repository: &Path,
        target: &Target,
        path: &str,
    ) -> Result<Artifact, SourceError> {
        let git = session.git(&self.limits);
        self.bring(&git, repository, session, target).await?;
        let within = tree::Within {
            commit: &target.commit,
            path,
        };
        tree::read(&git, repository, within, target.revision(), &self.limits).await
    }

    /// Returns the revision that a fetch would have.
    pub async fn resolve(
        &self,
        wanted: Wanted<'_>,
        credentials: &Credentials,
    ) -> Result<String, SourceError> {
        let location = wanted.check(&self.limits)?;
        let session = self.session(&location, credentials).await?;
        Ok(self.target(&session, wanted.reference).await?.revision())
    }

    async fn session(
        &self,
        location: &Location,
        credentials: &Credentials,
    ) -> Result<Session, SourceError> {
        Session::open(
            &self.policy,
            location,
            credentials,
            self.cache.scratch(),
            self.timeout_s,
        )
        .await
    }

    async fn target(
        &self,
        session: &Session,
        reference: &GitReference,
    ) -> Result<Target, SourceError> {
        let not_found = |what: String| SourceError::NotFound {
            what: format!("{what} in {}", session.shown()),
        };
        let git = session.git(&self.limits);
        match reference {
            GitReference::Commit(commit) => Ok(Target {
                tag: None,
                commit: commit.clone(),
                advertised: None,
            }),
            GitReference::Branch(branch) => {
                let name = format!("refs/heads/{branch}");
                let refs = Refs::ask(&git, session, &[&name]).await?;
                let commit = refs
                    .get(&name)
                    .ok_or_else(|| not_found(format!("the branch {branch}")))?;
                Ok(Target {
                    tag: None,
                    commit: commit.to_owned(),
                    advertised: Some(commit.to_owned()),
                })
            }
            GitReference::Tag(tag) => {
                let name = format!("refs/tags/{tag}");
                let refs = Refs::ask(&git, session, &[&name, &format!("{name}^{{}}")]).await?;
                refs.tag(tag)
                    .ok_or_else(|| not_found(format!("the tag {tag}")))
            }
            GitReference::Semver(range) => {
                let range = parse_range("semver", range)?;
                let refs = Refs::ask(&git, session, &["refs/tags/*"]).await?;
                let versions = refs.tags().filter(|tag| parse_version(tag).is_some());
                let tag = range
                    .highest(versions)
                    .ok_or_else(|| not_found(format!("a tag within {range}")))?;
                refs.tag(tag)
                    .ok_or_else(|| not_found(format!("the tag {tag}")))
            }
        }
    }

    /// Brings a commit into a repository, if it is not there.
    async fn bring(
        &self,
        git: &Git<'_>,
        repository: &Path,
        session: &Session,
        target: &Target,
    ) -> Result<(), SourceError> {
        if !repository.join("HEAD").exists() {
            let format = if target.commit.len() == 64 {
                "sha256"
            } else {
                "sha1"
            };
            let directory = repository.as_os_str();
            let format = format!("--object-format={format}");
            git.run(&[
                "init".as_ref(),
                "--bare".as_ref(),
                "--quiet".as_ref(),
                "--template=".as_ref(),
                format.as_ref(),
                directory,
            ])
            .await?;
        }
        if tree::has_commit(git, repository, &target.commit).await? {
            return Ok(());
        }
        let asked = target.advertised.as_ref().unwrap_or(&target.commit);
        let refspec = format!("{asked}:refs/bellwether/{}", target.commit);
        let shallow = session
            .fetch(git, repository, &["--depth=1"], &[&refspec])
            .await;
        match shallow {
            // Some servers hand out only what has a name: then all of that is fetched.
            Err(SourceError::NotFound { .. }) if target.advertised.is_none() => {
                let all = [
                    "+refs/heads/*:refs/bellwether/heads/*",
                    "+refs/tags/*:refs/bellwether/tags/*",
                ];
                session
                    .fetch(git, repository, &["--depth=2147483647"], &all)
                    .await?;
            }
            other => other?,
        }
        if tree::has_commit(git, repository, &target.commit).await? {
            return Ok(());
        }
        Err(SourceError::NotFound {
            what: format!("the commit {} in {}", target.commit, session.shown()),
        })
    }
}

/// Tells whether a fetch went well and what was wanted is not there.
fn is_absence(error: &SourceError) -> bool {
    matches!(error, SourceError::NotFound { .. })
}

/// Tells whether a failure may come from what is cached.
fn is_broken(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::Malformed { .. } | SourceError::Local { .. }
    )
}
