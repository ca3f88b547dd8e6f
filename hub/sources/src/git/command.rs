//! Runs `git` in a world of its own.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{
    failure,
    location::{Location, Transport},
    ssh,
};
use crate::{
    AddressPolicy, Credentials, ProcessGroup, SourceError, credentials::ClientCertificate,
    settings::Limits,
};

/// Largest answer of `git` that is read where no content is asked for, in bytes.
const LIST_BYTES: u64 = 16 << 20;
/// How much of what `git` complains about is read, in bytes.
const COMPLAINT_BYTES: u64 = 16 << 10;
/// Largest memory of one process of `git`, in bytes: a pack can ask for any amount.
const MEMORY_BYTES: u64 = 2 << 30;

/// Settings that hold for every run. What they switch off has no occasion anyway; both must fail.
const SETTINGS: [(&str, &str); 19] = [
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("core.packedGitLimit", "256m"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
    ("http.proxy", ""),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("protocol.allow", "never"),
    ("submodule.recurse", "false"),
    ("transfer.unpackLimit", "1"),
];

/// One repository of somebody else, with what it takes to speak to it.
#[derive(Debug)]
pub(super) struct Session {
    location: Location,
    credentials: Credentials,
    /// Settings and environment beside those of every run.
    settings: Vec<(String, String)>,
    environment: Vec<(&'static str, OsString)>,
    /// Files that only this session needs.
    directory: TempDir,
    timeout: Duration,
}

impl Session {
    /// Resolves the host, to allowed addresses alone, and writes down what `git` must find.
    pub async fn open(
        policy: &Arc<AddressPolicy>,
        location: &Location,
        credentials: &Credentials,
        scratch: &Path,
        timeout_s: u64,
    ) -> Result<Self, SourceError> {
        if location.transport == Transport::Http && !policy.is_plain(&location.host, location.port)
        {
            return Err(SourceError::Invalid {
                field: "url",
                why: format!(
                    "http:// is for hosts among the hub's plain HTTP hosts, and {} is none; use https:// or ssh://",
                    location.host_and_port()
                ),
            });
        }
        let addresses = policy.resolve(&location.host, location.port).await?;
        let local = |source| SourceError::Local {
            doing: "write what a fetch needs",
            source,
        };
        let directory = tempfile::Builder::new()
            .prefix("fetch-")
            .tempdir_in(scratch)
            .map_err(local)?;
        let mut session = Self {
            location: location.clone(),
            credentials: credentials.clone(),
            settings: Vec::new(),
            environment: Vec::new(),
            directory,
            timeout: Duration::from_secs(timeout_s),
        };
        match location.transport {
            Transport::Ssh => {
                let address = addresses.first().expect("it has one").ip();
                let command =
                    ssh::prepare(session.directory.path(), location, credentials, address)?;
                session.set("protocol.ssh.allow", "always");
                session.environment.push(("GIT_SSH_COMMAND", command));
                session.environment.push(("GIT_SSH_VARIANT", "ssh".into()));
            }
            Transport::Https | Transport::Http => {
                let scheme = match location.transport {
                    Transport::Https => "protocol.https.allow",
                    _ => "protocol.http.allow",
                };
                session.set(scheme, "always");
                let list: Vec<String> = addresses.iter().map(|it| it.ip().to_string()).collect();
                let pinned = format!("{}:{}:{}", location.host, location.port, list.join(","));
                // A host that is an address needs no resolution.
                if location.host.parse::<std::net::IpAddr>().is_err() {
                    session.set("http.curloptResolve", pinned);
                }
                if let Some(authorization) = credentials.authorization() {
                    let header = format!("Authorization: {}", authorization.expose());
                    session.set(format!("http.{}.extraHeader", location.argument), header);
                }
                if let Some(ca) = &credentials.ca {
                    let file = session.directory.path().join("ca.crt");
                    std::fs::write(&file, ca).map_err(local)?;
                    session.set("http.sslCAInfo", file.to_string_lossy());
                }
                if let Some(client) = &credentials.client {
                    session.show(client).map_err(local)?;
                }
            }
        }
        Ok(session)
    }

    /// Has `git` show a certificate: it takes both parts as files, which end with the session.
    fn show(&mut self, client: &ClientCertificate) -> std::io::Result<()> {
        for (setting, name, text) in [
            ("http.sslCert", "tls.crt", client.certificate.as_str()),
            ("http.sslKey", "tls.key", client.private_key.expose()),
        ] {
            let file = self.directory.path().join(name);
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)?
                .write_all(text.as_bytes())?;
            self.set(setting, file.to_string_lossy());
        }
        Ok(())
    }

    fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.settings.push((key.into(), value.into()));
    }

    /// Returns what `git` calls the repository.
    pub fn url(&self) -> &str {
        &self.location.argument
    }

    /// Returns the repository as errors name it.
    pub fn shown(&self) -> &str {
        self.location.shown()
    }

    /// Returns a way to run `git` for this session.
    pub fn git<'a>(&'a self, limits: &'a Limits) -> Git<'a> {
        Git {
            session: self,
            limits,
        }
    }

    /// Fetches some references into a repository.
    pub async fn fetch(
        &self,
        git: &Git<'_>,
        repository: &Path,
        options: &[&str],
        refspecs: &[&str],
    ) -> Result<(), SourceError> {
        let directory = git_dir(repository);
        let mut arguments: Vec<&OsStr> = vec![&directory, "fetch".as_ref()];
        arguments.extend(options.iter().map(|option| OsStr::new(*option)));
        let fixed = [
            "--no-tags",
            "--no-write-fetch-head",
            "--force",
            "--quiet",
            "--",
            self.url(),
        ];
        arguments.extend(fixed.iter().map(|argument| OsStr::new(*argument)));
        arguments.extend(refspecs.iter().map(|refspec| OsStr::new(*refspec)));
        git.run(&arguments).await.map(drop)
    }
}

/// Returns the argument that names a repository of this machine.
pub(super) fn git_dir(repository: &Path) -> OsString {
    let mut argument = OsString::from("--git-dir=");
    argument.push(repository);
    argument
}

/// Runs `git`.
pub(super) struct Git<'a> {
    session: &'a Session,
    limits: &'a Limits,
}

/// What a run has said.
struct Said {
    status: std::process::ExitStatus,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

impl Git<'_> {
    /// Runs `git` and returns what it wrote.
    pub async fn run(&self, arguments: &[&OsStr]) -> Result<Vec<u8>, SourceError> {
        self.run_with(arguments, Vec::new(), LIST_BYTES).await
    }

    /// Runs `git` with some input, for an answer of at most so many bytes.
    pub async fn run_with(
        &self,
        arguments: &[&OsStr],
        input: Vec<u8>,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, SourceError> {
        let mut child = self
            .command(arguments)
            .spawn()
            .map_err(|source| SourceError::Local {
                doing: "run git, with env of coreutils and prlimit of util-linux",
                source,
            })?;
        let group = ProcessGroup::of(&child);
        let timed = tokio::time::timeout(
            self.session.timeout,
            converse(&mut child, input, limit_bytes),
        );
        let said = timed
            .await
            .map_err(|_| SourceError::TimedOut {
                host: self.session.location.host_and_port(),
                after_s: self.session.timeout.as_secs(),
            })?
            .map_err(|source| SourceError::Local {
                doing: "speak to git",
                source,
            })?;
        // It has ended and been waited for: its number may soon be another's.
        group.disarm();
        if said.output.len() as u64 > limit_bytes {
            return Err(SourceError::TooLarge {
                what: format!("what {} lists", self.session.shown()),
                limit: format!("{limit_bytes} bytes"),
            });
        }
        if said.status.success() {
            return Ok(said.output);
        }
        let complaint = String::from_utf8_lossy(&said.complaint);
        Err(failure::read(
            &self.session.credentials.hide(&complaint),
            &self.session.location,
            self.limits,
        ))
    }

    fn command(&self, arguments: &[&OsStr]) -> Command {
        let session = self.session;
        // A file that may not grow fails its write, which `git` says; the signal would end it silently.
        let mut command = Command::new("env");
        command
            .args(["--ignore-signal=XFSZ", "prlimit", "--core=0"])
            .arg(format!("--fsize={}", self.limits.git_pack_bytes))
            .arg(format!("--as={MEMORY_BYTES}"))
            .args(["--", "git"])
            .args(arguments)
            .current_dir(session.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", session.directory.path())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .envs(session.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // Settings by the environment: arguments are for everybody's eyes, and files outlive a kill.
        let own = session
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let settings: Vec<(&str, &str)> = SETTINGS.into_iter().chain(own).collect();
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (key, value)) in settings.into_iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{index}"), key)
                .env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command
    }
}

async fn converse(child: &mut Child, input: Vec<u8>, limit_bytes: u64) -> std::io::Result<Said> {
    let mut stdin = child.stdin.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let write = async move {
        // A process that ends before it has read everything says so by its status.
        let _ = stdin.write_all(&input).await;
    };
    let ((), output, complaint) = tokio::join!(
        write,
        read_some(stdout, limit_bytes + 1),
        read_some(stderr, COMPLAINT_BYTES)
    );
    Ok(Said {
        output: output?,
        complaint: complaint?,
        status: child.wait().await?,
    })
}

/// Reads the beginning; whoever writes more finds nobody who listens.
async fn read_some(from: impl AsyncRead + Unpin, limit_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit_bytes).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
