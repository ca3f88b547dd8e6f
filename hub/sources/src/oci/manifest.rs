//! Manifests, as far as they are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};

use crate::SourceError;

/// What is asked for when a manifest is.
pub(super) const MEDIA_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest, or an index of some.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    /// What an artifact consists of.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// What an index leads to.
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// Where content is, and what it must be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest.
    pub fn read(what: &str, body: &[u8]) -> Result<Self, SourceError> {
        let manifest: Self =
            serde_json::from_slice(body).map_err(|error| SourceError::Malformed {
                what: what.to_owned(),
                why: error.to_string(),
            })?;
        let descriptors = manifest.layers.iter().chain(&manifest.manifests);
        for descriptor in descriptors {
            if algorithm(&descriptor.digest).is_none() {
                return Err(SourceError::Malformed {
                    what: what.to_owned(),
                    why: "a digest in it is neither of SHA-256 nor of SHA-512".to_owned(),
                });
            }
        }
        Ok(manifest)
    }

    /// Returns the one manifest that an index leads to; none if this is no index.
    ///
    /// # Errors
    ///
    /// If it leads to several: which is meant is not known.
    pub fn only_manifest(&self, at: &str) -> Result<Option<&str>, SourceError> {
        match self.manifests.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(&only.digest)),
            several => Err(SourceError::Unsupported {
                what: format!("an index of {} manifests at {at}", several.len()),
                why: "name the digest of the one that is meant".to_owned(),
            }),
        }
    }
}

#[derive(Clone, Copy)]
enum Algorithm {
    Sha256,
    Sha512,
}

fn algorithm(digest: &str) -> Option<Algorithm> {
    let (name, hex) = digest.split_once(':')?;
    let algorithm = match (name, hex.len()) {
        ("sha256", 64) => Algorithm::Sha256,
        ("sha512", 128) => Algorithm::Sha512,
        _ => return None,
    };
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    hex.bytes().all(is_hex).then_some(algorithm)
}

/// Tells whether a text is a digest.
pub(super) fn is_digest(text: &str) -> bool {
    algorithm(text).is_some()
}

/// Refuses content that is not what its digest says.
pub(super) fn check(what: &str, digest: &str, content: &[u8]) -> Result<(), SourceError> {
    let found = match algorithm(digest) {
        Some(Algorithm::Sha512) => format!("sha512:{}", hex::encode(Sha512::digest(content))),
        _ => sha256(content),
    };
    if found == digest {
        return Ok(());
    }
    Err(SourceError::DigestMismatch {
        what: what.to_owned(),
        expected: digest.to_owned(),
        found,
    })
}

pub(super) fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}
