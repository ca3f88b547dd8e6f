//! Encryption of content that holds a Secret, with a key that is kept beside the database.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// First byte of everything that is sealed; a later scheme takes another.
const SCHEME: u8 = 1;

/// Seals and opens content with AES-256-GCM and a random nonce.
pub struct BlobCipher {
    key: RandomizedNonceKey,
}

/// A key or a sealed content that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CipherError {
    /// The key file cannot be read or made.
    #[error("failed to read the key file {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key file may be read by others.
    #[error(
        "failed to trust the key file {}: others may read it (mode {mode:04o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key file does not hold 32 bytes.
    #[error("failed to read the key file {}: it has {length} bytes and not 32", path.display())]
    KeyLength {
        /// The file.
        path: PathBuf,
        /// What it has.
        length: usize,
    },
    /// The system gave no randomness, or the cipher refused.
    #[error("failed to encrypt")]
    Seal,
    /// The content was sealed with another key, or was changed.
    #[error("failed to decrypt: another key sealed it, or it was changed")]
    Open,
}

impl BlobCipher {
    /// The cipher of a 32-byte key.
    ///
    /// # Panics
    /// Never: AES-256 takes every key of 32 bytes.
    #[must_use]
    pub fn from_key(key: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Self { key }
    }

    /// Reads the key from `path`; makes a new one there, readable by its owner alone, if the file
    /// does not exist.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or it does not hold 32 bytes.
    pub fn from_key_file(path: &Path) -> Result<Self, CipherError> {
        let failed = |source| CipherError::KeyFile {
            path: path.to_owned(),
            source,
        };
        match fs::metadata(path) {
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o7777;
                if mode & 0o077 != 0 {
                    return Err(CipherError::Permissions {
                        path: path.to_owned(),
                        mode,
                    });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path)?,
            Err(error) => return Err(failed(error)),
        }
        let bytes = fs::read(path).map_err(failed)?;
        let key: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| CipherError::KeyLength {
                path: path.to_owned(),
                length: bytes.len(),
            })?;
        Ok(Self::from_key(&key))
    }

    /// Seals `content`; `label` must be given again to open it.
    pub(crate) fn seal(&self, label: &[u8], mut content: Vec<u8>) -> Result<Vec<u8>, CipherError> {
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(label), &mut content)
            .map_err(|_| CipherError::Seal)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + content.len());
        sealed.push(SCHEME);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut content);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] sealed under the same label.
    pub(crate) fn open(&self, label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (scheme, rest) = sealed.split_first().ok_or(CipherError::Open)?;
        if *scheme != SCHEME || rest.len() < NONCE_LEN {
            return Err(CipherError::Open);
        }
        let (nonce, content) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CipherError::Open)?;
        let mut content = content.to_vec();
        let length = self
            .key
            .open_in_place(nonce, Aad::from(label), &mut content)
            .map_err(|_| CipherError::Open)?
            .len();
        content.truncate(length);
        Ok(content)
    }
}

/// Writes a new key whole or not at all: another hub may start at the same moment.
fn make_key(path: &Path) -> Result<(), CipherError> {
    let failed = |source| CipherError::KeyFile {
        path: path.to_owned(),
        source,
    };
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| CipherError::Seal)?;
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&key)?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    };
    let written = write();
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(failed)
}
