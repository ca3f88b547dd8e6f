//! Bare repositories that are kept between fetches, up to a size.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard};

use crate::{Credentials, SourceError};

/// Bare repositories of this process.
#[derive(Debug)]
pub(super) struct Cache {
    repositories: PathBuf,
    scratch: PathBuf,
    limit_bytes: u64,
    known: Mutex<BTreeMap<String, Kept>>,
    /// Held as long as this process uses the directory.
    _lock: File,
}

#[derive(Debug)]
struct Kept {
    turn: Arc<TurnMutex<()>>,
    bytes: u64,
    /// Rises with every use.
    used: u64,
}

/// A repository, for one fetch at a time.
#[derive(Debug)]
pub(super) struct Repository {
    path: PathBuf,
    was_there: bool,
    _turn: OwnedMutexGuard<()>,
}

impl Repository {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether there was something before this fetch.
    pub fn was_there(&self) -> bool {
        self.was_there
    }

    /// Throws away what is there.
    pub fn clear(&self) -> Result<(), SourceError> {
        remove(&self.path)
    }
}

/// Returns the name of a repository: what was fetched with other credentials is another one, and only
/// those who can fetch it see it.
pub(super) fn key(url: &str, credentials: &Credentials, commit: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((url.len() as u64).to_be_bytes());
    hash.update(url.as_bytes());
    hash.update(credentials.identity());
    // The digests of one repository are of one kind.
    hash.update([u8::try_from(commit.len()).unwrap_or(0)]);
    hex::encode(hash.finalize())
}

impl Cache {
    /// Opens a directory, which no other process may use, and clears what was in use when the last one
    /// ended.
    pub fn open(directory: &Path, limit_bytes: u64) -> Result<Self, SourceError> {
        let local = |source| SourceError::Local {
            doing: "open the directory of sources",
            source,
        };
        let (repositories, scratch) = (directory.join("git"), directory.join("scratch"));
        // Private repositories are for nobody else on this machine.
        let mut own = DirBuilder::new();
        own.recursive(true).mode(0o700);
        own.create(directory).map_err(local)?;
        let lock = File::create(directory.join("lock")).map_err(local)?;
        lock.try_lock().map_err(|_| {
            local(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process uses the directory of sources",
            ))
        })?;
        remove(&scratch)?;
        own.create(&scratch).map_err(local)?;
        own.create(&repositories).map_err(local)?;
        let cache = Self {
            known: Mutex::new(find(&repositories).map_err(local)?),
            repositories,
            scratch,
            limit_bytes,
            _lock: lock,
        };
        cache.evict()?;
        Ok(cache)
    }

    /// Returns where short-lived files go.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Waits for a turn with a repository.
    pub async fn repository(&self, key: String) -> Result<Repository, SourceError> {
        let turn = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let used = known.values().map(|kept| kept.used).max().unwrap_or(0) + 1;
            let kept = known.entry(key.clone()).or_insert_with(|| Kept {
                turn: Arc::default(),
                bytes: 0,
                used,
            });
            kept.used = used;
            Arc::clone(&kept.turn)
        };
        let turn = turn.lock_owned().await;
        let path = self.repositories.join(key);
        let was_there = path.join("HEAD").exists();
        if !was_there {
            // Half of a repository is none.
            remove(&path)?;
        }
        Ok(Repository {
            path,
            was_there,
            _turn: turn,
        })
    }

    /// Measures what is there and removes the least recently used until the rest is within the limit.
    /// Those in use stay.
    pub fn evict(&self) -> Result<(), SourceError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, kept) in known.iter_mut() {
            kept.bytes = size_of(&self.repositories.join(key));
        }
        let mut by_use: Vec<(u64, String)> = known
            .iter()
            .map(|(key, kept)| (kept.used, key.clone()))
            .collect();
        by_use.sort();
        let mut bytes: u64 = known.values().map(|kept| kept.bytes).sum();
        for (_, key) in by_use {
            if bytes <= self.limit_bytes {
                break;
            }
            let Some(kept) = known.get(&key) else {
                continue;
            };
            // Whoever waits for a turn holds a share of it too.
            if Arc::strong_count(&kept.turn) > 1 {
                continue;
            }
            remove(&self.repositories.join(&key))?;
            bytes -= kept.bytes;
            known.remove(&key);
        }
        known.retain(|key, kept| {
            Arc::strong_count(&kept.turn) > 1 || self.repositories.join(key).exists()
        });
        Ok(())
    }
}

/// Finds the repositories of an earlier process, in the order of their last change.
fn find(repositories: &Path) -> io::Result<BTreeMap<String, Kept>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repositories)? {
        let entry = entry?;
        let changed = entry
            .metadata()?
            .modified()
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let age = changed
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        found.push((age, entry.file_name().to_string_lossy().into_owned()));
    }
    found.sort();
    let kept = |(used, (_, key)): (u64, (Duration, String))| {
        let kept = Kept {
            turn: Arc::default(),
            bytes: 0,
            used,
        };
        (key, kept)
    };
    Ok((1..).zip(found).map(kept).collect())
}

fn remove(path: &Path) -> Result<(), SourceError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SourceError::Local {
            doing: "remove what is not needed any more",
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Returns the size of everything below a path; what vanishes meanwhile has none.
fn size_of(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries.flatten().map(|entry| size_of(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fill(cache: &Cache, key: &str, bytes: usize) {
        let repository = cache.repository(key.to_owned()).await.expect("a turn");
        fs::create_dir_all(repository.path()).expect("a directory");
        fs::write(repository.path().join("HEAD"), vec![0; bytes]).expect("a file");
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_and_one_in_use_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(directory.path(), 250).expect("a cache");
        for key in ["a", "b", "c"] {
            fill(&cache, key, 100).await;
        }
        let there = |key: &str| directory.path().join("git").join(key).exists();
        let a = cache.repository("a".to_owned()).await.expect("a turn");
        assert!(a.was_there());
        cache.evict().expect("evicted");
        assert_eq!((there("a"), there("b"), there("c")), (true, false, true));
        fill(&cache, "d", 200).await;
        cache.evict().expect("evicted");
        assert!(there("a"), "it is in use");
        drop(a);
    }

    #[tokio::test]
    async fn a_restart_keeps_what_is_whole_and_one_process_uses_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(directory.path(), 1000).expect("a cache");
        fill(&cache, "a", 100).await;
        let half = directory.path().join("git/b");
        fs::create_dir_all(half.join("objects")).expect("half of one");
        fs::write(directory.path().join("scratch/left"), b"x").expect("a file");
        let error = Cache::open(directory.path(), 1000).expect_err("in use");
        assert_eq!(error.reason(), "FetchFailed");
        drop(cache);
        let cache = Cache::open(directory.path(), 1000).expect("a cache");
        assert!(!directory.path().join("scratch/left").exists());
        assert!(
            cache
                .repository("a".to_owned())
                .await
                .expect("a turn")
                .was_there()
        );
        let b = cache.repository("b".to_owned()).await.expect("a turn");
        assert!(!b.was_there() && !half.exists());
    }

    #[test]
    fn what_is_kept_is_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().expect("a directory");
        let _cache = Cache::open(&directory.path().join("new"), 1000).expect("a cache");
        for name in ["new", "new/git", "new/scratch"] {
            let metadata = fs::metadata(directory.path().join(name)).expect("a directory");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn other_credentials_are_another_repository() {
        let public = Credentials::default();
        let private = Credentials {
            http: Some(crate::HttpCredentials::Bearer {
                token: crate::Secret::new("t"),
            }),
            ..Credentials::default()
        };
        let commit = "0".repeat(40);
        let a = key("https://git.example/a", &public, &commit);
        assert_ne!(a, key("https://git.example/a", &private, &commit));
        assert_ne!(a, key("https://git.example/b", &public, &commit));
        assert_eq!(a, key("https://git.example/a", &public, &commit));
    }
}
