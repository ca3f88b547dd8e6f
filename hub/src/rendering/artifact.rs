use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A source pinned to what was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// As people read it: a version, a commit, a digest.
    pub revision: String,
    /// Digest of the tree of files, `sha256:…`.
    pub digest: String,
    /// The files.
    pub files: Vec<ArtifactFile>,
}

/// One file of an [`Artifact`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFile {
    /// Where it is: relative, separated by `/`, without `.` and `..`.
    pub path: String,
    /// What is in it.
    pub contents: Bytes,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// A file as it is stored and as the renderer reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredFile {
    pub path: String,
    /// Base64.
    pub contents: String,
}

impl Artifact {
    /// The files as they are stored: JSON.
    pub(super) fn stored(&self) -> Vec<u8> {
        let files: Vec<StoredFile> = self
            .files
            .iter()
            .map(|file| StoredFile {
                path: file.path.clone(),
                contents: STANDARD.encode(&file.contents),
            })
            .collect();
        serde_json::to_vec(&files).expect("texts always serialise")
    }
}
