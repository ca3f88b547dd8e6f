//! What is tested: sources that may ask this machine.

use std::collections::BTreeMap;

use bellwether_sources::{Credentials, Settings, Source, SourceError, SourceRequest, Sources};
use tempfile::TempDir;

pub struct Subject {
    pub sources: Sources,
    pub directory: TempDir,
}

/// Opens sources that may ask this machine, also over plain HTTP.
pub fn subject() -> Subject {
    subject_with(|_| {})
}

pub fn subject_with(change: impl FnOnce(&mut Settings)) -> Subject {
    // Another test may have done so.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::new(directory.path().to_owned());
    settings.addresses.allowed_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    settings.addresses.plain_http_hosts = vec!["127.0.0.1".to_owned()];
    change(&mut settings);
    Subject {
        sources: Sources::open(settings).expect("sources"),
        directory,
    }
}

impl Subject {
    pub async fn refusal(&self, request: &SourceRequest) -> SourceError {
        let fetched = self.sources.fetch(request).await;
        let fetched = fetched.map(|artifact| artifact.revision);
        let error = fetched.expect_err("it must be refused");
        let resolved = self.sources.resolve(request).await;
        if let Err(resolved) = resolved {
            assert_eq!(resolved.reason(), error.reason(), "{resolved} or {error}");
        }
        error
    }
}

pub fn with(source: Source, entries: &[(&str, &str)]) -> SourceRequest {
    let entries: BTreeMap<String, Vec<u8>> = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect();
    SourceRequest {
        credentials: Credentials::from_entries(&entries).expect("credentials"),
        ..SourceRequest::new(source)
    }
}

/// The names of an artifact's files.
pub fn paths(artifact: &bellwether_sources::Artifact) -> Vec<&str> {
    artifact
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect()
}
