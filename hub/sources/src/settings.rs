//! What the hub allows its sources.

use std::{path::PathBuf, time::Duration};

use crate::AddressPolicy;

/// Settings of [`Sources`](crate::Sources).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Git repositories are cached and short-lived files of fetches are written. One process at a
    /// time may use it; it is made if it is not there.
    pub directory: PathBuf,
    /// Which addresses may be asked.
    pub addresses: AddressPolicy,
    /// How large what is fetched may be.
    pub limits: Limits,
    /// How long one fetch may take in all, without the wait for its turn.
    pub timeout: Duration,
    /// How many fetches go to one host at a time; others wait.
    pub fetches_per_host: usize,
    /// How many fetches are made at a time; others wait.
    pub fetches: usize,
    /// Largest size of all cached Git repositories together, in bytes; the least recently used go.
    pub git_cache_bytes: u64,
}

impl Settings {
    /// Returns the defaults with a directory: public addresses only, two minutes a fetch, two fetches a
    /// host, eight in all, 2 GiB of cached Git repositories.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            addresses: AddressPolicy::default(),
            limits: Limits::default(),
            timeout: Duration::from_secs(120),
            fetches_per_host: 2,
            fetches: 8,
            git_cache_bytes: 2 << 30,
        }
    }
}

/// How large what is fetched may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest `index.yaml` of a Helm repository, in bytes.
    pub index_bytes: u64,
    /// Largest archive, or blob of a registry, as it is sent, in bytes.
    pub archive_bytes: u64,
    /// Largest archive after inflation, with its headers, in bytes.
    pub inflated_bytes: u64,
    /// Largest content of all files of an artifact together, in bytes.
    pub content_bytes: u64,
    /// Most files of an artifact, and most entries of an archive.
    pub files: usize,
    /// Longest name of a file, in bytes.
    pub path_bytes: usize,
    /// Largest pack that a Git server may send, in bytes.
    pub git_pack_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            index_bytes: 64 << 20,
            archive_bytes: 32 << 20,
            inflated_bytes: 128 << 20,
            content_bytes: 64 << 20,
            files: 10_000,
            path_bytes: 1024,
            git_pack_bytes: 512 << 20,
        }
    }
}
