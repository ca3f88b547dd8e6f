//! The private Postgres of a hub without `DATABASE_URL`: the installed binaries, supervised.
//!
//! It listens on a Unix socket alone, in a directory that only its user (and root) may enter. It
//! outlives a hub that is killed: the next one adopts it by its pid file. Since `initdb` and
//! `postgres` refuse root, a hub of root runs them as the user `postgres`.

mod binaries;
mod layout;
mod server;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};

pub use binaries::Binaries;
pub use layout::{Layout, RunAs};

/// The role that owns everything.
const ROLE: &str = "bellwether";
/// The database.
const DATABASE: &str = "bellwether";

/// How the private server is run.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The server's own directory. Of a hub of root the user `postgres` must be able to reach it.
    pub data_dir: PathBuf,
    /// Where the binaries are; absent = they are looked for.
    pub postgres_bin: Option<PathBuf>,
    /// Settings beyond the defaults, as postgresql.conf has them: name and value.
    pub settings: Vec<(String, String)>,
}

impl EmbeddedConfig {
    /// A server in `data_dir` with the binaries that are installed.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            postgres_bin: None,
            settings: Vec::new(),
        }
    }

    /// Where root's server lies unless somebody says otherwise.
    #[must_use]
    pub fn default_root_dir() -> PathBuf {
        PathBuf::from("/var/lib/bellwether/postgres")
    }

    /// Adds a setting.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Trades safety at a power cut for speed: for tests alone.
    #[must_use]
    pub fn without_fsync(self) -> Self {
        self.setting("fsync", "off")
            .setting("synchronous_commit", "off")
            .setting("full_page_writes", "off")
    }
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No binaries were found.
    #[error(
        "failed to find Postgres (looked in {looked_in}). Install it (Debian: apt-get install -y \
         postgresql), name its directory with --postgres-bin, or set DATABASE_URL to a server \
         that runs"
    )]
    NotInstalled {
        /// Where they were looked for.
        looked_in: String,
    },
    /// The data was made by another major version.
    #[error(
        "failed to start Postgres: {} was made by version {made_by}, and no binaries of \
         it were found (Debian: apt-get install -y postgresql-{made_by})", data_dir.display()
    )]
    WrongVersion {
        /// The server's directory.
        data_dir: PathBuf,
        /// The major version that made it.
        made_by: String,
    },
    /// Root's server needs a user of its own.
    #[error(
        "failed to find the user postgres, as whom a hub of root runs its database (Debian: \
         apt-get install -y postgresql)"
    )]
    NoUser,
    /// The server's user cannot reach its directory.
    #[error(
        "failed to start Postgres: its user {user} cannot enter {}; run: chmod o+x {}  (or choose \
         another --data-dir)", blocked.display(), blocked.display()
    )]
    Unreachable {
        /// The user.
        user: String,
        /// The directory that it cannot enter.
        blocked: PathBuf,
    },
    /// Another hub supervises the server.
    #[error(
        "failed to take the database in {}: another hub supervises it; to join that hub, set \
         DATABASE_URL={url}", data_dir.display()
    )]
    Locked {
        /// The server's directory.
        data_dir: PathBuf,
        /// The URL of the server.
        url: String,
    },
    /// A file or directory cannot be written.
    #[error("failed to prepare {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program of Postgres failed.
    #[error("failed to run {program}: {output}")]
    Program {
        /// The program.
        program: &'static str,
        /// The last lines that it and the server's log said.
        output: String,
    },
    /// The server runs and does not answer.
    #[error("failed to connect to the private Postgres")]
    Connect(#[source] sqlx::Error),
}

/// Says which file was being prepared.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError + '_ {
    move |source| EmbeddedError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A private server that this program supervises. Dropping it leaves the server running, as a kill
/// of the program does; [`Self::stop`] stops it.
pub struct Embedded {
    binaries: Binaries,
    layout: Layout,
    url: String,
    adopted: bool,
    _lock: Flock<fs::File>,
}

impl Embedded {
    /// Starts the server, making its data at the first start, or adopts the one that a killed hub
    /// left running. Blocks its thread for what the file system takes; programs run apart.
    ///
    /// # Errors
    /// [`EmbeddedError`] says what is missing and how to mend it.
    pub async fn start(config: &EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let binaries = Binaries::find(config.postgres_bin.as_deref(), &config.data_dir)?;
        let layout = Layout::prepare(&config.data_dir)?;
        let url = url_of(&layout);
        let lock = lock(&layout, &url)?;
        server::initialise(&binaries, &layout).await?;
        server::configure(&layout, &config.settings)?;
        let adopted = server::is_running(&layout);
        if !adopted {
            server::start(&binaries, &layout).await?;
        }
        ensure_database(&url).await?;
        tracing::info!(
            postgres.dir = %layout.data_dir.display(),
            postgres.version = %binaries.major,
            postgres.adopted = adopted,
            "the private Postgres runs"
        );
        Ok(Self {
            binaries,
            layout,
            url,
            adopted,
            _lock: lock,
        })
    }

    /// The URL of the hub's database on this server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of another database on this server.
    #[must_use]
    pub fn url_of_database(&self, database: &str) -> String {
        url_with(&self.layout, database)
    }

    /// Tells whether the server ran already when it was to be started.
    #[must_use]
    pub fn was_adopted(&self) -> bool {
        self.adopted
    }

    /// Starts the server again if it is gone; tells whether it was.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn revive(&self) -> Result<bool, EmbeddedError> {
        if server::is_running(&self.layout) {
            return Ok(false);
        }
        self.layout.private_dir(&self.layout.socket_dir)?;
        server::start(&self.binaries, &self.layout).await?;
        Ok(true)
    }

    /// Where the server's files are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Stops the server in order: clients are cut, everything committed is on disk.
    ///
    /// # Errors
    /// The server does not stop within a minute.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.halt().await
    }

    /// Stops the server as [`Self::stop`] does, and stays its supervisor: [`Self::revive`] starts it
    /// again.
    ///
    /// # Errors
    /// The server does not stop within a minute.
    pub async fn halt(&self) -> Result<(), EmbeddedError> {
        server::stop(&self.binaries, &self.layout).await
    }
}

fn url_of(layout: &Layout) -> String {
    url_with(layout, DATABASE)
}

fn url_with(layout: &Layout, database: &str) -> String {
    let escaped: String = layout
        .socket_dir
        .to_string_lossy()
        .chars()
        .map(|letter| match letter {
            '/' => "%2F".to_owned(),
            '%' => "%25".to_owned(),
            '&' => "%26".to_owned(),
            '+' => "%2B".to_owned(),
            '#' => "%23".to_owned(),
            ' ' => "%20".to_owned(),
            other => other.to_string(),
        })
        .collect();
    format!("postgres://{ROLE}@localhost/{database}?host={escaped}")
}

/// Only one program supervises a server; the kernel gives the lock back whatever ends the holder.
fn lock(layout: &Layout, url: &str) -> Result<Flock<fs::File>, EmbeddedError> {
    let path = layout.lock_file();
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(at(&path))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(at(&path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => EmbeddedError::Locked {
            data_dir: layout.data_dir.clone(),
            url: url.to_owned(),
        },
        other => EmbeddedError::Io {
            path,
            source: other.into(),
        },
    })
}

async fn ensure_database(url: &str) -> Result<(), EmbeddedError> {
    let failed = EmbeddedError::Connect;
    let options: PgConnectOptions = url.parse().map_err(failed)?;
    let mut connection = options
        .database("postgres")
        .connect()
        .await
        .map_err(EmbeddedError::Connect)?;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'bellwether')")
            .fetch_one(&mut connection)
            .await
            .map_err(EmbeddedError::Connect)?;
    if !exists {
        sqlx::query("CREATE DATABASE bellwether")
            .execute(&mut connection)
            .await
            .map_err(EmbeddedError::Connect)?;
    }
    connection.close().await.map_err(EmbeddedError::Connect)
}
