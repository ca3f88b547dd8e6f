//! A hub process with its own private Postgres and data directory.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{OwnedProcess, workspace_binary},
    wait::until,
};

/// A hub process that can be killed and started again on the same data.
#[derive(Debug)]
pub struct Hub {
    data_directory: PathBuf,
    api_port: u16,
    agent_port: u16,
    agent_address: String,
    extra_arguments: Vec<String>,
    more_arguments: Vec<String>,
    process: Option<OwnedProcess>,
}

impl Hub {
    /// Starts a hub that agents reach at `agent_host`, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; its log is in `<data directory>/hub.log`.
    pub fn start(data_directory: &Path, agent_host: &str, extra: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(data_directory)?;
        let agent_port = free_port()?;
        let mut hub = Self {
            data_directory: data_directory.to_owned(),
            api_port: free_port()?,
            agent_port,
            agent_address: format!("{agent_host}:{agent_port}"),
            extra_arguments: extra.iter().map(|&argument| argument.to_owned()).collect(),
            more_arguments: Vec::new(),
            process: None,
        };
        hub.restart()?;
        Ok(hub)
    }

    /// Starts the process again on the same data and ports, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(Duration::from_secs(15))?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data_directory.join("hub.log"))?;
        let mut command = Command::new(workspace_binary("bellwether-hub")?);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data_directory)
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.api_port))
            .arg("--agent-listen")
            .arg(format!("0.0.0.0:{}", self.agent_port))
            .arg("--agent-address")
            .arg(&self.agent_address)
            .args(&self.extra_arguments)
            .args(&self.more_arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = OwnedProcess::start("the hub", &mut command)?;
        // For whoever clears up after a test program that was killed.
        std::fs::write(
            self.data_directory.join("hub.pid"),
            process.id().to_string(),
        )?;
        self.process = Some(process);
        self.wait_ready()
    }

    /// Starts another hub on the database and with the authority of this one, which has to run as long. Agents
    /// reach it at the same address as this one: whoever listens there leads them to one of both.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn second(&self, data_directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(data_directory)?;
        let pki = self.data_directory.join("pki");
        let pki = pki.to_str().context("paths are UTF-8")?.to_owned();
        let flags = [
            "--database-url".to_owned(),
            self.database_url()?,
            "--pki-dir".to_owned(),
            pki,
        ];
        let mut hub = Self {
            data_directory: data_directory.to_owned(),
            api_port: free_port()?,
            agent_port: free_port()?,
            agent_address: self.agent_address.clone(),
            extra_arguments: self.extra_arguments.clone(),
            more_arguments: flags.to_vec(),
            process: None,
        };
        hub.restart()?;
        Ok(hub)
    }

    /// Where its own Postgres listens, by the file that it writes of itself.
    fn database_url(&self) -> Result<String> {
        let file = self.data_directory.join("postgres/postmaster.pid");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        // After its id, its folder, when it started and its port comes the folder of its sockets.
        let sockets = text.lines().nth(4).context("the folder of its sockets")?;
        let escaped = sockets.replace('/', "%2F");
        Ok(format!(
            "postgres://bellwether@localhost/bellwether?host={escaped}"
        ))
    }

    /// Starts the process again with agents at another port of this machine, from now on. What agents dial stays.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub fn restart_at(&mut self, agent_port: u16) -> Result<()> {
        self.agent_port = agent_port;
        self.restart()
    }

    /// Returns the port of this machine at which it listens for agents.
    #[must_use]
    pub const fn agent_port(&self) -> u16 {
        self.agent_port
    }

    /// Starts the process again with further flags, from now on.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub fn restart_with(&mut self, more: &[&str]) -> Result<()> {
        self.more_arguments = more.iter().map(|&argument| argument.to_owned()).collect();
        self.restart()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.url());
        let process = self.process.as_mut().context("the hub was started")?;
        until(Duration::from_secs(60), "the hub to be ready", || {
            if !process.is_running()? {
                bail!("the hub ended; see its log");
            }
            Ok(http_status(&url).filter(|status| *status == 200))
        })
        .with_context(|| format!("log: {}", self.log_tail()))?;
        Ok(())
    }

    /// Ends the process as a crash would; its Postgres goes on.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.as_mut() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Returns the address of the HTTP API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// Returns the path of the API's Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data_directory.join("hub.sock")
    }

    /// Returns where agents reach it.
    #[must_use]
    pub fn agent_address(&self) -> &str {
        &self.agent_address
    }

    /// Returns the end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.data_directory.join("hub.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Finds a TCP port that is free now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Returns the status of a plain GET; `None` when nobody answers.
#[must_use]
pub fn http_status(url: &str) -> Option<u16> {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_whitespace().nth(1)?.parse().ok()
}
