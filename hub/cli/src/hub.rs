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
    let said = |name: &str, variable: &str, default: &str| {
        setting(flags, name)
            .map(str::to_owned)
            .or_else(|| std::env::var(variable).ok())
            .unwrap_or_else(|| default.to_owned())
    };
    let listen = said("--listen", "BELLWETHER_LISTEN", "127.0.0.1:7700");
    let agents = said("--agent-listen", "BELLWETHER_AGENT_LISTEN", "0.0.0.0:7701");
    note(&format!(
        "bellwether hub: API on http://{listen} and a Unix socket, agents on {agents}"
    ));
    note("  next  bellwether register cluster NAME --context CONTEXT --namespaces NAMESPACE");
    note("        bellwether apply -f FILE          bellwether get clusters");
    note("  stop  Ctrl-C; everything stays in the data folder");
    let error = Command::new(&program).args(flags).exec();
    Err(anyhow!(error).context(format!("failed to start {}", program.display())))
}

/// The value that a flag of bellwether-hub is given; absent = none.
fn setting<'a>(flags: &'a [String], name: &str) -> Option<&'a str> {
    let following = flags
        .windows(2)
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].as_str());
    let joined = flags
        .iter()
        .filter_map(|flag| flag.strip_prefix(name)?.strip_prefix('='));
    following.chain(joined).last()
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

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn addresses_are_those_that_the_hub_is_given() {
        let flags = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let apart = flags("--listen 127.0.0.1:1 --agent-listen 127.0.0.1:2");
        assert_eq!(setting(&apart, "--listen"), Some("127.0.0.1:1"));
        assert_eq!(setting(&apart, "--agent-listen"), Some("127.0.0.1:2"));
        assert_eq!(setting(&flags("--listen=:3"), "--listen"), Some(":3"));
        assert_eq!(setting(&flags("--data-dir x"), "--listen"), None);
    }
}
