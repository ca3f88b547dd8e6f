//! Git over HTTP and HTTPS.

use bellwether_sources::{GitReference, Source, SourceRequest};

use super::{
    http_server::HttpServer,
    repository::Repository,
    subject::{paths, subject, subject_with, with},
};

pub fn source(server: &HttpServer, reference: GitReference) -> Source {
    Source::Git {
        url: server.url("/shop/.git"),
        reference,
        path: "deploy".to_owned(),
    }
}

pub fn branch(name: &str) -> GitReference {
    GitReference::Branch(name.to_owned())
}

fn tag(name: &str) -> GitReference {
    GitReference::Tag(name.to_owned())
}

#[tokio::test]
async fn a_branch_a_tag_a_range_and_a_commit_are_fetched() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "v1.0.0"]);
    repository.write("deploy/app.yaml", "version: 2\n");
    let second = repository.commit("two");
    repository.git(&["tag", "--annotate", "--message", "two", "v1.10.0"]);
    repository.git(&["tag", "v1.9.0", &first]);
    repository.git(&["tag", "v2.0.0-rc.1"]);
    let server = HttpServer::plain(repository.app(None).0).await;
    let subject = subject();
    for (reference, revision, version) in [
        (branch("main"), second.clone(), 2),
        (tag("v1.0.0"), format!("v1.0.0@{first}"), 1),
        (tag("v1.10.0"), format!("v1.10.0@{second}"), 2),
        (
            GitReference::Semver("^1".to_owned()),
            format!("v1.10.0@{second}"),
            2,
        ),
        (GitReference::Commit(first.clone()), first.clone(), 1),
    ] {
        let request = SourceRequest::new(source(&server, reference.clone()));
        let artifact = subject.sources.fetch(&request).await.expect("fetched");
        assert_eq!(artifact.revision, revision, "{reference:?}");
        assert_eq!(paths(&artifact), ["app.yaml", "run.sh"]);
        assert_eq!(artifact.files[0].contents, format!("version: {version}\n"));
        let modes: Vec<bool> = artifact.files.iter().map(|file| file.executable).collect();
        assert_eq!(modes, [false, true]);
        let resolved = subject.sources.resolve(&request).await.expect("resolved");
        assert_eq!(resolved.revision, revision);
    }
}

#[tokio::test]
async fn what_is_cached_is_not_fetched_again_and_a_broken_cache_heals() {
    let repository = Repository::new();
    let (app, seen) = repository.app(None);
    let server = HttpServer::plain(app).await;
    let subject = subject();
    let request = SourceRequest::new(source(&server, branch("main")));
    let first = subject.sources.fetch(&request).await.expect("fetched");
    let packs = seen.count("POST /shop/.git/git-upload-pack");
    let again = subject.sources.fetch(&request).await.expect("fetched");
    assert_eq!(first, again);
    let listed = seen.count("POST /shop/.git/git-upload-pack") - packs;
    assert!(
        listed < packs,
        "the references are listed, nothing is fetched: {listed} of {packs}"
    );
    for pack in walk(&subject.directory.path().join("git")) {
        if pack
            .extension()
            .is_some_and(|it| it == "pack" || it == "idx")
        {
            std::fs::remove_file(&pack).expect("removable");
            std::fs::write(&pack, b"broken").expect("writable");
        }
    }
    let healed = subject.sources.fetch(&request).await.expect("healed");
    assert_eq!(first, healed);
}

#[tokio::test]
async fn fetches_of_one_repository_at_a_time_do_not_disturb_each_other() {
    let repository = Repository::new();
    let mut requests = Vec::new();
    let server = HttpServer::plain(repository.app(None).0).await;
    for version in 0..4 {
        repository.write("deploy/app.yaml", format!("version: {version}\n"));
        repository.commit("next");
        let name = format!("v{version}");
        repository.git(&["tag", &name]);
        requests.push((version, SourceRequest::new(source(&server, tag(&name)))));
    }
    // So little is kept that every fetch evicts what others are done with.
    let subject = subject_with(|settings| {
        settings.git_cache_bytes = 1;
        settings.fetches_per_host = 4;
    });
    let fetches = requests.iter().chain(&requests).map(|(version, request)| {
        let sources = &subject.sources;
        async move { (version, sources.fetch(request).await) }
    });
    for (version, fetched) in futures::future::join_all(fetches).await {
        let artifact = fetched.expect("fetched");
        assert_eq!(artifact.files[0].contents, format!("version: {version}\n"));
    }
    let left = walk(&subject.directory.path().join("git"));
    assert_eq!(
        left,
        Vec::<std::path::PathBuf>::new(),
        "more than may be is not kept"
    );
}

pub fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => walk(&path),
            path => vec![path],
        })
        .collect()
}

#[tokio::test]
async fn a_tag_that_moved_is_refused_and_a_branch_may_move() {
    let repository = Repository::new();
    repository.git(&["tag", "v1"]);
    let server = HttpServer::plain(repository.app(None).0).await;
    let subject = subject();
    let mut by_tag = SourceRequest::new(source(&server, tag("v1")));
    let mut by_branch = SourceRequest::new(source(&server, branch("main")));
    for request in [&mut by_tag, &mut by_branch] {
        let fetched = subject.sources.fetch(request).await.expect("fetched");
        request.previous = Some(fetched.revision);
        subject
            .sources
            .fetch(request)
            .await
            .expect("it has not moved");
    }
    repository.write("deploy/app.yaml", "version: 2\n");
    let second = repository.commit("two");
    repository.git(&["tag", "--force", "v1"]);
    let error = subject.refusal(&by_tag).await;
    assert_eq!(error.reason(), "TagMoved");
    assert!(error.to_string().contains(&second), "{error}");
    let moved = subject
        .sources
        .fetch(&by_branch)
        .await
        .expect("a branch moves");
    assert_eq!(moved.revision, second);
}

#[tokio::test]
async fn a_private_repository_is_opened_over_https_and_its_secret_is_nowhere_else() {
    let repository = Repository::new();
    let basic = "Basic Z2l0Omh1bnRlcjI=";
    for (expected, right, wrong) in [
        (
            basic,
            vec![("username", "git"), ("password", "hunter2")],
            vec![("username", "git"), ("password", "hunter3")],
        ),
        (
            "Bearer hunter2-token",
            vec![("bearerToken", "hunter2-token")],
            vec![("bearerToken", "hunter3-token")],
        ),
    ] {
        let (app, seen) = repository.app(Some(expected));
        let server = HttpServer::tls(app).await;
        let ca = server.ca.clone();
        let subject = subject();
        let main = source(&server, branch("main"));
        let mut entries = right.clone();
        entries.push(("ca.crt", &ca));
        let artifact = subject.sources.fetch(&with(main.clone(), &entries)).await;
        artifact.expect("it is opened");
        assert!(seen.count("git-upload-pack") >= 2);
        assert_eq!(*seen.leaks.lock().expect("no panic"), Vec::<String>::new());
        let mut entries = wrong.clone();
        entries.push(("ca.crt", &ca));
        for request in [
            with(main.clone(), &entries),
            with(main.clone(), &[("ca.crt", &ca)]),
        ] {
            let error = subject.refusal(&request).await;
            assert_eq!(error.reason(), "Unauthorised");
            assert!(!error.to_string().contains("hunter"), "{error}");
        }
        let error = subject.refusal(&with(main, &right)).await;
        let said = "certificate is not trusted";
        assert!(error.to_string().contains(said), "{error}");
        for file in walk(subject.directory.path()) {
            let contents = std::fs::read(&file).expect("readable");
            let text = String::from_utf8_lossy(&contents);
            assert!(
                !text.contains("hunter2") && !text.contains("Z2l0Omh1bnRlcjI="),
                "{file:?}"
            );
        }
    }
}

#[tokio::test]
async fn others_do_not_see_a_private_commit_that_is_cached() {
    let repository = Repository::new();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let server = HttpServer::plain(repository.app(Some("Bearer t")).0).await;
    let subject = subject();
    let source = source(&server, GitReference::Commit(commit));
    let fetched = subject
        .sources
        .fetch(&with(source.clone(), &[("bearerToken", "t")]))
        .await;
    fetched.expect("it is opened");
    let error = subject
        .sources
        .fetch(&SourceRequest::new(source))
        .await
        .expect_err("refused");
    assert_eq!(error.reason(), "Unauthorised");
}

#[tokio::test]
async fn links_submodules_and_lfs_are_refused_by_name() {
    let repository = Repository::new();
    let server = HttpServer::plain(repository.app(None).0).await;
    let subject = subject();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let at = |name: &str| Source::Git {
        url: server.url("/shop/.git"),
        reference: branch("main"),
        path: name.to_owned(),
    };
    repository.write("linked/a.yaml", "a: 1\n");
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("linked/passwd"))
        .expect("a link");
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    repository.write("large/big.bin", lfs);
    repository.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{commit},nested/lib"),
    ]);
    repository.git(&["add", "linked", "large"]);
    repository.git(&["commit", "--quiet", "--message", "odd"]);
    for (path, reason, said) in [
        (
            "linked",
            "UnsafeArchive",
            "\"passwd\" is refused: it is a symbolic link",
        ),
        (
            "nested",
            "UnsafeArchive",
            "\"lib\" is refused: it is a submodule",
        ),
        (
            "large",
            "Unsupported",
            "\"big.bin\", which is stored in Git LFS",
        ),
        ("nowhere", "NotFound", "\"nowhere\""),
        ("README.md", "NotFound", "the directory \"README.md\""),
    ] {
        let request = SourceRequest::new(at(path));
        let error = subject.sources.fetch(&request).await.expect_err(path);
        assert_eq!(error.reason(), reason, "{path}: {error}");
        assert!(error.to_string().contains(said), "{path}: {error}");
    }
    let fine = subject
        .sources
        .fetch(&SourceRequest::new(at("deploy")))
        .await;
    fine.expect("what is beside it does no harm");
}
