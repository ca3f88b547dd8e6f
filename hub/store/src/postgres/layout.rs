//! Where the server's files are and whose they are.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User, chown};

use super::{EmbeddedError, at};
use crate::Digest;

/// The longest directory whose socket still fits into a socket address (108 bytes with a NUL).
const SOCKET_DIR_BYTES: usize = 107 - "/.s.PGSQL.5432.lock".len();

/// The user that the server runs as, where it is not the hub's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user's id.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// The user's name.
    pub name: String,
}

/// Where the server's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The data, 0700.
    pub data_dir: PathBuf,
    /// The socket, 0700.
    pub socket_dir: PathBuf,
    /// The user that the server runs as; absent = the hub's own.
    pub run_as: Option<RunAs>,
}

impl Layout {
    /// Makes the directories around the data, and the socket's.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let uid = Uid::effective();
        let run_as = if uid.is_root() {
            Some(database_user()?)
        } else {
            None
        };
        let data_dir = std::path::absolute(data_dir).map_err(at(data_dir))?;
        let parent = data_dir.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(at(parent))?;
        if let Some(user) = &run_as {
            reachable(parent, user)?;
        }
        let name = &Digest::of(data_dir.as_os_str().as_encoded_bytes()).to_string()[..16];
        let socket_dir = match &run_as {
            Some(_) => {
                let shared = Path::new("/run/bellwether");
                fs::create_dir_all(shared).map_err(at(shared))?;
                let open = fs::Permissions::from_mode(0o755);
                fs::set_permissions(shared, open).map_err(at(shared))?;
                shared.join(name)
            }
            None => own_socket_dir(parent, uid, name),
        };
        let layout = Self {
            data_dir,
            socket_dir,
            run_as,
        };
        layout.private_dir(&layout.socket_dir)?;
        Ok(layout)
    }

    /// Makes a directory that only the server's user may enter. One that is somebody else's is
    /// refused: a shared directory such as /tmp must not lend us a stranger's.
    pub(super) fn private_dir(&self, dir: &Path) -> Result<(), EmbeddedError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        self.own(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(at(dir))
    }

    /// Gives a file to the server's user.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        let Some(user) = &self.run_as else {
            return Ok(());
        };
        chown(path, Some(user.uid.into()), Some(user.gid.into()))
            .map_err(|error| at(path)(error.into()))
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.data_dir.with_extension("lock")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.data_dir.join("server.log")
    }
}

fn database_user() -> Result<RunAs, EmbeddedError> {
    let user = User::from_name("postgres")
        .ok()
        .flatten()
        .ok_or(EmbeddedError::NoUser)?;
    Ok(RunAs {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        name: user.name,
    })
}

/// Checks that a user may enter a directory and everything above it, so that the error names the
/// directory instead of coming from inside `initdb`.
fn reachable(dir: &Path, user: &RunAs) -> Result<(), EmbeddedError> {
    for ancestor in dir.ancestors() {
        let metadata = fs::metadata(ancestor).map_err(at(ancestor))?;
        let bit = if metadata.uid() == user.uid {
            0o100
        } else if metadata.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        if metadata.mode() & bit == 0 {
            return Err(EmbeddedError::Unreachable {
                user: user.name.clone(),
                blocked: ancestor.to_owned(),
            });
        }
    }
    Ok(())
}

/// Beside the data if the path is short enough, else where the user's sockets usually are.
fn own_socket_dir(parent: &Path, uid: Uid, name: &str) -> PathBuf {
    let beside = parent.join("postgres-run");
    if beside.as_os_str().len() <= SOCKET_DIR_BYTES {
        return beside;
    }
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
        || std::env::temp_dir().join(format!("bellwether-{uid}-{name}")),
        |dir| PathBuf::from(dir).join("bellwether").join(name),
    )
}
