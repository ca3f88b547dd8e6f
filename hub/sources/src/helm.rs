//! Charts of Helm repositories, over HTTP or in a registry.

mod index;

use bytes::Bytes;
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::{
    Artifact, Credentials, SourceError,
    archive::{Packing, unpack},
    artifact::Tree,
    credentials::Tls,
    http::{Get, Http, host_of, shown},
    oci::{ChartReference, Oci},
    request::{parse_range, parse_url},
    settings::Limits,
    sources::aside,
    version::parse_version,
};

/// A chart to fetch, with what it takes to fetch it.
pub(crate) struct Charts<'a> {
    pub http: &'a Http,
    pub limits: &'a Limits,
    pub credentials: &'a Credentials,
}

/// Which chart of which repository.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub url: &'a str,
    pub chart: &'a str,
    pub version: &'a str,
}

/// Where the chosen version is.
enum Place {
    /// An archive, and the digest that the index promises, in hex.
    Archive { url: Url, sha256: Option<String> },
    /// A chart in a registry, and the digest of its archive.
    Registry {
        chart: ChartReference,
        sha256: Option<String>,
    },
}

impl Wanted<'_> {
    /// Checks what can be checked without asking anybody, and returns the host that is asked first.
    pub fn check(&self) -> Result<Url, SourceError> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.chart.is_empty() || self.chart.starts_with('.') || !self.chart.bytes().all(fine) {
            return Err(SourceError::Invalid {
                field: "chart",
                why: "it is the name of a chart: letters, digits, -, _ and .".to_owned(),
            });
        }
        if parse_version(self.version).is_none() {
            parse_range("version", self.version)?;
        }
        parse_url(self.url, &["https", "http", "oci"])
    }
}

impl Charts<'_> {
    /// Fetches a chart. The root of the artifact is the chart's own folder.
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Artifact, SourceError> {
        let (version, place) = self.choose(wanted).await?;
        match place {
            Place::Registry { chart, sha256 } => {
                let (manifest, archive) = self.oci(&chart).chart(&chart).await?;
                check_digest(wanted.chart, &archive, sha256.as_deref())?;
                let revision = format!("{version}@{manifest}");
                self.unpack(archive, revision).await
            }
            Place::Archive { url, sha256 } => {
                let archive = self.archive(wanted, &url).await?;
                let found = check_digest(wanted.chart, &archive, sha256.as_deref())?;
                let revision = format!("{version}@sha256:{found}");
                self.unpack(archive, revision).await
            }
        }
    }

    /// Returns the revision that a fetch would have. Only a repository whose index promises no digest is
    /// asked for the archive.
    pub async fn resolve(&self, wanted: Wanted<'_>) -> Result<String, SourceError> {
        let (version, place) = self.choose(wanted).await?;
        match place {
            Place::Registry { chart, .. } => {
                let manifest = self.oci(&chart).chart_digest(&chart).await?;
                Ok(format!("{version}@{manifest}"))
            }
            Place::Archive {
                sha256: Some(promised),
                ..
            } => Ok(format!("{version}@sha256:{promised}")),
            Place::Archive { url, sha256: None } => {
                let archive = self.archive(wanted, &url).await?;
                let found = check_digest(wanted.chart, &archive, None)?;
                Ok(format!("{version}@sha256:{found}"))
            }
        }
    }

    async fn unpack(&self, archive: Bytes, revision: String) -> Result<Artifact, SourceError> {
        let limits = self.limits.clone();
        aside("unpack a chart", move || {
            chart_of(&archive, revision, &limits)
        })
        .await
    }

    /// Credentials are for the repository's own host: a chart that its index has elsewhere is public.
    fn oci(&self, chart: &ChartReference) -> Oci<'_> {
        Oci {
            http: self.http,
            limits: self.limits,
            credentials: if chart.foreign {
                None
            } else {
                Some(self.credentials)
            },
        }
    }

    async fn choose(&self, wanted: Wanted<'_>) -> Result<(String, Place), SourceError> {
        let url = wanted.check()?;
        if url.scheme() == "oci" {
            return self.choose_in_registry(&url, wanted).await;
        }
        let mut base = url;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let not_found = || SourceError::NotFound {
            what: format!(
                "the chart {} in version {} in {}",
                wanted.chart,
                wanted.version,
                shown(&base)
            ),
        };
        let mut entries = self.index(&base).await?;
        let entries = entries
            .remove(wanted.chart)
            .ok_or_else(|| SourceError::NotFound {
                what: format!("the chart {} in {}", wanted.chart, shown(&base)),
            })?;
        let entry = index::select(&entries, wanted.version)?.ok_or_else(not_found)?;
        let place = place_of(&base, wanted.chart, entry)?;
        Ok((entry.version.clone(), place))
    }

    async fn choose_in_registry(
        &self,
        url: &Url,
        wanted: Wanted<'_>,
    ) -> Result<(String, Place), SourceError> {
        let mut chart = ChartReference::of(url, wanted.chart, wanted.version);
        if parse_version(wanted.version).is_none() {
            let range = parse_range("version", wanted.version)?;
            chart.version = self.oci(&chart).highest_chart(&chart, &range).await?;
        }
        let version = chart.version.clone();
        let sha256 = None;
        Ok((version, Place::Registry { chart, sha256 }))
    }

    async fn index(&self, base: &Url) -> Result<index::Entries, SourceError> {
        let what = format!("index.yaml of {}", shown(base));
        let authorization = self.credentials.authorization();
        let get = Get {
            url: base.join("index.yaml").expect("a name joins any folder"),
            accept: None,
            authorization: authorization.as_ref(),
            tls: self.credentials.tls(),
            limit_bytes: self.limits.index_bytes,
            what: &what,
        };
        let body = self.http.get(get).await?.success(&what)?;
        let limit = self.limits.index_bytes;
        let read =
            move || index::read(&body, limit).map_err(|why| SourceError::Malformed { what, why });
        aside("read an index", read).await
    }

    async fn archive(&self, wanted: Wanted<'_>, url: &Url) -> Result<Bytes, SourceError> {
        let ours = parse_url(wanted.url, &["https", "http"])?.origin() == url.origin();
        let what = format!("the chart {} at {}", wanted.chart, shown(url));
        let authorization = self.credentials.authorization();
        let get = Get {
            url: url.clone(),
            accept: None,
            authorization: authorization.as_ref().filter(|_| ours),
            tls: if ours {
                self.credentials.tls()
            } else {
                Tls::default()
            },
            limit_bytes: self.limits.archive_bytes,
            what: &what,
        };
        self.http.get(get).await?.success(&what)
    }
}

/// Returns where a version is: relative to the repository, elsewhere over HTTP, or in a registry.
fn place_of(base: &Url, chart: &str, entry: &index::Entry) -> Result<Place, SourceError> {
    let malformed = |why: &str| SourceError::Malformed {
        what: format!("the chart {chart} {} in {}", entry.version, shown(base)),
        why: why.to_owned(),
    };
    let sha256 = match entry.digest.as_deref() {
        None | Some("") => None,
        Some(digest) => {
            Some(sha256_hex(digest).ok_or_else(|| malformed("its digest is none of SHA-256"))?)
        }
    };
    let first = entry
        .urls
        .first()
        .ok_or_else(|| malformed("it has no URL"))?;
    let url = base.join(first).map_err(|_| malformed("its URL is none"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("its URL has credentials in it"));
    }
    match url.scheme() {
        "oci" => {
            let mut chart = ChartReference::of_index(&url, &entry.version);
            chart.foreign = host_of(&url) != host_of(base);
            Ok(Place::Registry { chart, sha256 })
        }
        "https" | "http" => Ok(Place::Archive { url, sha256 }),
        _ => Err(malformed("its URL is none of https:// or oci://")),
    }
}

fn sha256_hex(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    let fits = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| hex.to_ascii_lowercase())
}

/// Returns the digest of an archive in hex, which is the promised one if there is a promise.
fn check_digest(
    chart: &str,
    archive: &[u8],
    promised: Option<&str>,
) -> Result<String, SourceError> {
    let found = hex::encode(Sha256::digest(archive));
    match promised {
        Some(promised) if promised != found => Err(SourceError::DigestMismatch {
            what: format!("the archive of the chart {chart}"),
            expected: format!("sha256:{promised}"),
            found: format!("sha256:{found}"),
        }),
        _ => Ok(found),
    }
}

/// Reads the archive of a chart: one folder with `Chart.yaml`, which becomes the root.
pub(crate) fn chart_of(
    archive: &[u8],
    revision: String,
    limits: &Limits,
) -> Result<Artifact, SourceError> {
    let what = "the archive of the chart";
    let mut tree = Tree::new(limits);
    unpack(what, archive, Packing::TarGzip, limits, &mut tree)?;
    let root = tree.only_directory().unwrap_or_default();
    let artifact = tree.into_artifact(revision, &root)?;
    let is_chart = artifact.files.iter().any(|file| file.path == "Chart.yaml");
    if root.is_empty() || !is_chart {
        return Err(SourceError::Malformed {
            what: what.to_owned(),
            why: "it is not one folder with a Chart.yaml".to_owned(),
        });
    }
    Ok(artifact)
}
