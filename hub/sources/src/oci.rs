//! Artifacts of OCI registries: charts, archives, and files.

mod challenge;
mod layers;
mod manifest;
mod registry;

use bytes::Bytes;
use reqwest::Url;

use crate::{
    Artifact, Credentials, OciReference, SourceError, VersionRange,
    http::Http,
    request::{parse_path, parse_range, parse_url},
    settings::Limits,
    sources::aside,
};

use manifest::{Manifest, is_digest};
use registry::Registry;

/// What it takes to ask a registry.
pub(crate) struct Oci<'a> {
    pub http: &'a Http,
    pub limits: &'a Limits,
    /// None for what somebody else than the user pointed at.
    pub credentials: Option<&'a Credentials>,
}

/// A chart in a registry.
#[derive(Clone, Debug)]
pub(crate) struct ChartReference {
    url: Url,
    /// Its version, as the chart has it.
    pub version: String,
    /// Whether it is somewhere else than the user said.
    pub foreign: bool,
}

impl ChartReference {
    /// A chart below the URL of a repository.
    pub fn of(repository: &Url, chart: &str, version: &str) -> Self {
        let mut url = repository.clone();
        url.set_path(&format!(
            "{}/{chart}",
            repository.path().trim_end_matches('/')
        ));
        Self {
            url,
            version: version.to_owned(),
            foreign: false,
        }
    }

    /// A chart as an index has it: with its tag, which is the version.
    pub fn of_index(url: &Url, version: &str) -> Self {
        let mut url = url.clone();
        if let Some((path, _tag)) = url.path().to_owned().rsplit_once(':') {
            url.set_path(path);
        }
        Self {
            url,
            version: version.to_owned(),
            foreign: true,
        }
    }
}

/// Which artifact of which repository.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub url: &'a str,
    pub reference: &'a OciReference,
    pub path: &'a str,
}

impl Wanted<'_> {
    /// Checks what can be checked without asking anybody.
    pub fn check(&self, limits: &Limits) -> Result<Url, SourceError> {
        let url = parse_url(self.url, &["oci"])?;
        if url.path().contains(['@', ':']) {
            return Err(SourceError::Invalid {
                field: "url",
                why: "it has a tag or a digest in it; give them as tag, semver or digest"
                    .to_owned(),
            });
        }
        parse_path(self.path, limits)?;
        match self.reference {
            OciReference::Tag(tag) => {
                let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(fine) {
                    let why = "a tag has letters, digits, -, _ and ., at most 128".to_owned();
                    return Err(SourceError::Invalid { field: "tag", why });
                }
            }
            OciReference::Semver(range) => {
                parse_range("semver", range)?;
            }
            OciReference::Digest(digest) => {
                if !is_digest(digest) {
                    let why = "it is sha256: and 64 hexadecimal digits".to_owned();
                    return Err(SourceError::Invalid {
                        field: "digest",
                        why,
                    });
                }
            }
        }
        Ok(url)
    }
}

impl Oci<'_> {
    /// Fetches an artifact.
    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Artifact, SourceError> {
        let registry = self.registry(&wanted.check(self.limits)?)?;
        let (name, reference) = self.choose(&registry, wanted).await?;
        let (digest, manifest) = self.manifest(&registry, &reference).await?;
        let mut blobs = Vec::new();
        let mut bytes: u64 = 0;
        for layer in layers::wanted(&manifest)? {
            bytes = bytes.saturating_add(layer.descriptor.size);
            self.refuse_large(&registry, bytes)?;
            blobs.push(registry.blob(layer.descriptor).await?);
        }
        let path = parse_path(wanted.path, self.limits)?;
        let revision = revision_of(name, &digest);
        let limits = self.limits.clone();
        aside("unpack an artifact", move || {
            layers::unpack(&manifest, &blobs, revision, &path, &limits)
        })
        .await
    }

    /// Returns the revision that a fetch would have.
    pub async fn resolve(&self, wanted: Wanted<'_>) -> Result<String, SourceError> {
        let registry = self.registry(&wanted.check(self.limits)?)?;
        let (name, reference) = self.choose(&registry, wanted).await?;
        let (digest, _) = self.manifest(&registry, &reference).await?;
        Ok(revision_of(name, &digest))
    }

    /// Returns the digest of a chart's manifest, and its archive.
    pub async fn chart(&self, chart: &ChartReference) -> Result<(String, Bytes), SourceError> {
        let registry = self.registry(&chart.url)?;
        let (digest, manifest) = self.manifest(&registry, &chart.tag()).await?;
        let layers = layers::wanted(&manifest)?;
        let [layer] = layers.as_slice() else {
            return Err(no_chart(&registry));
        };
        if !layer.is_chart() {
            return Err(no_chart(&registry));
        }
        self.refuse_large(&registry, layer.descriptor.size)?;
        Ok((digest, registry.blob(layer.descriptor).await?))
    }

    /// Returns the digest of a chart's manifest.
    pub async fn chart_digest(&self, chart: &ChartReference) -> Result<String, SourceError> {
        let registry = self.registry(&chart.url)?;
        let (digest, _) = self.manifest(&registry, &chart.tag()).await?;
        Ok(digest)
    }

    /// Returns the highest version of a chart within a range.
    pub async fn highest_chart(
        &self,
        chart: &ChartReference,
        range: &VersionRange,
    ) -> Result<String, SourceError> {
        let registry = self.registry(&chart.url)?;
        Ok(untagged(&highest(&registry, range).await?))
    }

    fn refuse_large(&self, registry: &Registry<'_>, bytes: u64) -> Result<(), SourceError> {
        if bytes <= self.limits.archive_bytes {
            return Ok(());
        }
        Err(SourceError::TooLarge {
            what: format!("the artifact at {}", registry.name()),
            limit: format!("{} bytes", self.limits.archive_bytes),
        })
    }

    fn registry(&self, url: &Url) -> Result<Registry<'_>, SourceError> {
        Registry::new(self.http, self.limits, self.credentials, url)
    }

    /// Returns the name that revisions have, if any, and the reference to ask for.
    async fn choose<'r>(
        &self,
        registry: &Registry<'_>,
        wanted: Wanted<'r>,
    ) -> Result<(Option<String>, String), SourceError> {
        match wanted.reference {
            OciReference::Tag(tag) => Ok((Some(tag.clone()), tag.clone())),
            OciReference::Digest(digest) => Ok((None, digest.clone())),
            OciReference::Semver(range) => {
                let range = parse_range("semver", range)?;
                let tag = highest(registry, &range).await?;
                Ok((Some(untagged(&tag)), tag))
            }
        }
    }

    /// Returns the manifest of a reference, also through an index that has but one.
    async fn manifest(
        &self,
        registry: &Registry<'_>,
        reference: &str,
    ) -> Result<(String, Manifest), SourceError> {
        let (digest, manifest) = registry.manifest(reference).await?;
        let Some(only) = manifest.only_manifest(registry.name())? else {
            return Ok((digest, manifest));
        };
        let (digest, manifest) = registry.manifest(only).await?;
        if manifest.only_manifest(registry.name())?.is_some() {
            return Err(SourceError::Unsupported {
                what: format!("an index of indexes at {}", registry.name()),
                why: "name the digest of a manifest".to_owned(),
            });
        }
        Ok((digest, manifest))
    }
}

impl ChartReference {
    /// Tags have no `+`: Helm writes `_` for it.
    fn tag(&self) -> String {
        self.version.replace('+', "_")
    }
}

fn untagged(tag: &str) -> String {
    tag.replace('_', "+")
}

async fn highest(registry: &Registry<'_>, range: &VersionRange) -> Result<String, SourceError> {
    let tags = registry.tags().await?;
    let versions: Vec<String> = tags.iter().map(|tag| untagged(tag)).collect();
    range
        .highest(versions.iter().map(String::as_str))
        .map(|version| version.replace('+', "_"))
        .ok_or_else(|| SourceError::NotFound {
            what: format!(
                "a version within {range} among the tags of {}",
                registry.name()
            ),
        })
}

fn revision_of(name: Option<String>, digest: &str) -> String {
    match name {
        Some(name) => format!("{name}@{digest}"),
        None => digest.to_owned(),
    }
}

fn no_chart(registry: &Registry<'_>) -> SourceError {
    SourceError::Malformed {
        what: format!("the artifact at {}", registry.name()),
        why: "it is not a Helm chart; give it as oci instead of helm".to_owned(),
    }
}
