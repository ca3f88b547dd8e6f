//! `hub dev`: a hub in the foreground.

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, anyhow};

use crate::output::note;

/// Becomes bellwether-hub; returns only when that fails.
///
/// # Errors
/// When bellwether-hub is neither beside this program nor in PATH.
pub fn dev(flags: &[String]) -> anyhow::Result<()> {
    let program = find().context("failed to find bellwether-hub beside this program or in PATH")?;
    note("bellwether hub: API on http://127.0.0.1:7700 and a Unix socket, agents on port 7701");
    note("  next  bellwether register cluster NAME --context CONTEXT --namespaces NAMESPACE");
    note("        bellwether apply -f FILE          bellwether get clusters");
    note("  stop  Ctrl-C; everything stays in the data folder");
    let error = Command::new(&program).args(flags).exec();
    Err(anyhow!(error).context(format!("failed to start {}", program.display())))
}

fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.canonicalize().ok())
        .and_then(|own| own.parent().map(|dir| dir.join("bellwether-hub")));
    let in_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .map(|dir| dir.join("bellwether-hub"));
    beside
        .into_iter()
        .chain(in_path)
        .find(|path| path.is_file())
}
