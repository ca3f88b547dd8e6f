//! Contents of units: zstd in Secrets of the agent's namespace, named by digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Mutex, PoisonError},
};

use bellwether_api::bundle::{MAX_CONTENT_BYTES, TooLarge};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use sha2::{Digest, Sha256};

/// The Secret type of stored blobs.
const BLOB_TYPE: &str = "bellwether.dev/blob";
/// The key within the Secret.
const BLOB_KEY: &str = "blob";

/// Why a blob is refused.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It does not unpack.
    #[error("failed to unpack blob {digest}")]
    Unpack {
        /// The digest in hex.
        digest: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than what is taken.
    #[error("failed to take blob {digest}")]
    TooLarge {
        /// The digest in hex.
        digest: String,
        /// By how much.
        #[source]
        source: TooLarge,
    },
    /// Its content has another digest.
    #[error("failed to match a blob to its digest {digest}")]
    Mismatch {
        /// The digest in hex that was promised.
        digest: String,
    },
}

/// The SHA-256 of a content.
#[must_use]
pub fn digest_of(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

/// Packs a content as it travels and is stored.
///
/// # Errors
/// The compressor fails, which only a lack of memory causes.
pub fn pack(content: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::stream::encode_all(content, 3)
}

/// Unpacks a blob that may be stored, and checks its size and digest.
pub(super) fn open(digest: &[u8; 32], zstd: &[u8]) -> Result<Vec<u8>, BlobError> {
    TooLarge::check_packed(zstd.len()).map_err(|source| BlobError::TooLarge {
        digest: hex::encode(digest),
        source,
    })?;
    unpack(digest, zstd)
}

/// Unpacks a blob and checks its digest.
pub(super) fn unpack(digest: &[u8; 32], zstd: &[u8]) -> Result<Vec<u8>, BlobError> {
    let name = || hex::encode(digest);
    let fail = |source| BlobError::Unpack {
        digest: name(),
        source,
    };
    let mut content = Vec::new();
    // One more than the limit tells that there is more, whatever a bomb would cost.
    zstd::stream::Decoder::new(zstd)
        .map_err(fail)?
        .take(MAX_CONTENT_BYTES as u64 + 1)
        .read_to_end(&mut content)
        .map_err(fail)?;
    TooLarge::check_content(content.len()).map_err(|source| BlobError::TooLarge {
        digest: name(),
        source,
    })?;
    if digest_of(&content) != *digest {
        return Err(BlobError::Mismatch { digest: name() });
    }
    Ok(content)
}

/// The Secrets that hold blobs.
pub(super) struct BlobStore {
    secrets: Api<Secret>,
    held: Mutex<Index>,
}

/// Names of Secrets.
#[derive(Default)]
struct Index {
    there: BTreeSet<String>,
    /// Their deletion began, and nobody has seen its end.
    perhaps: BTreeSet<String>,
}

impl BlobStore {
    pub(super) async fn load(client: kube::Client, namespace: &str) -> Result<Self, kube::Error> {
        let blobs = Self {
            secrets: Api::<Secret>::namespaced(client, namespace),
            held: Mutex::default(),
        };
        blobs.reload().await?;
        Ok(blobs)
    }

    /// Looks anew what there is.
    pub(super) async fn reload(&self) -> Result<(), kube::Error> {
        let params = ListParams::default().fields(&format!("type={BLOB_TYPE}"));
        let listed = self.secrets.list_metadata(&params).await?;
        let names = listed.items.into_iter();
        *self.held() = Index {
            there: names.filter_map(|secret| secret.metadata.name).collect(),
            perhaps: BTreeSet::new(),
        };
        Ok(())
    }

    pub(super) fn holds(&self, digest: &[u8; 32]) -> bool {
        self.held().there.contains(&secret_name(digest))
    }

    pub(super) async fn fetch(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, kube::Error> {
        let name = secret_name(digest);
        let secret = self.secrets.get_opt(&name).await?;
        if secret.is_none() {
            self.held().there.remove(&name);
        }
        Ok(secret
            .and_then(|secret| secret.data)
            .and_then(|mut data| data.remove(BLOB_KEY))
            .map(|bytes| bytes.0))
    }

    pub(super) async fn store(&self, digest: &[u8; 32], zstd: &[u8]) -> Result<(), kube::Error> {
        let name = secret_name(digest);
        if self.held().there.contains(&name) {
            return Ok(());
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(BLOB_TYPE.to_owned()),
            immutable: Some(true),
            data: Some(BTreeMap::from([(
                BLOB_KEY.to_owned(),
                ByteString(zstd.to_vec()),
            )])),
            ..Secret::default()
        };
        match self.secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        let mut held = self.held();
        held.perhaps.remove(&name);
        held.there.insert(name);
        Ok(())
    }

    /// Deletes every stored blob that is not `named`; a failure leaves it for the next time.
    pub(super) async fn collect(&self, named: &BTreeSet<[u8; 32]>) {
        let keep: BTreeSet<String> = named.iter().map(secret_name).collect();
        let unused: Vec<String> = {
            let mut held = self.held();
            // Whoever stores one of them from here on makes it anew: the answer may get lost.
            let names = std::mem::take(&mut held.there).into_iter();
            let (kept, unused): (BTreeSet<_>, BTreeSet<_>) =
                names.partition(|name| keep.contains(name));
            held.there = kept;
            held.perhaps.extend(unused);
            held.perhaps.difference(&keep).cloned().collect()
        };
        for name in unused {
            match self.secrets.delete(&name, &DeleteParams::default()).await {
                Ok(_) => {
                    self.held().perhaps.remove(&name);
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.held().perhaps.remove(&name);
                }
                Err(error) => tracing::warn!(%error, secret = name, "unused blob stays for now"),
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Index> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn secret_name(digest: &[u8; 32]) -> String {
    format!("bellwether-blob-{}", hex::encode(&digest[..20]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn unpack_gives_what_was_packed_and_checks_the_digest() {
        let digest = digest_of(b"content");
        let packed = pack(b"content").unwrap();
        assert_eq!(unpack(&digest, &packed).unwrap(), b"content");
        assert!(matches!(
            unpack(&[0; 32], &packed),
            Err(BlobError::Mismatch { .. })
        ));
        assert!(matches!(
            unpack(&digest, b"no zstd"),
            Err(BlobError::Unpack { .. })
        ));
    }

    #[test]
    fn bomb_is_refused_before_it_fills_memory() {
        let zeros = vec![0; MAX_CONTENT_BYTES + 10];
        let packed = pack(&zeros).unwrap();
        assert!(packed.len() < 10_000);
        assert!(matches!(
            unpack(&digest_of(&zeros), &packed),
            Err(BlobError::TooLarge {
                source: TooLarge::Content { .. },
                ..
            })
        ));
    }

    #[test]
    fn what_fits_no_secret_is_not_unpacked() {
        let packed = vec![0; bellwether_api::bundle::MAX_PACKED_BYTES + 1];
        assert!(matches!(
            open(&[0; 32], &packed),
            Err(BlobError::TooLarge {
                source: TooLarge::Packed { .. },
                ..
            })
        ));
        assert!(matches!(
            open(&[0; 32], &packed[1..]),
            Err(BlobError::Unpack { .. })
        ));
    }
}
