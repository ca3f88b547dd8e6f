//! Bad input, as a user of the shipped binaries meets it: one clear sentence and the way out. No
//! clusters are needed.

#[path = "bad_input/commands.rs"]
mod commands;
#[path = "bad_input/documents.rs"]
mod documents;
#[path = "bad_input/processes.rs"]
mod processes;
#[path = "bad_input/secrets.rs"]
mod secrets;

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use bellwether_integration_tests::{cli::Cli, hub::Hub, suite};
use libtest_mimic::Arguments;

/// A hub without clusters.
#[derive(Clone)]
pub struct Scene {
    /// The command line, pointed at the hub.
    pub cli: Cli,
    /// The hub's HTTP address.
    pub url: String,
    /// Where tests may write.
    pub directory: PathBuf,
}

impl suite::Stage for Scene {
    fn case(&self, name: &'static str, test: fn(&Self) -> Result<()>) -> Result<()> {
        let directory = self.directory.join(name);
        std::fs::create_dir(&directory)?;
        // The private Postgres runs as a user of its own, who must be able to enter.
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755))?;
        test(&Self {
            directory,
            ..self.clone()
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = [
        commands::CASES,
        documents::CASES,
        processes::CASES,
        secrets::CASES,
    ]
    .concat();
    if arguments.list {
        return libtest_mimic::run(&arguments, suite::trials(&cases, None)).exit_code();
    }
    match run(&arguments, &cases) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("failed to set the scene: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, cases: &[suite::Case<Scene>]) -> Result<bool> {
    if !suite::wants(arguments, cases) {
        return Ok(true);
    }
    let directory = tempfile::tempdir().context("failed to make a folder")?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    // Ended when this returns, with its Postgres.
    let hub = Hub::start(&directory.path().join("hub"), "127.0.0.1", &[])?;
    let scene = Scene {
        cli: Cli::new(&hub)?,
        url: hub.url(),
        directory: directory.path().to_owned(),
    };
    let passed = suite::run(arguments, cases, &scene);
    drop(hub);
    Ok(passed)
}
