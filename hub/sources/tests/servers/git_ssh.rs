//! Git over SSH, served by OpenSSH's own server, one process a connection.

use std::fs;

use bellwether_sources::{GitReference, Source};

use super::{
    repository::Repository,
    ssh_server::SshServer,
    subject::{paths, subject, with},
};

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
