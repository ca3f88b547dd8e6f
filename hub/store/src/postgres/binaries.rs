//! Where the installed binaries are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::EmbeddedError;

/// Where Debian and its kin put each major version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A directory with `initdb`, `pg_ctl` and `postgres` of one major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The directory.
    pub dir: PathBuf,
    /// The major version, such as `15`; empty when its directory does not tell.
    pub major: String,
}

impl Binaries {
    /// Looks in `named` alone if it is given, else where binaries usually are: those that made the
    /// data in `data_dir` first, then the newest.
    pub(super) fn find(named: Option<&Path>, data_dir: &Path) -> Result<Self, EmbeddedError> {
        let candidates = named.map_or_else(usual_dirs, |dir| vec![dir.to_owned()]);
        let found: Vec<Self> = candidates
            .iter()
            .filter_map(|dir| Self::in_dir(dir))
            .collect();
        let Some(first) = found.first() else {
            let looked_in: Vec<String> = candidates
                .iter()
                .map(|dir| dir.display().to_string())
                .collect();
            let looked_in = if named.is_some() {
                looked_in.join(", ")
            } else {
                format!("PATH and {VERSIONS}/*/bin")
            };
            return Err(EmbeddedError::NotInstalled { looked_in });
        };
        let Ok(made_by) = fs::read_to_string(data_dir.join("PG_VERSION")) else {
            return Ok(first.clone());
        };
        let made_by = made_by.trim();
        found
            .iter()
            .find(|binaries| binaries.major == made_by || binaries.major.is_empty())
            .cloned()
            .ok_or_else(|| EmbeddedError::WrongVersion {
                data_dir: data_dir.to_owned(),
                made_by: made_by.to_owned(),
            })
    }

    /// The binaries of a directory; absent when one is missing. A link is followed, since the
    /// programs look for their files beside themselves.
    fn in_dir(dir: &Path) -> Option<Self> {
        let dir = fs::canonicalize(dir.join("postgres"))
            .ok()?
            .parent()?
            .to_owned();
        let complete = ["initdb", "pg_ctl", "postgres"]
            .iter()
            .all(|name| dir.join(name).exists());
        let major = dir
            .strip_prefix(VERSIONS)
            .ok()
            .and_then(|rest| rest.iter().next());
        let major = major
            .map(|major| major.to_string_lossy().into_owned())
            .unwrap_or_default();
        complete.then_some(Self { dir, major })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn usual_dirs() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path).collect();
    on_path
        .into_iter()
        .chain(versions.into_iter().map(|(_, dir)| dir))
        .collect()
}
