//! Go modules as they were released, of which tests take files as data.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A module, pinned as `go.sum` would pin it: a requirement in a `go.mod` would bring in everything that its
/// programs need.
#[derive(Clone, Copy, Debug)]
pub struct GoModule {
    /// Such as `sigs.k8s.io/kwok`.
    pub path: &'static str,
    /// Such as `v0.8.0`.
    pub version: &'static str,
    /// The sum of its files, `h1:…`.
    pub sum: &'static str,
}

/// What `go mod download -json` says; empty = it says nothing of that.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Answer {
    dir: String,
    sum: String,
    error: String,
}

impl GoModule {
    /// Downloads the module unless Go's module cache has it, and gives its folder there, which is read only.
    ///
    /// # Errors
    /// When it cannot be had, or is not what was pinned.
    pub fn folder(&self) -> Result<PathBuf> {
        let named = format!("{}@{}", self.path, self.version);
        // Outside of any module: nothing is required by this download.
        let outside = tempfile::tempdir()?;
        let output = Command::new("go")
            .args(["mod", "download", "-json", &named])
            .current_dir(outside.path())
            .envs([("GOTOOLCHAIN", "local"), ("GOWORK", "off")])
            .output()
            .context("failed to start go")?;
        let answer: Answer = serde_json::from_slice(&output.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("go mod download {named}: {said}")
        })?;
        ensure!(answer.error.is_empty(), "{named}: {}", answer.error);
        ensure!(
            answer.sum == self.sum,
            "{named} has the sum {}, not {}",
            answer.sum,
            self.sum
        );
        Ok(answer.dir.into())
    }
}
