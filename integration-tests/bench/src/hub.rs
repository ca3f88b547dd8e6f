//! The hub process that is measured: own data folder, own Postgres, own ports.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bellwether_integration_tests::{
    hub::{free_port, http_status},
    process::{OwnedProcess, workspace_binary},
    process_figures::{cpu, cpu_of_tree, postmaster},
};

use crate::api::Api;

const START_LIMIT: Duration = Duration::from_secs(60);
/// How often readiness is asked while a start is measured.
const READY_POLL: Duration = Duration::from_millis(2);

/// A hub.
#[derive(Debug)]
pub struct Hub {
    data: PathBuf,
    api_port: u16,
    agents: SocketAddr,
    process: Option<OwnedProcess>,
    /// Arguments beside those that every hub here has.
    arguments: Vec<String>,
}

impl Hub {
    /// Starts a hub whose agents reach it at `host`.
    ///
    /// # Errors
    /// When it does not become ready; its log is `<data>/hub.log`.
    pub fn start(data: PathBuf, host: &str) -> Result<Self> {
        Self::start_with(data, host, Vec::new())
    }

    /// The same, with further arguments.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_with(data: PathBuf, host: &str, arguments: Vec<String>) -> Result<Self> {
        std::fs::create_dir_all(&data)?;
        let agents = SocketAddr::new(host.parse()?, free_port()?);
        let mut hub = Self {
            data,
            api_port: free_port()?,
            agents,
            process: None,
            arguments,
        };
        hub.start_again()?;
        Ok(hub)
    }

    /// Starts the process on the data that is there; gives the time until it was ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_again(&mut self) -> Result<Duration> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.join("hub.log"))?;
        let mut command = Command::new(workspace_binary("bellwether-hub")?);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen", &format!("127.0.0.1:{}", self.api_port)])
            .args(["--agent-listen", &self.agents.to_string()])
            .args(["--agent-address", &self.agents.to_string()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        let process = self
            .process
            .insert(OwnedProcess::start("the hub", &mut command)?);
        let url = format!("http://127.0.0.1:{}/readyz", self.api_port);
        while http_status(&url) != Some(200) {
            if !process.is_running()? || began.elapsed() > START_LIMIT {
                bail!(
                    "the hub did not become ready; see {}",
                    self.data.join("hub.log").display()
                );
            }
            std::thread::sleep(READY_POLL);
        }
        Ok(began.elapsed())
    }

    /// Stops the process and its Postgres.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.stop(Duration::from_secs(30)))
    }

    /// A client of its API.
    ///
    /// # Errors
    /// When it has made no token.
    pub fn api(&self) -> Result<Api> {
        Api::new(format!("http://127.0.0.1:{}", self.api_port), &self.data)
    }

    /// Where agents connect.
    pub const fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Its folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the hub does not run")?.id())
    }

    /// Processor time so far: of the hub, of its Postgres, of this program.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn cpu(&self) -> Result<Cpu> {
        Ok(Cpu {
            hub: cpu(self.pid()?)?,
            postgres: cpu_of_tree(postmaster(&self.data)?)?,
            generator: cpu(std::process::id())?,
            at: Instant::now(),
        })
    }
}

/// Processor time at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    hub: Duration,
    postgres: Duration,
    generator: Duration,
    at: Instant,
}

impl Cpu {
    /// Shares of one core since `earlier`: hub, Postgres, generator.
    pub fn cores_since(&self, earlier: &Self) -> [f64; 3] {
        let span = (self.at - earlier.at).as_secs_f64();
        [
            (self.hub, earlier.hub),
            (self.postgres, earlier.postgres),
            (self.generator, earlier.generator),
        ]
        .map(|(now, then)| now.saturating_sub(then).as_secs_f64() / span)
    }
}
