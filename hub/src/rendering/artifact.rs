use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_sources::Artifact;
use serde::{Deserialize, Serialize};

/// A file as it is stored and as the renderer reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredFile {
    pub path: String,
    /// Base64.
    pub contents: String,
}

/// The files of an artifact as they are stored: JSON.
pub(super) fn stored(artifact: &Artifact) -> Vec<u8> {
    let files: Vec<StoredFile> = artifact
        .files
        .iter()
        .map(|file| StoredFile {
            path: file.path.clone(),
            contents: STANDARD.encode(&file.contents),
        })
        .collect();
    serde_json::to_vec(&files).expect("texts always serialise")
}
