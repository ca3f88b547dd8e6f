//! Takes away everything that a demo started, finished or not.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{lab::Lab, wait::until};

/// The lab's name.
pub const LAB: &str = "demo";

/// Where the demo keeps what it makes.
#[must_use]
pub fn directory() -> PathBuf {
    PathBuf::from("/var/lib/bellwether-demo")
}

/// Stops the hub, its Postgres and the clusters of a demo, and removes its folder.
///
/// # Errors
/// When something of it cannot be stopped.
pub fn down() -> Result<()> {
    let directory = directory();
    stop_recorded(&directory.join("hub.pid"), "bellwether-hub")?;
    // A hub that was killed leaves its Postgres behind; the first line of its file is its id.
    stop_recorded(&directory.join("hub/postgres/postmaster.pid"), "postgres")?;
    Lab::down(LAB)?;
    if directory.exists() {
        std::fs::remove_dir_all(&directory)
            .with_context(|| format!("failed to remove {}", directory.display()))?;
    }
    Ok(())
}

/// Stops the process whose id stands in the first line of `file`, if it still is `program`.
///
/// # Errors
/// When it does not stop.
pub fn stop_recorded(file: &Path, program: &str) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(());
    };
    let Some(id) = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok())
    else {
        return Ok(());
    };
    if !is_program(id, program) {
        return Ok(());
    }
    println!("stopping {program} (process {id})");
    kill(Pid::from_raw(id), Signal::SIGINT)?;
    until(
        Duration::from_secs(20),
        &format!("{program} to stop"),
        || Ok((!is_program(id, program)).then_some(())),
    )
}

/// Guards against a process id that was given to somebody else since.
fn is_program(id: i32, program: &str) -> bool {
    let link = std::fs::read_link(format!("/proc/{id}/exe"));
    link.is_ok_and(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(program))
    })
}
