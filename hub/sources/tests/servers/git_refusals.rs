//! Git servers and repositories that are refused.

use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use bellwether_sources::{GitReference, Source, SourceRequest};

use super::{
    git::{branch, source, walk},
    http_server::HttpServer,
    repository::Repository,
    subject::{subject, subject_with},
};

#[tokio::test]
async fn a_repository_that_is_too_large_is_refused() {
    let repository = Repository::new();
    // Nothing that could be compressed.
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 1 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.push(state.to_be_bytes()[0]);
    }
    repository.write("deploy/noise.bin", &noise);
    repository.commit("noise");
    let server = HttpServer::plain(repository.app(None).0).await;
    let request = SourceRequest::new(source(&server, branch("main")));
    for (pack, content, said) in [
        (256 << 10, 64 << 20, "262144 bytes of a pack"),
        (64 << 20, 256 << 10, "262144 bytes; give a path"),
    ] {
        let subject = subject_with(|settings| {
            settings.limits.git_pack_bytes = pack;
            settings.limits.content_bytes = content;
        });
        let error = subject
            .sources
            .fetch(&request)
            .await
            .expect_err("too large");
        assert_eq!(error.reason(), "TooLarge", "{error}");
        assert!(error.to_string().contains(said), "{error}");
        let left = walk(&subject.directory.path().join("git"));
        assert_eq!(
            left,
            Vec::<std::path::PathBuf>::new(),
            "nothing of it is kept"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_may_not_be_asked_says_so() {
    let repository = Repository::new();
    let server = HttpServer::plain(repository.app(None).0).await;
    let subject = subject();
    let at = |url: String| Source::Git {
        url,
        reference: branch("main"),
        path: String::new(),
    };
    let other = source(&server, branch("other"));
    let commit = source(&server, GitReference::Commit("1".repeat(40)));
    let unused = {
        let closed = HttpServer::plain(Router::new()).await;
        closed.address
    };
    for (source, reason) in [
        (other, "NotFound"),
        (commit, "NotFound"),
        (at(server.url("/nothing/.git")), "NotFound"),
        (at(format!("http://{unused}/a")), "Unreachable"),
        (at("https://nothing.invalid/a".to_owned()), "Unreachable"),
        (at("http://localhost/a".to_owned()), "InvalidSource"),
        (at("https://10.0.0.1/a".to_owned()), "AddressRefused"),
        (
            at("https://169.254.169.254/latest".to_owned()),
            "AddressRefused",
        ),
        (at("ssh://git@[::1]/a".to_owned()), "AddressRefused"),
        (
            at(format!("file://{}", repository.path().display())),
            "InvalidSource",
        ),
    ] {
        let error = subject
            .sources
            .fetch(&SourceRequest::new(source.clone()))
            .await;
        let error = error.expect_err("refused");
        assert_eq!(error.reason(), reason, "{source:?}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_trouble_is_told_from_absence() {
    let repository = Repository::new();
    let (app, seen) = repository.app(None);
    let hidden = HttpServer::plain(app).await;
    let target = hidden.url("/shop/.git/info/refs?service=git-upload-pack");
    let app = Router::new()
        .route(
            "/moved/info/refs",
            get(move || async move { Redirect::permanent(&target) }),
        )
        .route(
            "/down/info/refs",
            get(|| async { StatusCode::SERVICE_UNAVAILABLE }),
        )
        .route("/closed/info/refs", get(|| async { StatusCode::FORBIDDEN }));
    let server = HttpServer::plain(app).await;
    let subject = subject();
    for (path, reason) in [
        ("/moved", "Redirected"),
        ("/down", "Unavailable"),
        ("/closed", "Unauthorised"),
    ] {
        let source = Source::Git {
            url: server.url(path),
            reference: branch("main"),
            path: String::new(),
        };
        let error = subject.refusal(&SourceRequest::new(source)).await;
        assert_eq!(error.reason(), reason, "{error}");
    }
    assert_eq!(
        seen.count("info/refs"),
        0,
        "nobody went where the redirect led"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let app = Router::new().fallback(|| async {
        std::future::pending::<()>().await;
    });
    let server = HttpServer::plain(app).await;
    let subject = subject_with(|settings| settings.timeout = std::time::Duration::from_secs(1));
    let request = SourceRequest::new(source(&server, branch("main")));
    let error = subject.refusal(&request).await;
    assert_eq!(error.reason(), "TimedOut");
    let running = || -> Vec<String> {
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
            .filter(|line| line.contains(&server.address.to_string()))
            .collect()
    };
    // They were killed; the kernel takes its time.
    let gone = async {
        while !running().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(std::time::Duration::from_secs(10), gone).await;
    gone.unwrap_or_else(|_| panic!("left behind: {:?}", running()));
}
