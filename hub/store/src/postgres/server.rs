//! Making, configuring, starting and stopping the server.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, process::Stdio};

use nix::{sys::signal::kill, unistd::Pid};
use tokio::process::Command;

use super::{Binaries, EmbeddedError, Layout, ROLE, at};

/// Seconds that the server may take to start or to stop.
const PATIENCE_SECONDS: &str = "60";
/// Lines of a program's output that an error carries.
const LINES: usize = 12;

/// Makes the data where there is none. An interrupted attempt leaves no half-made directory: the
/// data gets its name when it is whole.
pub(super) async fn initialise(binaries: &Binaries, layout: &Layout) -> Result<(), EmbeddedError> {
    let data_dir = &layout.data_dir;
    if data_dir.join("PG_VERSION").exists() {
        return Ok(());
    }
    let draft = data_dir.with_extension("draft");
    match fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(at(&draft)(error));
        }
        _ => {}
    }
    layout.private_dir(&draft)?;
    let mut initdb = command(binaries, layout, "initdb");
    initdb
        .args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
        ])
        .arg(format!("--username={ROLE}"))
        .arg("--pgdata")
        .arg(&draft);
    run(initdb, "initdb", None).await?;
    // Whoever can enter the socket's directory is let in; there is no other way in.
    write(layout, &draft.join("pg_hba.conf"), "local all all trust\n")?;
    let main = draft.join("postgresql.conf");
    let mut file = fs::File::options()
        .append(true)
        .open(&main)
        .map_err(at(&main))?;
    file.write_all(b"\ninclude_if_exists 'bellwether.conf'\n")
        .map_err(at(&main))?;
    // An empty directory of that name may have been made for us.
    match fs::remove_dir(data_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(at(data_dir)(error));
        }
        _ => {}
    }
    fs::rename(&draft, data_dir).map_err(at(data_dir))
}

/// Writes the settings that the hub needs. A running server takes them at its next start.
pub(super) fn configure(
    layout: &Layout,
    settings: &[(String, String)],
) -> Result<(), EmbeddedError> {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "''"));
    let mut text = String::from("# Written by the hub at every start; change nothing here.\n");
    let sockets = layout.socket_dir.to_string_lossy();
    let own = [
        ("listen_addresses", ""),
        ("unix_socket_directories", sockets.as_ref()),
        ("unix_socket_permissions", "0700"),
        ("max_connections", "200"),
        ("shared_buffers", "64MB"),
        ("logging_collector", "off"),
        ("log_min_messages", "warning"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
    ];
    let given = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.into_iter().chain(given) {
        // Writing into a String cannot fail.
        let _infallible = writeln!(text, "{name} = {}", quoted(value));
    }
    write(layout, &layout.data_dir.join("bellwether.conf"), &text)
}

fn write(layout: &Layout, path: &Path, text: &str) -> Result<(), EmbeddedError> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).map_err(at(&draft))?;
    layout.own(&draft)?;
    fs::rename(&draft, path).map_err(at(path))
}

/// Tells whether a server runs on the data: its pid file names a process that lives, and its
/// socket takes connections.
pub(super) fn is_running(layout: &Layout) -> bool {
    let Ok(text) = fs::read_to_string(layout.data_dir.join("postmaster.pid")) else {
        return false;
    };
    let Some(pid) = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
    else {
        return false;
    };
    let lives = kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH);
    let socket = layout.socket_dir.join(".s.PGSQL.5432");
    lives && std::os::unix::net::UnixStream::connect(socket).is_ok()
}

/// Starts the server, apart from this program's process group, and waits until it answers.
pub(super) async fn start(binaries: &Binaries, layout: &Layout) -> Result<(), EmbeddedError> {
    let mut pg_ctl = command(binaries, layout, "pg_ctl");
    pg_ctl
        .args([
            "start",
            "--wait",
            "--silent",
            "--timeout",
            PATIENCE_SECONDS,
            "--log",
        ])
        .arg(layout.log_file())
        .arg("--pgdata")
        .arg(&layout.data_dir);
    let started = run(pg_ctl, "pg_ctl start", Some(&layout.log_file())).await;
    if started.is_err() {
        remove_socket_dir(layout);
    }
    started
}

/// Stops the server and waits until it is gone. One that does not run is no error.
pub(super) async fn stop(binaries: &Binaries, layout: &Layout) -> Result<(), EmbeddedError> {
    if !is_running(layout) {
        return Ok(());
    }
    let mut pg_ctl = command(binaries, layout, "pg_ctl");
    pg_ctl
        .args([
            "stop",
            "--wait",
            "--silent",
            "--mode",
            "fast",
            "--timeout",
            PATIENCE_SECONDS,
        ])
        .arg("--pgdata")
        .arg(&layout.data_dir);
    run(pg_ctl, "pg_ctl stop", Some(&layout.log_file())).await?;
    remove_socket_dir(layout);
    Ok(())
}

/// Takes the socket's directory away, if nothing is left in it; the next start makes it again.
fn remove_socket_dir(layout: &Layout) {
    let _in_use = fs::remove_dir(&layout.socket_dir);
}

/// A program of Postgres as the server's user, with nothing of the hub's environment: that may
/// hold the hub's secrets, and `PG…` variables meant for others.
fn command(binaries: &Binaries, layout: &Layout, program: &str) -> Command {
    let mut command = Command::new(binaries.program(program));
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null());
    if let Some(user) = &layout.run_as {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

async fn run(
    mut command: Command,
    program: &'static str,
    log: Option<&Path>,
) -> Result<(), EmbeddedError> {
    let failed = |source| EmbeddedError::Program {
        program,
        output: format!("{source}"),
    };
    // The server itself writes to its log and holds no pipe of ours open.
    let ended = command.output().await.map_err(failed)?;
    if ended.status.success() {
        return Ok(());
    }
    let mut output = String::from_utf8_lossy(&ended.stdout).into_owned();
    output.push_str(&String::from_utf8_lossy(&ended.stderr));
    if let Some(log) = log {
        output.push_str(&fs::read_to_string(log).unwrap_or_default());
    }
    let lines: Vec<&str> = output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    Err(EmbeddedError::Program {
        program,
        output: last.join(" | "),
    })
}
