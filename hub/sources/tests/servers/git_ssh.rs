//! Git over SSH, served by OpenSSH's own server, one process a connection.

use std::{
    fs,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use bellwether_sources::{GitReference, Source};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    repository::Repository,
    subject::{paths, subject, with},
};

struct SshServer {
    address: SocketAddr,
    directory: TempDir,
    task: JoinHandle<()>,
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SshServer {
    async fn start() -> Self {
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

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).expect("a file")
    }

    /// Returns a line of known_hosts with some key.
    fn known(&self, key: &str) -> String {
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

fn source(server: &SshServer, repository: &Repository, reference: GitReference) -> Source {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users");
    let user = user.expect("this user has a name").name;
    Source::Git {
        url: format!(
            "ssh://{user}@{}{}",
            server.address,
            repository.path().display()
        ),
        reference,
        path: "deploy".to_owned(),
    }
}

#[tokio::test]
async fn a_repository_is_fetched_from_a_known_host_with_a_key() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.write("deploy/app.yaml", "version: 2\n");
    let second = repository.commit("two");
    let server = SshServer::start().await;
    let subject = subject();
    let (identity, known) = (server.read("client"), server.known("host.pub"));
    let entries = [
        ("identity", identity.as_str()),
        ("known_hosts", known.as_str()),
    ];
    for (reference, revision) in [
        (GitReference::Branch("main".to_owned()), &second),
        // This server hands out nothing without a name: its history is fetched.
        (GitReference::Commit(first.clone()), &first),
    ] {
        let request = with(source(&server, &repository, reference), &entries);
        let artifact = subject.sources.fetch(&request).await.expect("fetched");
        assert_eq!(&artifact.revision, revision);
        assert_eq!(paths(&artifact), ["app.yaml", "run.sh"]);
    }
    let left = fs::read_dir(subject.directory.path().join("scratch")).expect("a directory");
    assert_eq!(left.count(), 0, "no key is left on disk");
}

#[tokio::test]
async fn a_host_that_is_not_known_is_not_spoken_to() {
    let repository = Repository::new();
    let server = SshServer::start().await;
    let subject = subject();
    let identity = server.read("client");
    let branch = GitReference::Branch("main".to_owned());
    let main = source(&server, &repository, branch);
    for (known, said) in [
        (String::new(), "known_hosts has no key of it"),
        (
            server
                .known("host.pub")
                .replace("[127.0.0.1]", "[127.0.0.2]"),
            "known_hosts has no key of it",
        ),
        (server.known("stranger.pub"), "it offers another key"),
    ] {
        let entries = [
            ("identity", identity.as_str()),
            ("known_hosts", known.as_str()),
        ];
        let error = subject.refusal(&with(main.clone(), &entries)).await;
        assert_eq!(error.reason(), "HostKeyUnknown", "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn another_key_or_none_is_refused() {
    let repository = Repository::new();
    let server = SshServer::start().await;
    let subject = subject();
    let known = server.known("host.pub");
    let branch = GitReference::Branch("main".to_owned());
    let main = source(&server, &repository, branch);
    let stranger = server.read("stranger");
    for (entries, said) in [
        (
            vec![("identity", stranger.as_str()), ("known_hosts", &known)],
            "it does not accept the key",
        ),
        (
            vec![("identity", "no key"), ("known_hosts", &known)],
            "no private key",
        ),
        (vec![], "needs credentials with identity"),
    ] {
        let error = subject.refusal(&with(main.clone(), &entries)).await;
        assert_eq!(error.reason(), "Unauthorised", "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
