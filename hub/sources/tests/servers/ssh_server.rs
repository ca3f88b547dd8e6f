//! OpenSSH's own server on this machine, one process a connection, which ends with its test.

use std::{
    fs,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

pub struct SshServer {
    pub address: SocketAddr,
    directory: TempDir,
    task: JoinHandle<()>,
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SshServer {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["host", "client", "stranger"] {
            generate(&directory.path().join(name));
        }
        let at = |name: &str| directory.path().join(name).display().to_string();
        let configuration = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nPrintMotd no\n",
            at("host"),
            at("client.pub"),
        );
        let file = directory.path().join("sshd_config");
        fs::write(&file, configuration).expect("a configuration");
        separation_directory();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(&file, stream.into_std().expect("a socket"));
            }
        });
        Self {
            address,
            directory,
            task,
        }
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).expect("a file")
    }

    /// Returns a line of known_hosts with some key.
    pub fn known(&self, key: &str) -> String {
        let key = self.read(key);
        let fields: Vec<&str> = key.split(' ').collect();
        format!(
            "[127.0.0.1]:{} {} {}\n",
            self.address.port(),
            fields[0],
            fields[1]
        )
    }
}

/// A root's sshd wants its directory, which the package's service makes when it starts.
fn separation_directory() {
    if nix::unistd::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").expect("a directory");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions("/run/sshd", mode).expect("its mode");
    }
}

fn generate(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen");
    assert!(made.success());
}

/// Gives a connection to a server of its own, which ends with it.
fn serve(configuration: &Path, stream: std::net::TcpStream) {
    stream.set_nonblocking(false).expect("a blocking socket");
    let output: OwnedFd = stream.try_clone().expect("a socket").into();
    let mut child = Command::new("/usr/sbin/sshd")
        .args(["-i", "-e", "-f"])
        .arg(configuration)
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::from(output))
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd, of the package openssh-server");
    std::thread::spawn(move || child.wait());
}
