//! The command line `bellwether`, as a user calls it.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{hub::Hub, process::workspace_binary};

/// Calls `bellwether` against one hub.
#[derive(Clone, Debug)]
pub struct Cli {
    binary: PathBuf,
    socket: PathBuf,
}

/// What a call gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed as data.
    pub stdout: String,
    /// What it printed as progress and errors.
    pub stderr: String,
}

impl Cli {
    /// Makes a caller for `hub`.
    ///
    /// # Errors
    /// When the binary was not built.
    pub fn new(hub: &Hub) -> Result<Self> {
        Ok(Self {
            binary: workspace_binary("bellwether")?,
            socket: hub.socket(),
        })
    }

    /// Makes a caller for the hub behind `socket`.
    #[must_use]
    pub const fn at(binary: PathBuf, socket: PathBuf) -> Self {
        Self { binary, socket }
    }

    /// The hub's socket.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// Builds the command with the hub's address set.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--socket")
            .arg(&self.socket)
            .args(arguments)
            .env("NO_COLOR", "1");
        command
    }

    /// Calls it and returns whatever it gave.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn call(&self, arguments: &[&str], input: Option<&str>) -> Result<Answer> {
        let mut child = self
            .command(arguments)
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start bellwether")?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            match stdin.write_all(text.as_bytes()) {
                // It has read enough to refuse the rest.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        let output = child.wait_with_output()?;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Calls it and fails unless it exits with 0.
    ///
    /// # Errors
    /// When it exits with anything else; the error carries what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.checked(arguments, None)
    }

    /// Applies documents from standard input.
    ///
    /// # Errors
    /// When they are refused.
    pub fn apply(&self, documents: &str) -> Result<String> {
        self.checked(&["apply", "-f", "-"], Some(documents))
    }

    /// Calls it with `-o json` and returns the document.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        let text = self.checked(&arguments, None)?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    fn checked(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let answer = self.call(arguments, input)?;
        if answer.code != 0 {
            bail!(
                "bellwether {} exited with {}\n{}{}",
                arguments.join(" "),
                answer.code,
                answer.stdout,
                answer.stderr
            );
        }
        Ok(answer.stdout)
    }
}
