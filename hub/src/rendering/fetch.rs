use bellwether_api::{
    application::Component,
    source::{GitSource, OciSource, RenderedSource},
};
use futures::future::BoxFuture;

use super::{Artifact, FetchError};

/// What is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A chart of a repository.
    Chart {
        /// The repository, `https://…` or `oci://…`.
        repository: String,
        /// The chart.
        chart: String,
        /// Exact version or range.
        version: String,
    },
    /// Files of a Git repository; `path` is the folder whose files are wanted.
    Git(GitSource),
    /// Files of an OCI artifact; `path` is the folder whose files are wanted.
    Oci(OciSource),
}

impl Wanted {
    /// What a component is made of; absent = it is written inline.
    #[must_use]
    pub fn of(component: &Component) -> Option<Self> {
        Some(match component.rendered_source()? {
            RenderedSource::Git(source) => Self::Git(source.clone()),
            RenderedSource::Oci(source) => Self::Oci(source.clone()),
            RenderedSource::Kustomize(source) => match (&source.git, &source.oci) {
                (Some(source), _) => Self::Git(source.clone()),
                (None, Some(source)) => Self::Oci(source.clone()),
                (None, None) => return None,
            },
            RenderedSource::Helm(helm) => match (&helm.git, &helm.repository) {
                (Some(source), _) => Self::Git(source.clone()),
                (None, Some(repository)) => Self::Chart {
                    repository: repository.clone(),
                    chart: helm.chart.clone().unwrap_or_default(),
                    version: helm.version.clone().unwrap_or_default(),
                },
                (None, None) => return None,
            },
        })
    }
}

impl Wanted {
    /// Names what must mean the same for ever; absent = it may move.
    #[must_use]
    pub fn fixed_name(&self) -> Option<String> {
        match self {
            Self::Chart { chart, version, .. } => {
                let exact = semver::Version::parse(version.trim_start_matches('v')).is_ok();
                exact.then(|| format!("version {version} of chart {chart}"))
            }
            Self::Git(source) => source.tag.as_ref().map(|tag| format!("tag {tag}")),
            Self::Oci(_) => None,
        }
    }

    /// Tells whether it is content itself that is named: there is nothing to look for again.
    #[must_use]
    pub const fn is_content(&self) -> bool {
        match self {
            Self::Chart { .. } => false,
            Self::Git(source) => source.commit.is_some(),
            Self::Oci(source) => source.digest.is_some(),
        }
    }
}

/// Fetches what components are made of.
pub trait Fetch: Send + Sync {
    /// Fetches the files and says what they are.
    fn fetch<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Artifact, FetchError>>;
}

/// A hub that fetches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Fetch for NoSources {
    fn fetch<'a>(&'a self, _: &'a Wanted) -> BoxFuture<'a, Result<Artifact, FetchError>> {
        Box::pin(async {
            Err(FetchError {
                reason: "NotSupported".to_owned(),
                message: "this hub fetches no sources".to_owned(),
            })
        })
    }
}
