use bellwether_api::{
    application::Component,
    source::{GitSource, OciSource, RenderedSource},
};
use bellwether_sources::{
    Artifact, GitReference, OciReference, Source, SourceError, SourceRequest, Sources,
};
use futures::future::BoxFuture;

use super::FetchError;

/// What a look at a source found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The revision that was fetched before.
    Same,
    /// Something else.
    New(Artifact),
}

/// Fetches what components are made of.
pub trait Fetch: Send + Sync {
    /// Fetches a source unless it still is the revision that it was fetched as before.
    fn fetch<'a>(
        &'a self,
        request: &'a SourceRequest,
    ) -> BoxFuture<'a, Result<Fetched, FetchError>>;
}

impl Fetch for Sources {
    fn fetch<'a>(
        &'a self,
        request: &'a SourceRequest,
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async move {
            if request.previous.is_some() {
                let now = self.resolve(request).await.map_err(said)?;
                if Some(now.revision) == request.previous {
                    return Ok(Fetched::Same);
                }
            }
            Ok(Fetched::New(
                Sources::fetch(self, request).await.map_err(said)?,
            ))
        })
    }
}

fn said(error: SourceError) -> FetchError {
    FetchError {
        reason: error.reason().to_owned(),
        message: error.to_string(),
    }
}

/// Returns what a component is fetched from; absent = it is written inline, a program makes it, or it
/// says nothing.
#[must_use]
pub fn source_of(component: &Component) -> Option<Source> {
    match component.rendered_source()? {
        RenderedSource::Git(source) => git_source(source),
        RenderedSource::Oci(source) => oci(source),
        RenderedSource::Kustomize(source) => match (&source.git, &source.oci) {
            (Some(source), _) => git_source(source),
            (None, Some(source)) => oci(source),
            (None, None) => None,
        },
        RenderedSource::Helm(helm) => match (&helm.git, &helm.repository) {
            (Some(source), _) => git_source(source),
            (None, Some(repository)) => Some(Source::HelmRepository {
                url: repository.clone(),
                chart: helm.chart.clone().unwrap_or_default(),
                version: helm.version.clone().unwrap_or_default(),
            }),
            (None, None) => None,
        },
        RenderedSource::Plugin(_) => None,
    }
}

/// Tells whether it is content itself that is named: there is nothing to look for again.
#[must_use]
pub const fn is_content(source: &Source) -> bool {
    matches!(
        source,
        Source::Git {
            reference: GitReference::Commit(_),
            ..
        } | Source::Oci {
            reference: OciReference::Digest(_),
            ..
        }
    )
}

/// Returns what a Git source names; absent = it names no revision.
#[must_use]
pub fn git_source(source: &GitSource) -> Option<Source> {
    let named = |name: &Option<String>| name.clone();
    let reference = named(&source.branch)
        .map(GitReference::Branch)
        .or_else(|| named(&source.tag).map(GitReference::Tag))
        .or_else(|| named(&source.semver).map(GitReference::Semver))
        .or_else(|| named(&source.commit).map(GitReference::Commit))?;
    Some(Source::Git {
        url: source.url.clone(),
        reference,
        path: source.path.clone().unwrap_or_default(),
    })
}

fn oci(source: &OciSource) -> Option<Source> {
    let named = |name: &Option<String>| name.clone();
    let reference = named(&source.tag)
        .map(OciReference::Tag)
        .or_else(|| named(&source.semver).map(OciReference::Semver))
        .or_else(|| named(&source.digest).map(OciReference::Digest))?;
    Some(Source::Oci {
        url: source.url.clone(),
        reference,
        path: source.path.clone().unwrap_or_default(),
    })
}
