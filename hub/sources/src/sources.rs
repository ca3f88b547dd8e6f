//! Fetches sources, each in its turn and within its time.

use std::{sync::Arc, time::Duration};

use crate::{
    Artifact, Pinned, Source, SourceError, SourceRequest,
    git::{self, GitStore},
    helm::{self, Charts},
    hosts::Hosts,
    http::{Http, host_of},
    oci::{self, Oci},
    settings::{Limits, Settings},
};

/// Fetches sources.
#[derive(Debug)]
pub struct Sources {
    http: Http,
    git: GitStore,
    limits: Limits,
    hosts: Hosts,
    timeout: Duration,
}

impl Sources {
    /// Opens the directory of the settings, which no other process may use at the same time. The
    /// process must have installed its TLS provider.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, or TLS cannot be prepared.
    pub fn open(settings: Settings) -> Result<Self, SourceError> {
        let policy = Arc::new(settings.addresses.clone());
        Ok(Self {
            http: Http::new(Arc::clone(&policy))?,
            git: GitStore::open(&settings, policy)?,
            hosts: Hosts::new(settings.fetches, settings.fetches_per_host),
            timeout: settings.timeout,
            limits: settings.limits,
        })
    }

    /// Fetches a source, with its contents.
    ///
    /// # Errors
    ///
    /// Why it could not be fetched, without anything secret. It is not tried again here.
    pub async fn fetch(&self, request: &SourceRequest) -> Result<Artifact, SourceError> {
        let fetched = self.within(request, self.fetch_now(request)).await?;
        let previous = request.previous.as_deref();
        request.source.refuse_moved(previous, &fetched.revision)?;
        Ok(fetched)
    }

    /// Says which revision a source is now, without its contents where the protocol allows that.
    ///
    /// # Errors
    ///
    /// Why that could not be found out, as for [`Sources::fetch`].
    pub async fn resolve(&self, request: &SourceRequest) -> Result<Pinned, SourceError> {
        let revision = self.within(request, self.resolve_now(request)).await?;
        let previous = request.previous.as_deref();
        request.source.refuse_moved(previous, &revision)?;
        Ok(Pinned { revision })
    }

    /// Checks a request without asking anybody: what a document says can be refused when it comes in.
    ///
    /// # Errors
    ///
    /// What is not valid, by its field.
    pub fn check(&self, request: &SourceRequest) -> Result<(), SourceError> {
        self.host(&request.source).map(drop)
    }

    async fn within<T>(
        &self,
        request: &SourceRequest,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let host = self.host(&request.source)?;
        let _turn = self.hosts.turn(&host).await;
        tokio::time::timeout(self.timeout, work)
            .await
            .map_err(|_| SourceError::TimedOut {
                host,
                after_s: self.timeout.as_secs(),
            })?
    }

    fn host(&self, source: &Source) -> Result<String, SourceError> {
        match Wanted::of(source) {
            Wanted::Chart(wanted) => Ok(host_of(&wanted.check()?)),
            Wanted::Oci(wanted) => Ok(host_of(&wanted.check(&self.limits)?)),
            Wanted::Git(wanted) => Ok(wanted.check(&self.limits)?.host_and_port()),
        }
    }

    async fn fetch_now(&self, request: &SourceRequest) -> Result<Artifact, SourceError> {
        match Wanted::of(&request.source) {
            Wanted::Chart(wanted) => self.charts(request).fetch(wanted).await,
            Wanted::Oci(wanted) => self.oci(request).fetch(wanted).await,
            Wanted::Git(wanted) => self.git.fetch(wanted, &request.credentials).await,
        }
    }

    async fn resolve_now(&self, request: &SourceRequest) -> Result<String, SourceError> {
        match Wanted::of(&request.source) {
            Wanted::Chart(wanted) => self.charts(request).resolve(wanted).await,
            Wanted::Oci(wanted) => self.oci(request).resolve(wanted).await,
            Wanted::Git(wanted) => self.git.resolve(wanted, &request.credentials).await,
        }
    }

    fn charts<'a>(&'a self, request: &'a SourceRequest) -> Charts<'a> {
        Charts {
            http: &self.http,
            limits: &self.limits,
            credentials: &request.credentials,
        }
    }

    fn oci<'a>(&'a self, request: &'a SourceRequest) -> Oci<'a> {
        Oci {
            http: &self.http,
            limits: &self.limits,
            credentials: Some(&request.credentials),
        }
    }
}

/// What a source wants, as the protocol that fetches it takes it.
enum Wanted<'a> {
    Chart(helm::Wanted<'a>),
    Oci(oci::Wanted<'a>),
    Git(git::Wanted<'a>),
}

impl<'a> Wanted<'a> {
    fn of(source: &'a Source) -> Self {
        match source {
            Source::HelmRepository {
                url,
                chart,
                version,
            } => Self::Chart(helm::Wanted {
                url,
                chart,
                version,
            }),
            Source::Oci {
                url,
                reference,
                path,
            } => Self::Oci(oci::Wanted {
                url,
                reference,
                path,
            }),
            Source::Git {
                url,
                reference,
                path,
            } => Self::Git(git::Wanted {
                url,
                reference,
                path,
            }),
        }
    }
}

/// Does work that takes a processor for a while where it holds nobody up.
pub(crate) async fn aside<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SourceError::Local {
        doing,
        source: std::io::Error::other(error),
    })?
}
